//! Simulation room, oracle by the engine's own promises: the journal gives the same evidence again
//! byte for byte, and the order in which signals arrived does not matter.

use std::collections::BTreeMap;

use quell_core::case::Case;
use quell_core::effect::{Effect, Input, Intake};
use quell_core::engine::Engine;
use quell_core::finding::Finding;
use quell_core::identity::Class;
use quell_core::order::{On, Verb};
use quell_core::replay;
use quell_core::resolve::Subject;
use quell_core::signal::Matched;
use quell_core::time::Time;
use quell_evidence::canonical;
use quell_store::StoredRecord;
use quell_store::frame::Content;
use quell_store::views::{Frames, Pick, Records, StateRows};

use crate::company::TENANT;
use crate::rng::Rng;
use crate::world::World;

/// The journal, stepped through by one engine that never dies, gives every record again. What the
/// engine lost by dying and being loaded would show here.
pub(crate) fn journal(world: &World) -> Result<(), String> {
    let views = world.disk.views();
    let mut records = Records::new(&views, TENANT, Pick::All, 0);
    let mut engine = Engine::new(world.company.config()?);
    let mut before: Vec<String> = Vec::new();
    for frame in Frames::new(&views, TENANT, 0) {
        let frame = frame.map_err(|e| e.to_string())?;
        let Content::Kept(body) = &frame.content else { continue };
        let input = replay::decode(frame.kind, body).map_err(|e| e.to_string())?;
        if let Input::Configured(configured) = &input {
            engine.configure(world.company.config_of(configured)?);
        }
        let effects = engine.step(frame.at, &input);
        claim_is_granted_rightly(&engine, &input)?;
        before.push(format!("frame {} {:?}", frame.seq, input).chars().take(300).collect());
        for effect in effects {
            let Effect::Record { kind, body, .. } = effect else { continue };
            let body = canonical::encode(&body).map_err(|e| e.to_string())?;
            let stored = records.next().ok_or("the replay gives a record more")?;
            let stored = stored.map_err(|e| e.to_string())?;
            same(&stored, kind, &body).map_err(|e| {
                let last = before.len().saturating_sub(12);
                let before = before.get(last..).unwrap_or_default().join("\n    ");
                format!("{e}\n  after\n    {before}")
            })?;
            let text = String::from_utf8_lossy(&body);
            before.push(format!(
                "  {} {kind} {}",
                stored.seq,
                text.chars().take(600).collect::<String>()
            ));
        }
    }
    match records.next() {
        Some(_) => Err("the replay gives a record less".to_owned()),
        None => decided(world, &engine),
    }
}

/// Each step that the findings in force ask for has an order, whatever became of it.
fn decided(world: &World, engine: &Engine) -> Result<(), String> {
    let orders = super::orders(world)?;
    for row in engine.plan() {
        if !orders.iter().any(|order| order.action == row.action && order.on == row.on) {
            return Err(format!("nothing was decided about {row:?}"));
        }
    }
    Ok(())
}

fn same(stored: &StoredRecord, kind: &str, body: &[u8]) -> Result<(), String> {
    let kept = stored.body.as_ref().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
    if stored.record_type == kind && kept == body {
        return Ok(());
    }
    Err(format!(
        "record {} is `{} {}`, the replay gives `{kind} {}`",
        stored.seq,
        stored.record_type,
        String::from_utf8_lossy(kept),
        String::from_utf8_lossy(body)
    ))
}

/// No act is claimed during a freeze, or on an account of last resort.
fn claim_is_granted_rightly(engine: &Engine, input: &Input) -> Result<(), String> {
    let Input::Claim(call) = input else { return Ok(()) };
    if call.verb != Verb::Execute || !engine.may_send(*call) {
        return Ok(());
    }
    let for_undo = engine.orders().any(|order| order.undo_after == Some(call.order));
    if engine.freeze().is_some() && !for_undo {
        return Err(format!("{call:?} was granted during a freeze"));
    }
    let Some(On::Account(account)) = engine.order(call.order).map(|order| &order.on) else {
        return Ok(());
    };
    let mut owners = engine.directory().owners(account);
    if owners.any(|owner| owner.classes.contains(&Class::BreakGlass)) {
        return Err(format!("{call:?} was granted on a break-glass account"));
    }
    Ok(())
}

/// The findings in force are those of an engine that is given the same verified containments and
/// hears the same signals in another order.
pub(crate) fn law(world: &World) -> Result<(), String> {
    let mut all: Vec<Matched> =
        world.sources.iter().flat_map(crate::source::Source::accepted).cloned().collect();
    let mut rng = Rng::new(world.seed);
    rng.shuffle(&mut all);
    let views = world.disk.views();
    let mut engine = Engine::new(world.company.config()?);
    let mut at = Time::default();
    for frame in Frames::new(&views, TENANT, 0) {
        at = at.max(frame.map_err(|e| e.to_string())?.at);
    }
    engine.step(at, &Input::Directory(world.company.import()));
    for row in StateRows::new(&views, TENANT, "case") {
        let (key, value) = row.map_err(|e| e.to_string())?;
        let case: Case = serde_json::from_slice(&value).map_err(|e| format!("case {key}: {e}"))?;
        let Subject::Identity(identity) = case.subject else { continue };
        case.containments.into_iter().for_each(|one| engine.assume(identity, one));
    }
    for some in all.chunks(5) {
        let intake = Intake { matched: some.to_vec(), ..Intake::default() };
        engine.step(at, &Input::Signals(intake));
    }
    let there = findings(world)?;
    let law: BTreeMap<String, Finding> = engine
        .findings()
        .chain(engine.contained())
        .map(|f| (f.id.to_string(), f.clone()))
        .collect();
    for id in there.keys().chain(law.keys()) {
        let (here, lawful) = (there.get(id), law.get(id));
        if here != lawful {
            return Err(format!("the finding is {here:?}, in another order {lawful:?}"));
        }
    }
    Ok(())
}

fn findings(world: &World) -> Result<BTreeMap<String, Finding>, String> {
    let views = world.disk.views();
    let mut all = BTreeMap::new();
    for row in StateRows::new(&views, TENANT, "finding") {
        let (key, value) = row.map_err(|e| e.to_string())?;
        let finding = serde_json::from_slice(&value).map_err(|e| format!("finding {key}: {e}"))?;
        all.insert(key, finding);
    }
    Ok(all)
}
