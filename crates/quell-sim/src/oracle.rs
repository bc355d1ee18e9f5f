//! Simulation room, oracle: the one place that says what must hold. Looks at the store, at the
//! providers' own logs and at what sources and people hold; never at what the engine believes.

mod end;
mod replay;

use std::collections::BTreeMap;

use quell_core::effect::Input;
use quell_core::order::{Call, Order, Verb};
use quell_core::replay as journal;
use quell_evidence::checkpoint::Checkpoint;
use quell_store::Views;
use quell_store::audit::audit;
use quell_store::frame::Content;
use quell_store::views::{Frames, Pick, StateRows, Tree};

use crate::company::TENANT;
use crate::process::Stage;
use crate::source::Sent;
use crate::world::World;

pub(crate) use end::at_end;

/// Reads the records that a commit added into the reference model.
pub(crate) fn after_commit(world: &mut World) -> Result<(), String> {
    let views = world.disk.views();
    loop {
        let next = world.ledger.next;
        let records = views.records(TENANT, Pick::All, next, 1000).map_err(|e| e.to_string())?;
        if records.is_empty() {
            return Ok(());
        }
        records.iter().try_for_each(|record| world.ledger.take(record, &world.company))?;
    }
}

/// What must hold before a request leaves.
pub(crate) fn before_send(world: &World, call: &Call) -> Result<(), String> {
    let id = call.order.to_string();
    let what = format!("{} {} of {id}", call.verb, call.attempt);
    let lane = call.account.to_string();
    let tasks = world.process.iter().flat_map(|process| process.tasks.values());
    let same = tasks.filter(|task| task.call.account.to_string() == lane);
    let out = same.filter(|task| matches!(task.stage, Stage::Sent(_))).count();
    if out > 1 {
        return Err(format!("{what} leaves while another call for {lane} is out"));
    }
    if !matches!(call.verb, Verb::Execute | Verb::Undo) {
        return Ok(());
    }
    let key = quell_run::dispatch::id(call);
    if world.sends.contains_key(&key) {
        return Err(format!("{what} leaves a second time"));
    }
    if world.company.untouchable(&call.account) {
        return Err(format!("{what} leaves for {lane}, which nothing may touch"));
    }
    let Some(told) = world.ledger.orders.get(&id) else {
        return Err(format!("{what} leaves, but no evidence names the order"));
    };
    if world.frozen && call.verb == Verb::Execute && !told.last_end {
        return Err(format!("{what} leaves during a freeze"));
    }
    let sent = world.sends.keys().filter(|k| k.order == call.order && k.verb == call.verb).count();
    let sent = u32::try_from(sent).unwrap_or(u32::MAX);
    let grounded = match call.verb {
        Verb::Undo => told.undos > 0,
        _ => told.permits > 0 && told.claims > sent,
    };
    if grounded {
        Ok(())
    } else {
        Err(format!("{what} leaves without a recorded permit and claim before it: {told:?}"))
    }
}

/// What must hold at any time, and is looked at after each death of the engine.
pub(crate) fn check(world: &mut World) -> Result<(), String> {
    after_commit(world)?;
    evidence(world)?;
    journalled(world)?;
    effecting(world)?;
    rows(world)
}

/// The evidence has no gap, its tree holds, and continues what was signed and given away.
fn evidence(world: &mut World) -> Result<(), String> {
    let views = world.disk.views();
    let audited = audit(&views, TENANT, None).map_err(|e| e.to_string())?;
    if audited.records != world.ledger.next {
        let (there, seen) = (audited.records, world.ledger.next);
        return Err(format!("{there} records are there, {seen} were seen before"));
    }
    // The last one that was looked at before is looked at again: the tree may have changed.
    let (mut last, from) = (0, world.looked_at.saturating_sub(1));
    for note in world.held.iter().skip(from) {
        let held = Checkpoint::open(note.as_bytes(), world.key.verifier());
        let held = held.map_err(|e| format!("a checkpoint that was given away: {e}"))?;
        if held.size() < last {
            return Err(format!("a checkpoint of {} follows one of {last}", held.size()));
        }
        last = held.size();
        let root = Tree::new(&views, TENANT).root(last).map_err(|e| e.to_string())?;
        if root != *held.root() {
            return Err(format!("the first {last} records are not those that were signed"));
        }
    }
    world.looked_at = world.held.len();
    Ok(())
}

/// Every batch for which a source holds a receipt is in the journal, as it was sent.
fn journalled(world: &World) -> Result<(), String> {
    let views = world.disk.views();
    let mut intakes = BTreeMap::new();
    for frame in Frames::new(&views, TENANT, 0) {
        let frame = frame.map_err(|e| e.to_string())?;
        let Content::Kept(body) = &frame.content else { continue };
        if frame.kind != journal::kind::SIGNALS {
            continue;
        }
        let input = journal::decode(frame.kind, body).map_err(|e| e.to_string())?;
        if let Input::Signals(intake) = input {
            intakes.insert(frame.seq, intake);
        }
    }
    for source in &world.sources {
        for (id, batch) in &source.batches {
            let is_it = |intake: &quell_core::effect::Intake| {
                intake.source == source.name && intake.matched == batch.matched
            };
            let there = match batch.sent {
                Sent::Taken(Some(seq)) => intakes.get(&seq).is_some_and(is_it),
                Sent::Taken(None) => intakes.values().any(is_it),
                Sent::Waits(_) | Sent::Asked => true,
            };
            if !there {
                return Err(format!("batch {id} of {} was accepted and is lost", source.name));
            }
        }
    }
    Ok(())
}

/// In the providers' own logs the effecting calls of an order are no more than its evidence
/// explains.
fn effecting(world: &World) -> Result<(), String> {
    let mut done: BTreeMap<(String, Verb), u32> = BTreeMap::new();
    for entry in &world.providers.log {
        *done.entry((entry.call.order.to_string(), entry.call.verb)).or_default() += 1;
        if world.company.untouchable(&entry.account) {
            return Err(format!("{} was acted on", entry.account));
        }
    }
    for ((order, verb), count) in done {
        let allowed = world.ledger.allowed(&order, verb, &world.company);
        if count > allowed {
            let told = world.ledger.orders.get(&order);
            return Err(format!(
                "{verb} of {order} was carried out {count} times, its evidence explains {allowed}: \
                 {told:?}"
            ));
        }
    }
    Ok(())
}

/// The state rows say what the evidence says.
fn rows(world: &World) -> Result<(), String> {
    let orders = orders(world)?;
    for order in &orders {
        let told = world.ledger.orders.get(&order.id.to_string());
        let state = told.map(|told| told.state.as_str()).filter(|state| !state.is_empty());
        if state.unwrap_or("planned") != order.state.name() {
            return Err(format!("{} is `{}`, its evidence says {told:?}", order.id, order.state));
        }
    }
    if orders.len() < world.ledger.orders.len() {
        return Err("an order of the evidence has no row".to_owned());
    }
    Ok(())
}

/// The orders as the store has them.
fn orders(world: &World) -> Result<Vec<Order>, String> {
    let views = world.disk.views();
    let mut all = Vec::new();
    for row in StateRows::new(&views, TENANT, "order") {
        let (key, value) = row.map_err(|e| e.to_string())?;
        let order = serde_json::from_slice(&value).map_err(|e| format!("order {key}: {e}"))?;
        all.push(order);
    }
    Ok(all)
}
