//! Whoever writes rules cannot widen authority: whatever rules ask for, no step of the engine is
//! wider than the cells of the signals that it rests on. The matrix itself knows no rules.

use std::cell::Cell as Counter;
use std::collections::BTreeMap;

use proptest::prelude::*;
use quell_core::action::{Action, Tier};
use quell_core::authority::matrix::{Cell, Stated, class_name, matrix};
use quell_core::effect::Input;
use quell_core::engine::{Config, Engine};
use quell_core::identity::Class;
use quell_core::resolve::Subject;
use quell_core::signal::{Kind, Use};
use quell_core::time::{HOUR, MINUTE, Time};

use super::company::*;
use super::reach::{PEOPLE, Spec, configs, spec_strategy};

type Widths = BTreeMap<(String, Kind, &'static str, Action), u8>;

/// How wide each cell is where the sources may state anything.
fn widths(config: &Config) -> Widths {
    let uses = [Use::Alone, Use::Join, Use::Stop, Use::Fact];
    let stated: Vec<Stated> = SOURCES
        .iter()
        .map(|source| Stated {
            source: (*source).to_owned(),
            kinds: Kind::ALL.iter().map(|kind| (*kind, uses.into())).collect(),
        })
        .collect();
    let cells = matrix(&config.policy, &stated).into_iter();
    let width =
        |cell: Cell| ((cell.source.clone(), cell.kind, cell.class, cell.action), cell.width());
    cells.map(width).collect()
}

/// Signals of any kind on a history that makes lures attributable.
fn inputs(config: &Config, specs: &[Spec], seed: u64) -> Vec<Input> {
    let mut sigs: Vec<Sig> = Vec::new();
    for who in PEOPLE {
        let usual = |n| {
            let who = format!("{who}@example.com");
            Sig::new("okta", Kind::SignIn, &who, T0 - n * 48 * HOUR).at(1)
        };
        sigs.extend((1..4_i64).map(usual));
    }
    sigs.extend(specs.iter().enumerate().map(|(n, spec)| {
        let who = format!("{}@example.com", PEOPLE[spec.who]);
        let kind = Kind::ALL[(spec.kind * 7 + n) % Kind::ALL.len()];
        let uses = [Use::Alone, Use::Join, Use::Stop, Use::Fact];
        let mut sig = Sig::new(SOURCES[spec.kind % 2], kind, &who, T0 + spec.minute * MINUTE)
            .usage(uses[spec.usage])
            .at(spec.place)
            .threat(n % 3);
        sig.confidence = spec.confidence;
        sig
    }));
    let mut matched: Vec<_> = sigs.iter().map(|sig| sig.matched(config)).collect();
    Dice::new(seed).shuffle(&mut matched);
    vec![import(company()), signals(matched)]
}

/// The greatest group of a step that may happen; every such step is held against the cells.
fn most(config: &Config, widths: &Widths, inputs: &[Input]) -> Result<Tier, TestCaseError> {
    let mut engine = Engine::new(config.clone());
    for input in inputs {
        engine.step(Time(T0 + 25 * HOUR), input);
    }
    let mut most = Tier::Observe;
    for row in engine.plan().into_iter().filter(|row| row.decision != "never") {
        most = most.max(row.action.group());
        let findings = engine.findings().filter(|finding| row.findings.contains(&finding.id));
        let mut carried = false;
        for finding in findings {
            let classes = match &finding.subject {
                Subject::Identity(id) => engine.directory().classes(*id, finding.first_at),
                Subject::Account { .. } => Default::default(),
            };
            let mut classes: Vec<Option<Class>> = classes.into_iter().map(Some).collect();
            if classes.is_empty() {
                classes.push(None);
            }
            carried |= finding.signals.iter().any(|cited| {
                classes.iter().all(|class| {
                    let place = (cited.source.clone(), cited.kind, class_name(*class), row.action);
                    widths[&place] <= row.approvals
                })
            });
        }
        prop_assert!(carried, "no cell is as wide as {row:?}");
    }
    Ok(most)
}

#[test]
fn no_rules_make_a_step_wider_than_its_cells() {
    let all: Vec<Widths> = configs().iter().map(widths).collect();
    let strategy =
        (prop::collection::vec(spec_strategy(), 1..14), 0..configs().len(), any::<u64>());
    let beyond = Counter::new(0);
    let mut runner = runner(300);
    let result = runner.run(&strategy, |(specs, which, seed)| {
        let config = &configs()[which];
        let most = most(config, &all[which], &inputs(config, &specs, seed))?;
        beyond.set(beyond.get() + u32::from(most > Tier::Observe));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (beyond, tried) = (beyond.get(), runner.config().cases);
    assert!(beyond * 20 > tried, "only {beyond} of {tried} cases go beyond observe at all");
}

#[test]
fn rules_do_not_enter_the_matrix() {
    // The shipped rules and the greediest under one policy.
    let [shipped, hostile] = [&configs()[0], &configs()[1]];
    assert_ne!(shipped.rules.digest, hostile.rules.digest);
    assert_eq!(widths(shipped), widths(hostile));
}
