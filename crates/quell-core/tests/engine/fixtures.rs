//! The fixtures of docs/correlation.md, which stay for ever: for one set of signals the findings
//! in force, told forwards, backwards, and in shuffles with repetitions and batches.
//!
//! `UPDATE_EXPECT=1` writes what a new fixture expects; one that is there is never changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use quell_core::action::{Action, Tier};
use quell_core::effect::{Effect, Input};
use quell_core::engine::{Config, Engine};
use quell_core::finding::{Containment, Finding};
use quell_core::id::{Digest, SignalId};
use quell_core::order::On;
use quell_core::resolve::Subject;
use quell_core::signal::*;
use quell_core::time::Time;
use serde::{Deserialize, Serialize};

use super::company::*;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    /// What it pins down.
    says: String,
    /// The file of rules, in `rules/`.
    rules: String,
    /// Lines of `limits.toml` that are others here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<String, u32>,
    /// The time of every step.
    at: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    containments: Vec<Closed>,
    signals: Vec<Told>,
    expect: Expected,
}

/// A verified containment: of whom, its time, and the signals that each rule's findings cited.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Closed {
    who: String,
    before: String,
    ground: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    /// What the fixture calls it; with `of` another revision or signal of the same record.
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    kind: Kind,
    #[serde(rename = "use")]
    usage: Use,
    source: String,
    /// The address that it names.
    who: String,
    /// When it happened; its digits are its precision.
    t: String,
    /// When the vendor wrote it; when it happened, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    entities: Vec<Entity>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Expected {
    /// Id, rule, subject, tier, confidence, anchor, cited (`*` is necessary) and flags.
    findings: Vec<String>,
    /// The same of what lies before a containment and is on record only.
    contained: Vec<String>,
    /// The anchors of each live case's findings; cases without one are left out.
    cases: Vec<Vec<String>>,
    /// What is asked for beyond watching, and the decision.
    plan: Vec<String>,
    /// What is recorded of findings when the signals are told one by one as they stand here.
    forwards: Vec<String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/correlation")
}

fn time(text: &str) -> quell_core::time::Moment {
    Time::parse(text).unwrap_or_else(|| panic!("`{text}` is no time"))
}

impl Told {
    fn signal(&self) -> Signal {
        let key = self.of.as_ref().unwrap_or(&self.name);
        let happened = time(&self.t);
        let text = serde_json::to_string(self).unwrap();
        Signal {
            id: SignalId::of(TENANT, &self.source, key, self.kind.name(), 0),
            source: self.source.clone(),
            kind: self.kind,
            usage: self.usage,
            confidence: (self.usage != Use::Fact).then_some(90),
            about: vec![address(&self.who)],
            times: Times {
                happened,
                judged: None,
                written: self.written.as_ref().map_or(happened.t, |text| time(text).t),
            },
            entities: self.entities.clone(),
            attributes: Default::default(),
            anomalies: Vec::new(),
            provenance: Provenance::Polled,
            record: Digest::of(text.as_bytes()),
            record_key: key.clone(),
            withdraws: (self.usage == Use::Undo).then_some(EntityKind::Threat),
        }
    }
}

impl Fixture {
    fn config(&self) -> Config {
        let text = std::fs::read_to_string(folder().join("rules").join(&self.rules)).unwrap();
        let mut files = armed_files();
        for (name, value) in &self.limits {
            let limits = &files.0["limits.toml"];
            let line = limits.lines().find(|line| line.starts_with(&format!("{name} ="))).unwrap();
            let (line, new) = (line.to_owned(), format!("{name} = {value}"));
            files = edited(files, "limits.toml", &line, &new);
        }
        config(rules(&[("rules.yml", &text)]), policy(&files))
    }

    /// An engine that knows the company and the containments, and no signal yet.
    fn engine(&self, config: &Config) -> Engine {
        let mut engine = Engine::new(config.clone());
        engine.step(time(&self.at).t, &import(company()));
        let named = |name: &String| self.signals.iter().find(|told| told.name == *name).unwrap();
        for closed in &self.containments {
            let ground = closed.ground.iter().map(|(rule, names)| {
                let (_, rule) = config.rules.iter().find(|(_, r)| r.title == *rule).unwrap();
                (rule.id.clone(), names.iter().map(|name| named(name).signal().id).collect())
            });
            let containment = Containment {
                before: time(&closed.before).t,
                group: Tier::Contain,
                orders: Vec::new(),
                ground: ground.collect(),
            };
            engine.assume(idn(&closed.who), containment);
        }
        engine
    }

    /// What the fixture calls the signal of this time; of several revisions of one time all.
    fn name(&self, id: SignalId, at: Time) -> String {
        let is = |told: &&Told| told.signal().id == id && time(&told.t).t == at;
        let same = self.signals.iter().filter(is);
        same.map(|told| told.name.as_str()).collect::<Vec<_>>().join("/")
    }

    fn line(&self, finding: &Finding) -> String {
        let people = company();
        let subject = match &finding.subject {
            Subject::Identity(id) => people.iter().find(|p| p.id == *id).unwrap().key.clone(),
            Subject::Account { name, .. } => format!("account {}", name.value),
        };
        let cited: Vec<String> = finding
            .signals
            .iter()
            .map(|c| self.name(c.signal, c.at) + if c.necessary { "*" } else { "" })
            .collect();
        let mut line = format!(
            "{} {}: {subject}, {} at {}, anchor {}, cites {}",
            finding.id,
            finding.title,
            finding.tier,
            finding.confidence,
            self.name(finding.anchor, finding.first_at),
            cited.join(" ")
        );
        let flags = [("cold", finding.cold), ("capped", finding.capped)];
        for (flag, _) in flags.iter().filter(|(_, is)| *is) {
            line.push_str(&format!(", {flag}"));
        }
        finding.caps.iter().for_each(|cap| line.push_str(&format!("; {cap}")));
        line
    }

    fn seen(&self, engine: &Engine) -> Expected {
        let mut cases: Vec<Vec<String>> = engine
            .cases()
            .filter(|case| case.is_live())
            .map(|case| {
                let all = engine.findings().chain(engine.contained());
                let of = all.filter(|finding| case.holds(finding.id));
                let names: BTreeSet<String> = of.map(|f| self.name(f.anchor, f.first_at)).collect();
                names.into_iter().collect()
            })
            .collect();
        cases.retain(|names| !names.is_empty());
        cases.sort();
        let plan = engine.plan().into_iter().filter(|row| row.action != Action::Watch);
        let row = |on: &On| match on {
            On::Account(account) => account.to_string(),
            On::Entity(entity) => entity.value.clone(),
        };
        let plan = plan.map(|r| format!("{} {}: {}", r.action, row(&r.on), r.decision));
        let mut seen = Expected {
            findings: engine.findings().map(|f| self.line(f)).collect(),
            contained: engine.contained().map(|f| self.line(f)).collect(),
            cases,
            plan: plan.collect(),
            forwards: Vec::new(),
        };
        seen.findings.sort();
        seen.contained.sort();
        seen
    }

    /// Tells the signals as they stand, one by one, and what is recorded of findings.
    fn forwards(&self, config: &Config) -> Expected {
        let mut engine = self.engine(config);
        let mut records = Vec::new();
        for told in &self.signals {
            let input = signals(vec![matched(config, told)]);
            for effect in engine.step(time(&self.at).t, &input) {
                match effect {
                    Effect::Record { kind, .. } if kind.starts_with("finding") => {
                        records.push(format!("{}: {kind}", told.name));
                    }
                    _ => {}
                }
            }
        }
        Expected { forwards: records, ..self.seen(&engine) }
    }

    /// The same in another order: 0 is backwards, others are seeds.
    fn otherwise(&self, config: &Config, seed: u64) -> Expected {
        let mut all: Vec<Matched> = self.signals.iter().map(|told| matched(config, told)).collect();
        all.reverse();
        let mut dice = Dice::new(seed);
        if seed > 0 {
            let twice: Vec<Matched> = all.iter().filter(|_| dice.one_in(3)).cloned().collect();
            all.extend(twice);
            dice.shuffle(&mut all);
        }
        let mut engine = self.engine(config);
        while !all.is_empty() {
            let size = if seed > 0 { 1 + dice.below(all.len().min(4)) } else { 1 };
            let input: Input = signals(all.drain(..size).collect());
            engine.step(time(&self.at).t, &input);
        }
        self.seen(&engine)
    }
}

fn matched(config: &Config, told: &Told) -> Matched {
    let signal = Arc::new(told.signal());
    let rules = config.rules.match_ids(&signal);
    Matched { signal, rules }
}

/// The fixtures that lie in the folder, by name.
fn fixtures() -> BTreeMap<String, PathBuf> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path)).collect()
}

#[test]
fn every_fixture_holds_in_any_order() {
    for (name, path) in fixtures() {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut fixture: Fixture =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let config = fixture.config();
        let seen = fixture.forwards(&config);
        if fixture.expect == Expected::default() && std::env::var_os("UPDATE_EXPECT").is_some() {
            fixture.expect = seen;
            let text = serde_json::to_string_pretty(&fixture).unwrap();
            std::fs::write(&path, text + "\n").unwrap();
            continue;
        }
        assert_eq!(seen, fixture.expect, "{name}, forwards: {}", fixture.says);
        for seed in 0..8 {
            let mut other = fixture.otherwise(&config, seed);
            other.forwards.clone_from(&fixture.expect.forwards);
            assert_eq!(other, fixture.expect, "{name}, order {seed}: {}", fixture.says);
        }
    }
}

/// Each fixture stands in the document at the sentence that it pins down.
#[test]
fn the_document_names_every_fixture() {
    let document = include_str!("../../../../docs/correlation.md");
    let fixtures = fixtures();
    assert!(fixtures.len() >= 14, "{}", fixtures.len());
    for name in fixtures.keys() {
        assert!(document.contains(&format!("`{name}`")), "docs/correlation.md lacks `{name}`");
    }
}
