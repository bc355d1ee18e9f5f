//! Crash and resume, and determinism: an engine that is loaded from rows and folded timelines goes
//! on as if nothing had been, and the same inputs give the same effects, byte for byte.

use proptest::prelude::*;
use quell_core::effect::{Effect, Input};
use quell_core::engine::Engine;
use quell_core::order::Repeat;
use quell_core::replay;
use quell_core::time::Time;

use super::company::*;
use super::drive::*;

/// Inputs as a driver with its dispatcher makes them, without a crash.
fn recorded(seed: u64, garbage: bool) -> Driver {
    let config = with_target(shipped(), Repeat::AfterReadBack, true);
    let mut driver = Driver::new(config, seed);
    driver.crashes = false;
    driver.garbage = garbage;
    for _ in 0..50 {
        driver.anything();
    }
    driver
}

fn lines(effects: &[Effect]) -> Vec<String> {
    effects.iter().map(|effect| format!("{effect:?}")).collect()
}

#[test]
fn a_loaded_engine_goes_on_as_the_one_before() {
    let mut runner = runner(300);
    let result = runner.run(&(any::<u64>(), any::<bool>()), |(seed, garbage)| {
        let driver = recorded(seed, garbage);
        let cut = Dice::new(seed).below(driver.log.len());
        let mut store = Store::default();
        let mut whole = Engine::new(driver.config.clone());
        for (at, input, _) in &driver.log[..cut] {
            let effects = whole.step(*at, input);
            store.commit(*at, input, &effects);
        }
        let mut loaded = store.load(&driver.config);
        prop_assert_eq!(whole.wake_at(), loaded.wake_at());
        // Both hear of the restart: a call whose answer is lost is lost for both.
        let at = driver.log[..cut].last().map_or(Time(T0), |(at, ..)| *at);
        let restart = [(at, Input::Restarted)];
        let rest = driver.log[cut..].iter().map(|(at, input, _)| (*at, input.clone()));
        for (at, input) in restart.into_iter().chain(rest) {
            let one = whole.step(at, &input);
            let other = loaded.step(at, &input);
            prop_assert_eq!(lines(&one), lines(&other), "{:?}", input);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn the_same_inputs_give_the_same_effects() {
    let mut runner = runner(200);
    let result = runner.run(&(any::<u64>(), any::<bool>()), |(seed, garbage)| {
        let driver = recorded(seed, garbage);
        let mut again = Engine::new(driver.config.clone());
        for (at, input, effects) in &driver.log {
            let (kind, body) = replay::encode(input);
            let read = replay::decode(kind, &body).unwrap();
            prop_assert_eq!(input, &read);
            prop_assert_eq!(lines(effects), lines(&again.step(*at, &read)));
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
