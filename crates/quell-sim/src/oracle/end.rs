//! Simulation room, oracle at the end: what must hold once the faults are over and everything has
//! come to rest.

use quell_core::order::{On, State, Verb};
use quell_evidence::bundle;
use quell_evidence::leaf::{Body, Record};
use quell_store::Views;
use quell_store::audit::audit;
use quell_store::views::{Pick, Records};

use super::{check, orders, replay};
use crate::company::TENANT;
use crate::world::World;

/// Everything that must hold at the end.
pub(crate) fn at_end(world: &mut World) -> Result<(), String> {
    world.sign_last()?;
    check(world)?;
    ended(world)?;
    told(world)?;
    bundle_verifies(world)?;
    replay::journal(world)?;
    replay::law(world)
}

/// Every order ended in a state that says why, and the state is true.
fn ended(world: &mut World) -> Result<(), String> {
    for order in orders(world)? {
        let what = format!("{} {} {}: {}", order.action, order.id, order.state, order.reason);
        world.stats.count(format!("orders: {}", order.state));
        if !order.state.is_final() && order.state != State::Held || order.reason.is_empty() {
            return Err(format!("{what}: it did not end"));
        }
        let of = |verb: Verb| {
            let log = world.providers.log.iter();
            log.filter(move |entry| entry.call.order == order.id && entry.call.verb == verb)
        };
        let acts = matches!(&order.on, On::Account(_)) && order.action.name() != "watch";
        if !acts {
            continue;
        }
        if order.acknowledged_at.is_some() && of(Verb::Execute).count() == 0 {
            return Err(format!("{what}: acknowledged, but the provider never did it"));
        }
        if order.state == State::NoChange && of(Verb::Execute).any(|entry| entry.changed) {
            return Err(format!("{what}: but we changed it"));
        }
        let lasts = matches!(order.state, State::Verified | State::NotProvable);
        let undoes = world.company.undoes(&order);
        if lasts && undoes && order.ttl.is_some() && order.undo_at.is_none() {
            return Err(format!("{what}: its effect has a time to live and no end"));
        }
        let needs_people =
            matches!(order.state, State::Failed | State::NotEffective | State::UndoFailed);
        let ids = [order.id.to_string(), order.case.to_string()];
        if needs_people && !ids.iter().any(|id| world.ledger.paged.contains(id)) {
            return Err(format!("{what}: nobody was paged"));
        }
        let untouched = matches!(
            order.state,
            State::Refused | State::Shadowed | State::Denied | State::Expired
        );
        if untouched && of(Verb::Execute).count() > 0 && order.attempts.iter().all(|n| *n == 0) {
            return Err(format!("{what}: but the provider did it"));
        }
    }
    let left = world.disk.views().outbox(TENANT, 100).map_err(|e| e.to_string())?;
    match left.first() {
        Some(row) => Err(format!("a call was left in the outbox: {:?}", row.call)),
        None => Ok(()),
    }
}

/// Every page reached people, and only what was not ours is called misuse.
fn told(world: &World) -> Result<(), String> {
    if let Some(page) = world.ledger.pages.difference(&world.delivered).next() {
        return Err(format!("page {page} reached nobody"));
    }
    if let Some(signal) = world.ledger.misuse.difference(&world.foreign).next() {
        return Err(format!("{signal} is what we did ourselves, and it is called misuse"));
    }
    Ok(())
}

/// All checkpoints are signed, and the bundle of everything verifies against the first and the
/// last one that were given away.
fn bundle_verifies(world: &World) -> Result<(), String> {
    let views = world.disk.views();
    let mut records = Vec::new();
    for stored in Records::new(&views, TENANT, Pick::All, 0) {
        let stored = stored.map_err(|e| e.to_string())?;
        let record = stored.record().map_err(|e| e.to_string())?;
        let body = match record.body {
            Body::Kept { salt, bytes } => Body::Kept { salt, bytes: bytes.into_owned().into() },
            Body::Erased { digest } => Body::Erased { digest },
        };
        records.push(Record { header: record.header.into_owned(), body });
    }
    let key = world.key.verifier();
    let Some(last) = world.held.last() else { return Err("no checkpoint was signed".to_owned()) };
    let bytes = bundle::write(last.as_bytes(), key, TENANT, records)
        .map_err(|e| format!("no bundle: {e}"))?;
    audit(&views, TENANT, Some(key)).map_err(|e| e.to_string())?;
    for note in [world.held.first(), Some(last)].into_iter().flatten() {
        let verified = bundle::verify(&bytes, key, Some(note.as_bytes()));
        let verified = verified.map_err(|e| format!("the bundle does not verify: {e}"))?;
        if verified.records != world.ledger.next {
            return Err(format!("the bundle has {} records", verified.records));
        }
    }
    Ok(())
}
