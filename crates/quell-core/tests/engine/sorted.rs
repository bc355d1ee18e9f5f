//! A test of the law's test: its input must reach the engine unsorted, and unsorted input must be
//! what tells a correlator that depends on arrival from one that does not. It fails when anybody
//! sorts the input before the engine.

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use quell_core::action::Tier;
use quell_core::effect::Input;
use quell_core::engine::{Config, Engine};
use quell_core::resolve::Subject;
use quell_core::signal::{Kind, Matched, Use};
use quell_core::time::{DAY, MINUTE, Precision, Time};

use super::company::*;
use super::world::inversions;

/// The window of the one rule, minutes.
const WINDOW: u32 = 60;

fn ordered_rule() -> Config {
    let documents = [
        detection(1, "given", &[Kind::CredentialSubmitted]),
        detection(2, "changed", &[Kind::MfaMethodAdded]),
        correlation(3, true, &["given", "changed"], WINDOW, None) + &ask(Tier::Observe, 50),
    ];
    let text = documents.join("---\n");
    config(rules(&[("rule.yml", &text)]), policy(&armed_files()))
}

/// What one would write first: a window over what has arrived, by the time of the newest.
#[derive(Default)]
struct Naive {
    given: Vec<(String, Time)>,
    found: BTreeSet<String>,
}

impl Naive {
    fn hear(&mut self, matched: &Matched) {
        let signal = &matched.signal;
        let (who, t) = (signal.about[0].value.clone(), signal.times.happened.t);
        let oldest = t.plus(-i64::from(WINDOW) * MINUTE);
        self.given.retain(|(_, given)| *given >= oldest);
        if signal.kind == Kind::CredentialSubmitted {
            self.given.push((who, t));
        } else if self.given.iter().any(|(other, given)| *other == who && *given <= t) {
            self.found.insert(who);
        }
    }
}

/// The same inputs, one by one, to the engine and to the naive correlator: whom each found, and
/// how often an event came after a later one.
fn both(config: &Config, inputs: &[Input]) -> (BTreeSet<String>, BTreeSet<String>, usize) {
    let mut engine = Engine::new(config.clone());
    let mut naive = Naive::default();
    let (mut inverted, mut latest) = (0, Time(i64::MIN));
    for input in inputs {
        inverted += inversions(&mut latest, input);
        engine.step(Time(T0 + DAY), input);
        if let Input::Signals(intake) = input {
            intake.matched.iter().for_each(|matched| naive.hear(matched));
        }
    }
    let name = |subject: &Subject| match subject {
        Subject::Account { name, .. } => name.value.clone(),
        Subject::Identity(id) => id.to_string(),
    };
    (engine.findings().map(|f| name(&f.subject)).collect(), naive.found, inverted)
}

#[test]
fn only_unsorted_input_tells_arrival_from_event_time() {
    let config = ordered_rule();
    let spec = (0..2_usize, any::<bool>(), 0..400_i64);
    let strategy = (prop::collection::vec(spec, 1..9), any::<u64>());
    let (cases, differ, inverted) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let mut runner = runner(400);
    let result = runner.run(&strategy, |(specs, seed)| {
        let who = ["ann@example.com", "ben@example.com"];
        let mut sigs: Vec<Sig> = specs
            .iter()
            .enumerate()
            .map(|(n, (person, given, minute))| {
                let kind = if *given { Kind::CredentialSubmitted } else { Kind::MfaMethodAdded };
                let t = T0 + minute * MINUTE + i64::try_from(n).unwrap();
                let sig = Sig::new("okta", kind, who[*person], t).usage(Use::Join);
                Sig { precision: Precision::Micro, ..sig }
            })
            .collect();
        let told = |sigs: &[Sig]| -> Vec<Input> {
            sigs.iter().map(|sig| signals(vec![sig.matched(&config)])).collect()
        };
        sigs.sort_by_key(|sig| sig.t);
        let (truth, naive, _) = both(&config, &told(&sigs));
        prop_assert_eq!(&truth, &naive, "in event order both find the same");
        let mut dice = Dice::new(seed);
        dice.shuffle(&mut sigs);
        let inputs = told(&sigs);
        let (found, naive, inversions) = both(&config, &inputs);
        prop_assert_eq!(&truth, &found, "the engine finds the same in any order");
        cases.set(cases.get() + 1);
        differ.set(differ.get() + usize::from(naive != truth));
        inverted.set(inverted.get() + usize::from(inversions > 0));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (cases, differ, inverted) = (cases.get(), differ.get(), inverted.get());
    assert!(inverted * 2 > cases, "{inverted} of {cases} inputs are not in event order");
    assert!(differ * 20 > cases, "the naive correlator was wrong in {differ} of {cases} cases");
}
