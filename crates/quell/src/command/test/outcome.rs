//! `quell test`, the run: what goes in as the engine takes it, and what comes out in a form that a
//! person can review. It compares nothing.

use std::path::Path;

use quell_core::directory::Import;
use quell_core::engine::Engine;
use quell_core::finding::{Cited, Finding};
use quell_core::id::{Digest, SignalId, SourceName};
use quell_core::identity::Identifier;
use quell_core::resolve::{Resolution, Subject};
use quell_core::signal::{Entity, Provenance, Signal, Times};
use quell_core::time::Time;
use serde_json::{Map, Value, json};

use super::super::decode::{find_pack, parse_time, read};
use super::case::{Case, Directory, Given, Said};
use crate::assemble::Brain;
use crate::config::Place;
use crate::fault::Fault;
use crate::memory::{self, TENANT};
use crate::people;

/// What comes out of a test.
pub(super) fn of(
    brain: &Brain,
    place: Option<&Place>,
    path: &Path,
    case: &Case,
) -> Result<Value, Fault> {
    let stated = case.at.as_deref().map(parse_time).transpose()?;
    let now = stated.unwrap_or(Time(i64::MAX / 4));
    let mut records = Vec::new();
    for (n, given) in case.given.iter().enumerate() {
        records.extend(arrivals(brain, place, path, now, (n, given))?);
    }
    let at = stated.or(memory::latest(&records)).unwrap_or_default();
    let directory = directory(place, path, case, at)?;
    let engine = memory::run(brain, at, directory.as_ref(), &records);
    Ok(told(&engine))
}

/// The directory of a test, as old as it says and otherwise fresh.
fn directory(
    place: Option<&Place>,
    path: &Path,
    case: &Case,
    at: Time,
) -> Result<Option<Import>, Fault> {
    let beside = |file: &Path| path.parent().unwrap_or(Path::new(".")).join(file);
    let import = match &case.directory {
        Some(Directory::File(file)) => Some(people::read(TENANT, &beside(file))?),
        Some(Directory::List(list)) => {
            let text = Value::Array(list.clone()).to_string();
            Some(people::json(TENANT, "directory", &text)?)
        }
        None => {
            let file = place.and_then(|place| {
                place.settings.paths.directory.as_ref().map(|file| place.path(file))
            });
            file.map(|file| people::read(TENANT, &file)).transpose()?
        }
    };
    let as_of = case.directory_as_of.as_deref().map(parse_time).transpose()?.unwrap_or(at);
    Ok(import.map(|import| Import { as_of: Some(as_of), ..import }))
}

/// What one arrival holds.
fn arrivals(
    brain: &Brain,
    place: Option<&Place>,
    path: &Path,
    now: Time,
    (n, given): (usize, &Given),
) -> Result<Vec<(SourceName, Vec<Signal>)>, Fault> {
    let sources = || place.iter().flat_map(|place| &place.settings.source);
    let wrong = |what: &str| {
        let message = format!("`given`, item {}: {what}", n + 1);
        Err(Fault::input(message, "see docs/testing.md for the form of a test"))
    };
    let source = given.source.as_ref();
    let pack = given.pack.clone().or_else(|| {
        let own = sources().find(|configured| Some(&configured.name) == source);
        own.and_then(|configured| configured.pack.clone()).or(source.cloned())
    });
    let Some(pack) = pack else { return wrong("neither `pack` nor `source`") };
    let configured = sources().find(|s| s.pack.as_ref().unwrap_or(&s.name) == &pack);
    let source = source.cloned().or(configured.map(|s| s.name.clone()));
    let source = source.unwrap_or_else(|| pack.clone());
    if given.file.is_none() && given.records.is_empty() && given.signals.is_empty() {
        return wrong("neither `file`, `records` nor `signals`");
    }
    let mut all = Vec::new();
    if given.file.is_some() || !given.records.is_empty() {
        let pack = find_pack(brain, &pack)?;
        if let Some(file) = &given.file {
            let body = read(&path.parent().unwrap_or(Path::new(".")).join(file))?;
            all.extend(memory::records(&pack, &source, now, &body)?);
        }
        for record in &given.records {
            let body = record.to_string();
            all.extend(memory::records(&pack, &source, now, body.as_bytes())?);
        }
    }
    let provider = brain.packs.get(&pack).and_then(|pack| pack.provider());
    for (m, said) in given.signals.iter().enumerate() {
        let key = format!("test-{n}-{m}");
        let signal = signal(said, &source, provider, &key)?;
        all.push((source.clone(), vec![signal]));
    }
    Ok(all)
}

/// A signal as a pack would make it.
fn signal(said: &Said, source: &str, provider: Option<&str>, key: &str) -> Result<Signal, Fault> {
    let moment = |text: &str| {
        let moment = Time::parse(text);
        moment.ok_or_else(|| {
            Fault::input(format!("`{text}` is no RFC 3339 time"), "e.g. 2026-11-25T12:00:00Z")
        })
    };
    let happened = moment(&said.at)?;
    let written = said.written.as_deref().map(moment).transpose()?.unwrap_or(happened).t;
    let mut entities: Vec<Entity> = said
        .entities
        .iter()
        .flat_map(|(kind, values)| values.list().iter().map(|value| (*kind, value.clone())))
        .map(|(kind, value)| Entity { kind, value })
        .collect();
    entities.sort();
    entities.dedup();
    let mut anomalies = said.anomalies.clone();
    anomalies.sort();
    anomalies.dedup();
    let about = said.about.iter();
    Ok(Signal {
        id: SignalId::of(TENANT, source, key, said.kind.name(), 0),
        source: source.to_owned(),
        kind: said.kind,
        usage: said.usage,
        confidence: said.confidence,
        about: about.map(|(scheme, name)| Identifier::new(*scheme, provider, name)).collect(),
        times: Times { happened, judged: None, written },
        entities,
        attributes: said.attributes.clone(),
        anomalies,
        provenance: Provenance::File,
        record: Digest::of(key.as_bytes()),
        record_key: key.to_owned(),
        withdraws: said.withdraws,
    })
}

/// Findings in force and plan, for review.
fn told(engine: &Engine) -> Value {
    let mut findings: Vec<&Finding> = engine.findings().collect();
    findings.sort_by_key(|f| (f.first_at, f.id));
    let findings: Vec<Value> = findings.into_iter().map(|f| finding(engine, f)).collect();
    let plan: Vec<Value> = engine
        .plan()
        .into_iter()
        .map(|row| {
            let mut told = Map::new();
            told.insert("identity".into(), name(engine, &row.subject).into());
            told.insert("action".into(), row.action.name().into());
            told.insert("on".into(), row.on.key().into());
            told.insert("decision".into(), row.decision.into());
            told.insert("approvals".into(), row.approvals.into());
            if let Some(ttl) = row.ttl {
                told.insert("ttl".into(), memory::span(ttl).into());
            }
            told.insert("policies".into(), json!(row.policies));
            told.insert("reason".into(), row.reason.into());
            Value::Object(told)
        })
        .collect();
    json!({ "findings": findings, "plan": plan })
}

fn finding(engine: &Engine, finding: &Finding) -> Value {
    let cited = |cited: &Cited| {
        let Cited { source, kind, usage, at, .. } = cited;
        format!("{source} {kind} {usage} {at}")
    };
    let signals: Vec<String> = finding.signals.iter().map(cited).collect();
    let mut told = Map::new();
    told.insert("title".into(), finding.title.clone().into());
    told.insert("rule".into(), finding.rule.clone().into());
    told.insert("identity".into(), name(engine, &finding.subject.to_string()).into());
    told.insert("tier".into(), finding.tier.name().into());
    told.insert("confidence".into(), finding.confidence.into());
    told.insert("signals".into(), json!(signals));
    if !finding.caps.is_empty() {
        told.insert("caps".into(), json!(finding.caps));
    }
    match &finding.resolution {
        Resolution::Resolved => {}
        Resolution::Ambiguous(why) => {
            told.insert("ambiguous".into(), why.clone().into());
        }
        Resolution::Unknown(why) => {
            told.insert("unknown".into(), why.clone().into());
        }
    }
    Value::Object(told)
}

/// The key of the identity, or the account that nobody knows.
fn name(engine: &Engine, subject: &str) -> String {
    let known = engine.findings().find(|f| f.subject.to_string() == subject).map(|f| &f.subject);
    match known {
        Some(Subject::Identity(id)) => {
            let identity = engine.directory().identity(*id);
            identity.map_or_else(|| subject.to_owned(), |identity| identity.key.clone())
        }
        _ => subject.to_owned(),
    }
}
