//! Simulation room, the end: all faults are switched off, and what was begun comes to rest.

use quell_core::effect::{Freeze, Input};
use quell_core::order::State;
use quell_core::time::DAY;

use super::World;
use crate::process::Asker;

/// Steps and time within which everything must rest.
const STEPS_MAX: u32 = 20_000;
const TIME_MAX: i64 = 4 * DAY;

impl World {
    pub(super) fn settle(&mut self) -> Result<(), String> {
        self.note(|| "faults end".to_owned());
        self.faults.quiet(true);
        self.wire.quiet = true;
        self.settling = true;
        // Both must come to rest: the life that was, and another one.
        if self.rng.chance(500) {
            self.crash()?;
        }
        let until = self.now.plus(TIME_MAX);
        let mut thawed = 0;
        for _ in 0..STEPS_MAX {
            if self.now > until {
                break;
            }
            let at_rest = self.at_rest();
            if at_rest && thawed > 0 {
                return Ok(());
            }
            // A freeze is lifted once everything has been heard, and again if one sets itself.
            if self.is_frozen() || at_rest {
                if thawed > 20 {
                    break;
                }
                if self.process.as_ref().is_some_and(|p| p.is_still()) {
                    thawed += 1;
                    self.thaw()?;
                }
            }
            self.one_step()?;
        }
        Err(format!("it does not come to rest: {}", self.unrest().join("; ")))
    }

    fn is_frozen(&self) -> bool {
        let engine = self.process.as_ref().and_then(|process| process.keeper.engine());
        engine.is_some_and(|engine| engine.freeze().is_some())
    }

    fn thaw(&mut self) -> Result<(), String> {
        let freeze =
            Freeze { on: false, until: None, by: "officer0".to_owned(), why: String::new() };
        let input = Input::Freeze(freeze);
        self.process.iter_mut().try_for_each(|p| p.input(input.clone(), Asker::Person))
    }

    fn at_rest(&self) -> bool {
        self.unrest().is_empty()
    }

    /// What is still under way.
    fn unrest(&self) -> Vec<String> {
        let mut all = Vec::new();
        let Some(process) = &self.process else { return vec!["no process".to_owned()] };
        if !process.is_still() {
            all.push("the engine works".to_owned());
        }
        if !process.dispatch.is_idle() {
            all.push(format!("dispatch has {:?} calls", process.dispatch.counts()));
        }
        if self.wire.next().is_some() {
            all.push("requests are on their way".to_owned());
        }
        if !self.arrivals.is_empty() || !self.sources.iter().all(crate::source::Source::is_done) {
            all.push("sources have something to tell".to_owned());
        }
        if self.owes_pages() {
            all.push("pages are not delivered".to_owned());
        }
        if self.is_frozen() {
            all.push("it is frozen".to_owned());
        }
        let orders = process.keeper.engine().into_iter().flat_map(|engine| engine.orders());
        let moving = orders.filter(|order| !order.state.is_final() && order.state != State::Held);
        let moving = moving.map(|o| format!("{} {} {}: {}", o.action, o.id, o.state, o.reason));
        all.extend(moving);
        all
    }
}
