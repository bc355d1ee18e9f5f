//! Random walks: whatever targets answer, whoever crashes, and whatever comes out of nowhere, the
//! effecting calls of an order stay within its repeat class, nothing is lost, and nothing panics.

use std::cell::Cell;

use proptest::prelude::*;
use quell_core::order::{Repeat, State};

use super::company::*;
use super::drive::*;

/// What the provider's log may show for one order.
fn allowed(repeat: Repeat, tally: Tally) -> u32 {
    match repeat {
        Repeat::Never => 1,
        Repeat::AfterReadBack => 1 + tally.absent,
        Repeat::Safe => 1 + tally.absent + tally.unknown,
    }
}

fn walk(repeat: Repeat, reads_back: bool, garbage: bool, seed: u64) -> Driver {
    let mut driver = Driver::new(with_target(shipped(), repeat, reads_back), seed);
    driver.garbage = garbage;
    for _ in 0..60 {
        driver.anything();
    }
    driver
}

#[test]
fn effecting_calls_stay_within_the_repeat_class() {
    let strategy = (0..3_usize, any::<bool>(), any::<bool>(), any::<u64>());
    let (sent, repeated) = (Cell::new(0), Cell::new(0));
    let mut runner = runner(600);
    let result = runner.run(&strategy, |(repeat, reads_back, garbage, seed)| {
        let repeat = Repeat::ALL[repeat];
        let mut driver = walk(repeat, reads_back, garbage, seed);
        driver.settle();
        for (order, tally) in &driver.tallies {
            let most = allowed(repeat, *tally);
            prop_assert!(tally.effecting <= most, "{order} {repeat}: {tally:?}");
            sent.set(sent.get() + u32::from(tally.effecting > 0));
            repeated.set(repeated.get() + u32::from(tally.effecting > 1));
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let cases = runner.config().cases;
    assert!(sent.get() > cases / 2, "{sent:?} orders were sent in {cases} cases");
    assert!(repeated.get() > cases / 30, "{repeated:?} orders were repeated in {cases} cases");
}

/// An order that is under way has exactly one call that can move it, and the outbox has no other.
#[test]
fn nothing_is_lost_and_nothing_is_left_over() {
    let strategy = (0..3_usize, any::<bool>(), any::<u64>());
    let moving = Cell::new(0);
    let mut runner = runner(300);
    let result = runner.run(&strategy, |(repeat, reads_back, seed)| {
        let mut driver = Driver::new(with_target(shipped(), Repeat::ALL[repeat], reads_back), seed);
        for _ in 0..60 {
            driver.anything();
            for order in driver.engine.orders() {
                let on_its_way = matches!(
                    order.state,
                    State::Permitted
                        | State::Dispatched
                        | State::Acknowledged
                        | State::Effective
                        | State::Unknown
                        | State::Undoing
                );
                let waits = order.parked || order.undo_after.is_some();
                let calls = driver.store.outbox.keys().filter(|id| id.order == order.id).count();
                prop_assert_eq!(calls, usize::from(on_its_way && !waits), "{:?}", order);
                moving.set(moving.get() + calls);
            }
        }
        driver.settle();
        for order in driver.engine.orders() {
            let settled = order.state.is_final()
                || matches!(order.state, State::AwaitingApproval | State::Held);
            prop_assert!(settled, "{:?}", order);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let cases = usize::try_from(runner.config().cases).unwrap();
    assert!(moving.get() > cases, "only {moving:?} calls were seen in {cases} cases");
}
