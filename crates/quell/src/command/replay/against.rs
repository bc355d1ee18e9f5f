//! `quell replay --against DIR`: the steps that another configuration would add, drop or change for
//! the same records or for the journal of a store. It sends nothing and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::ArgMatches;
use quell_core::effect::{Input, Intake};
use quell_core::engine::{Engine, PlanRow};
use quell_core::replay as journal;
use quell_core::resolve::Subject;
use quell_core::signal::Matched;
use quell_store::frame::Content;
use quell_store::views::Frames;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::{decode, say, say_json};
use super::Replay;
use crate::assemble::{self, Brain, Folders};
use crate::config::{FILE, Place};
use crate::fault::Fault;
use crate::memory::{self, decision};
use crate::start;

/// Steps that are shown for one change at most; the rest is counted.
const SHOWN_MAX: usize = 50;

/// One step of either configuration.
type Key = (String, String, String);

/// A step that differs.
#[derive(Debug, Clone, Serialize)]
struct Step {
    /// `gained`, `lost` or `changed`.
    change: &'static str,
    /// The identity's id, or the account that nobody knows.
    subject: String,
    /// The directory's key of the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    /// The classes of the identity; `unknown` where there is none.
    classes: Vec<String>,
    action: String,
    on: String,
    /// What the configuration here says.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Said>,
    /// What the other says.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Said>,
}

/// What a configuration says to a step.
#[derive(Debug, Clone, Serialize)]
struct Said {
    decision: &'static str,
    approvals: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    policies: Vec<String>,
    reason: String,
    #[serde(skip)]
    told: String,
}

impl Said {
    fn of(row: &PlanRow) -> Self {
        Self {
            decision: row.decision,
            approvals: row.approvals,
            ttl: row.ttl.map(memory::span),
            policies: row.policies.clone(),
            reason: row.reason.clone(),
            told: decision(row),
        }
    }

    /// What makes a step another one: not which policy says so.
    fn differs(&self, other: &Self) -> bool {
        (self.decision, self.approvals, &self.ttl) != (other.decision, other.approvals, &other.ttl)
    }
}

impl Replay {
    /// Compares the configuration here with the one in a folder.
    pub(super) fn compare(
        &self,
        config: Option<&Path>,
        place: Option<&Place>,
        folder: &Path,
        matches: &ArgMatches,
    ) -> Result<(), Fault> {
        let here = decode::brain(config)?;
        let there = other(place, folder)?;
        let (before, after, erased) = if self.store {
            let place = super::configured(place)?;
            let (before, erased) = folded(&here, place)?;
            (before, folded(&there, place)?.0, erased)
        } else {
            let run = |brain: &Brain| -> Result<Engine, Fault> {
                let fed = self.fed(brain, place, matches)?;
                let at = fed.as_of;
                Ok(memory::run(brain, at, fed.directory.as_ref(), &fed.records))
            };
            (run(&here)?, run(&there)?, 0)
        };
        let steps = steps(&before, &after);
        if self.json { say_json(&summed(&steps, erased)) } else { say(&table(&steps, erased)) }
    }
}

/// The configuration in a folder: that of its `quell.toml`, else its rules, policy and packs, and
/// where one is missing what is in force here.
fn other(place: Option<&Place>, folder: &Path) -> Result<Brain, Fault> {
    let loaded = if folder.join(FILE).exists() {
        Brain::load(&Place::find(Some(folder))?)
    } else {
        let part = |name: &str| Some(folder.join(name)).filter(|part| part.is_dir());
        let folders =
            Folders { rules: part("rules"), policy: part("policy"), packs: part("packs") };
        if folders.rules.is_none() && folders.policy.is_none() && folders.packs.is_none() {
            let message = format!("`{}` holds neither rules, policy nor packs", folder.display());
            return Err(Fault::input(message, "name the folder above them"));
        }
        Brain::load_with(place, &folders)
    };
    loaded.map_err(|problems| assemble::fault(&problems))
}

/// An engine that took in the signals and directories of the store's journal, each at its time, and
/// how many frames were erased.
fn folded(brain: &Brain, place: &Place) -> Result<(Engine, usize), Fault> {
    let tenant = &place.settings.tenant;
    let views = start::read_configured(place)?;
    let mut engine = Engine::new(brain.config(tenant, BTreeMap::new()));
    let mut erased = 0;
    for frame in Frames::new(&views, tenant, 0) {
        let frame = frame.map_err(|e| Fault::store(&e))?;
        if ![journal::kind::SIGNALS, journal::kind::DIRECTORY].contains(&frame.kind) {
            continue;
        }
        let Content::Kept(body) = &frame.content else {
            erased += 1;
            continue;
        };
        let input = journal::decode(frame.kind, body).map_err(|e| Fault::store(&e))?;
        let input = match input {
            Input::Signals(intake) => Input::Signals(Intake {
                source: intake.source,
                matched: intake
                    .matched
                    .into_iter()
                    .map(|old| Matched { rules: brain.rules.match_ids(&old.signal), ..old })
                    .collect(),
                rejects: Vec::new(),
                raw: Vec::new(),
            }),
            other => other,
        };
        engine.step(frame.at, &input);
    }
    Ok((engine, erased))
}

/// The steps that differ, by subject, action and target.
fn steps(before: &Engine, after: &Engine) -> Vec<Step> {
    let rows = |engine: &Engine| -> BTreeMap<Key, Said> {
        let rows = engine.plan().into_iter().filter(|row| row.decision != "never");
        let key = |row: &PlanRow| (row.subject.clone(), row.action.name().to_owned(), row.on.key());
        rows.map(|row| (key(&row), Said::of(&row))).collect()
    };
    let (old, new) = (rows(before), rows(after));
    let people = people(before).into_iter().chain(people(after)).collect::<BTreeMap<_, _>>();
    let keys: BTreeSet<&Key> = old.keys().chain(new.keys()).collect();
    let mut steps = Vec::new();
    for key in keys {
        let (from, to) = (old.get(key).cloned(), new.get(key).cloned());
        let change = match (&from, &to) {
            (None, Some(_)) => "gained",
            (Some(_), None) => "lost",
            (Some(from), Some(to)) if from.differs(to) => "changed",
            _ => continue,
        };
        let (subject, action, on) = key.clone();
        let known = people.get(&subject).cloned();
        let (identity, classes) = known.unwrap_or((None, vec!["unknown".to_owned()]));
        steps.push(Step { change, subject, identity, classes, action, on, from, to });
    }
    steps
}

/// The key and the classes of everybody whom a finding is about.
fn people(engine: &Engine) -> BTreeMap<String, (Option<String>, Vec<String>)> {
    let mut all = BTreeMap::new();
    for finding in engine.findings() {
        let Subject::Identity(id) = &finding.subject else { continue };
        let classes = engine.directory().classes(*id, finding.first_at);
        let mut classes: Vec<String> = classes.iter().map(|c| c.name().to_owned()).collect();
        if classes.is_empty() {
            classes.push("unknown".to_owned());
        }
        let key = engine.directory().identity(*id).map(|identity| identity.key.clone());
        all.insert(id.to_string(), (key, classes));
    }
    all
}

/// By set of classes: how many steps of each change, and who.
fn by_class(steps: &[Step]) -> BTreeMap<String, (BTreeMap<&'static str, usize>, BTreeSet<&str>)> {
    let mut all: BTreeMap<String, (BTreeMap<&'static str, usize>, BTreeSet<&str>)> =
        BTreeMap::new();
    for step in steps {
        let (counts, people) = all.entry(step.classes.join(", ")).or_default();
        *counts.entry(step.change).or_default() += 1;
        people.insert(&step.subject);
    }
    all
}

fn summed(steps: &[Step], erased: usize) -> Value {
    let of = |change: &str| -> Vec<&Step> {
        steps.iter().filter(|step| step.change == change).collect()
    };
    let classes: Vec<Value> = by_class(steps)
        .into_iter()
        .map(|(classes, (counts, people))| {
            let count = |change: &str| counts.get(change).copied().unwrap_or_default();
            json!({
                "classes": classes.split(", ").collect::<Vec<_>>(), "gained": count("gained"),
                "lost": count("lost"), "changed": count("changed"), "people": people,
            })
        })
        .collect();
    json!({
        "gained": of("gained"), "lost": of("lost"), "changed": of("changed"),
        "by_class": classes, "erased_frames": erased,
    })
}

fn table(steps: &[Step], erased: usize) -> String {
    let mut out = String::new();
    if steps.is_empty() {
        out.push_str("no step differs\n");
    }
    for (classes, (counts, people)) in by_class(steps) {
        let told: Vec<String> = ["gained", "lost", "changed"]
            .iter()
            .filter_map(|change| Some(format!("{} {change}", counts.get(change)?)))
            .collect();
        let told = told.join(", ");
        putln!(out, "{classes}: {told}, {} people", people.len());
        let own: Vec<&Step> = steps.iter().filter(|s| s.classes.join(", ") == classes).collect();
        for step in own.iter().take(SHOWN_MAX) {
            let mark = match step.change {
                "gained" => '+',
                "lost" => '-',
                _ => '~',
            };
            let said = |said: &Option<Said>| {
                said.as_ref().map_or("never".to_owned(), |said| said.told.clone())
            };
            let who = step.identity.as_deref().map(|key| format!(" ({key})")).unwrap_or_default();
            let Step { subject, action, on, .. } = step;
            let (from, to) = (said(&step.from), said(&step.to));
            putln!(out, "  {mark} {action} {on}: {from} -> {to}");
            putln!(out, "      {subject}{who}");
        }
        if let Some(more) = own.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
            putln!(out, "  and {more} more; --json has all");
        }
    }
    if erased > 0 {
        putln!(out, "{erased} frames of the journal were erased and are left out");
    }
    out.trim_end().to_owned()
}
