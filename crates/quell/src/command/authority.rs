//! `quell authority`: which signal, from which source, may trigger which action on whom. A view of
//! the policy; it changes nothing and asks no running engine.

mod expect;
mod html;
mod table;
mod why;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use quell_core::action::{Action, Tier};
use quell_core::authority::matrix::{self, Cell, Stated};
use quell_core::identity::Class;
use quell_core::policy::Policy;
use quell_core::signal::Kind;

use super::{say, say_json};
use crate::assemble::{self, Brain, Folders};
use crate::config::Place;
use crate::fault::Fault;

/// Print which source, with which kind of signal, may trigger which action on which class.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  quell authority --class high_value --action evict\n  \
                  quell authority --html authority.html\n  \
                  quell authority why okta sign_in human suspend\n  \
                  quell authority test authority/*.yml"
)]
pub(crate) struct Authority {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    filter: Filter,
    /// Write one HTML page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// An array of {source, kind, class, action, decision, approvals, policies, reasons}.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Why(why::WhyArgs),
    Test(expect::Test),
}

/// Which policy is looked at.
#[derive(Debug, Clone, Args)]
struct From {
    /// A policy folder; by default that of `quell.toml`, else the shipped one.
    #[arg(long, value_name = "DIR")]
    policy: Option<PathBuf>,
}

/// Which cells are shown; several values of one option are alternatives.
#[derive(Debug, Clone, Default, Args)]
struct Filter {
    /// A source; `*` stands for any characters.
    #[arg(long)]
    source: Vec<String>,
    /// A kind of signal.
    #[arg(long)]
    kind: Vec<String>,
    /// A class, or `unknown`.
    #[arg(long)]
    class: Vec<String>,
    /// An action, or a group of actions.
    #[arg(long)]
    action: Vec<String>,
}

impl Authority {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        match &self.verb {
            Some(Verb::Why(verb)) => return verb.run(config),
            Some(Verb::Test(verb)) => return verb.run(config),
            None => {}
        }
        let view = View::load(config, &self.from)?;
        self.filter.check(&view)?;
        let cells = matrix::matrix(&view.policy, &view.stated);
        let shown: Vec<&Cell> = cells.iter().filter(|cell| self.filter.takes(cell)).collect();
        if let Some(path) = &self.html {
            let page = html::page(&view, &shown);
            std::fs::write(path, page).map_err(|e| Fault::file(path, &e))?;
        }
        if self.json {
            return say_json(&shown);
        }
        if self.html.is_some() {
            return Ok(());
        }
        say(table::table(&view, &shown).trim_end())
    }
}

/// A policy with what its sources can state.
struct View {
    policy: Policy,
    stated: Vec<Stated>,
}

impl View {
    fn load(config: Option<&Path>, from: &From) -> Result<Self, Fault> {
        let place = if Place::exists(config) { Some(Place::find(config)?) } else { None };
        let folders = Folders { policy: from.policy.clone(), ..Folders::default() };
        let brain = Brain::load_with(place.as_ref(), &folders);
        let brain = brain.map_err(|problems| assemble::fault(&problems))?;
        let stated = brain.stated(place.as_ref());
        Ok(Self { policy: brain.policy, stated })
    }

    fn sources(&self) -> Vec<&str> {
        self.stated.iter().map(|stated| stated.source.as_str()).collect()
    }
}

impl Filter {
    /// Refuses words that no cell has.
    fn check(&self, view: &View) -> Result<(), Fault> {
        known("source", &self.source, &view.sources())?;
        known("kind", &self.kind, &kinds())?;
        known("class", &self.class, &classes())?;
        known("action", &self.action, &actions())
    }

    fn takes(&self, cell: &Cell) -> bool {
        let any = |list: &[String], names: &[&str]| {
            list.is_empty() || list.iter().any(|p| names.iter().any(|name| fits(p, name)))
        };
        any(&self.source, &[&cell.source])
            && any(&self.kind, &[cell.kind.name()])
            && any(&self.class, &[cell.class])
            && any(&self.action, &[cell.action.name(), cell.action.group().name()])
    }
}

fn kinds() -> Vec<&'static str> {
    Kind::ALL.iter().map(|kind| kind.name()).collect()
}

fn classes() -> Vec<&'static str> {
    matrix::classes().into_iter().map(matrix::class_name).collect()
}

/// Actions and their groups.
fn actions() -> Vec<&'static str> {
    let groups = Tier::ALL.iter().map(|tier| tier.name());
    Action::ALL.iter().map(|action| action.name()).chain(groups).collect()
}

/// Refuses a word that is on no list, with the nearest one; `*` may stand for any.
fn known(what: &str, words: &[String], list: &[&str]) -> Result<(), Fault> {
    for word in words {
        if !list.iter().any(|name| fits(word, name)) {
            let near = quell_core::nearest(word, list.iter().copied());
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of {}", list.join(", ")),
            };
            return Err(Fault::input(format!("`{word}` is no {what}"), help));
        }
    }
    Ok(())
}

/// A class or `unknown`.
fn class(text: &str) -> Option<Class> {
    text.parse().ok()
}

/// True when a name fits a pattern in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// What a cell says, in a word or two.
fn decision(cell: &Cell) -> String {
    match cell.approvals {
        0 => cell.decision.name().to_owned(),
        1 => "1 approval".to_owned(),
        n => format!("{n} approvals"),
    }
}
