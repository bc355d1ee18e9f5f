//! `quell authority why`: one cell, the policies that speak of it with file and line, and what
//! would have to change. It changes nothing.

use std::path::Path;

use clap::Args;
use quell_core::action::Action;
use quell_core::authority::matrix::{self, Said};
use quell_core::signal::Kind;

use super::table::{single, wrapped};
use super::{From, View, actions, class, classes, kinds, known};
use crate::command::{say, say_json};
use crate::fault::Fault;

/// Explain one cell: which policies permit or forbid it, when, and where they stand.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  quell authority why proofpoint_tap url_click high_value suspend"
)]
pub(super) struct WhyArgs {
    /// The source.
    source: String,
    /// The kind of signal.
    kind: String,
    /// The class, or `unknown`.
    class: String,
    /// The action.
    action: String,
    #[command(flatten)]
    from: From,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

impl WhyArgs {
    pub(super) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let view = View::load(config, &self.from)?;
        let one = |word: &String| std::slice::from_ref(word).to_vec();
        known("source", &one(&self.source), &view.sources())?;
        known("kind", &one(&self.kind), &kinds())?;
        known("class", &one(&self.class), &classes())?;
        known("action", &one(&self.action), &actions())?;
        let wrong = |e: quell_core::UnknownName| Fault::input(e.to_string(), "one word each");
        let kind: Kind = self.kind.parse().map_err(wrong)?;
        let action: Action = self.action.parse().map_err(wrong)?;
        let class = class(&self.class);
        let why = matrix::why(&view.policy, &view.stated, &self.source, kind, class, action);
        let Some(why) = why else {
            let stated = view.stated.iter().find(|stated| stated.source == self.source);
            let stated = stated.map(|s| s.kinds.keys().map(|kind| kind.name()).collect::<Vec<_>>());
            let help = format!("it states {}", stated.unwrap_or_default().join(", "));
            let message = format!("`{}` never states `{kind}`", self.source);
            return Err(Fault::input(message, help));
        };
        if self.json {
            return say_json(&why);
        }
        let mut out = String::new();
        single(&mut out, &why.cell);
        part(&mut out, "can permit it", &why.permits);
        part(&mut out, "nearest, and what of it is not met", &why.near);
        part(&mut out, "forbid it", &why.forbids);
        if !why.change.is_empty() {
            out.push_str("\nto be wider\n");
            why.change.iter().for_each(|change| wrapped(&mut out, "  ", "    ", change));
        }
        say(out.trim_end())
    }
}

fn part(out: &mut String, title: &str, all: &[Said]) {
    if all.is_empty() {
        return;
    }
    putln!(out, "\n{title}");
    for said in all {
        let line = said.line.map(|line| format!(":{line}")).unwrap_or_default();
        let when = match (said.unmet.is_empty(), said.when.is_empty()) {
            (false, _) => said.unmet.join("; "),
            (true, true) => "always".to_owned(),
            (true, false) => format!("when {}", said.when.join("; ")),
        };
        let Said { policy, file, effect, .. } = said;
        wrapped(out, "  ", "      ", &format!("{file}{line} {effect} {policy}: {when}"));
    }
}
