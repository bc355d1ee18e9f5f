//! Nobody outside may lock anyone out (DESIGN.md, section 4): no set of `outsider` signals gives
//! more than observe, and none with a `lure` more than challenge, whatever rules and policies
//! ask for, and for nobody.

use std::cell::Cell;
use std::sync::OnceLock;

use proptest::prelude::*;
use quell_core::action::{Action, Tier};
use quell_core::effect::{Effect, Input};
use quell_core::engine::{Config, Engine};
use quell_core::identity::Class;
use quell_core::signal::{Kind, Reach, Use};
use quell_core::time::{HOUR, MINUTE, Time};

use super::company::*;

fn of_reach(reach: Reach) -> Vec<Kind> {
    Kind::ALL.iter().copied().filter(|kind| kind.reach() == reach).collect()
}

/// Rules that ask for the most on whatever anybody can cause; sign-ins, which make the history,
/// are left out.
fn hostile_rules() -> [String; 2] {
    let mut documents = Vec::new();
    for (n, kind) in Kind::ALL.iter().filter(|kind| **kind != Kind::SignIn).enumerate() {
        let text = detection(n, &format!("any_{kind}"), &[*kind]);
        documents.push(text + &ask(Tier::Evict, 100));
    }
    let single = documents.join("---\n");
    documents.clear();
    let lures = of_reach(Reach::Lure);
    documents.push(detection(900, "any_lure", &lures));
    documents.push(detection(901, "any_outsider", &of_reach(Reach::Outsider)));
    let pairs: [(&str, &str, bool); 5] = [
        ("any_lure", "any_outsider", true),
        ("any_outsider", "any_lure", false),
        ("any_url_click", "any_phish_delivered", false),
        ("any_sign_in_failed", "any_mfa_fatigue", true),
        ("any_phish_delivered", "any_detection", false),
    ];
    for (n, (one, other, ordered)) in pairs.iter().enumerate() {
        let text = correlation(1_000 + n, *ordered, &[one, other], 24 * 60, None);
        documents.push(text + &ask(Tier::Evict, 100));
        let text = correlation(2_000 + n, false, &[one, other], 24 * 60, Some(1));
        documents.push(text + &ask(Tier::Evict, 100));
    }
    [single, documents.join("---\n")]
}

/// Tiers that ask for every action that a tier may hold, from every class.
fn greedy_tiers() -> String {
    let mut text = "version = 1\n".to_owned();
    for tier in Tier::ALL {
        let most = if *tier >= Tier::Contain { Tier::Evict } else { *tier };
        let actions = Action::ALL.iter().filter(|action| action.group() <= most);
        let actions: Vec<String> = actions.map(|action| format!("\"{action}\"")).collect();
        let list = actions.join(", ");
        text.push_str(&format!("[{tier}]\ndefault = [{list}]\nunknown = [{list}]\n"));
        for class in Class::ALL.iter().filter(|class| **class != Class::BreakGlass) {
            text.push_str(&format!("{class} = [{list}]\n"));
        }
        text.push_str("break_glass = []\n");
    }
    text
}

pub(crate) fn configs() -> &'static [Config] {
    static CONFIGS: OnceLock<Vec<Config>> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let near = |files| edited(files, "limits.toml", "cold_history = 10", "cold_history = 2");
        let mut reckless = near(reckless_files());
        reckless.0.insert("tiers.toml".to_owned(), greedy_tiers());
        let policies = [policy(&near(armed_files())), policy(&reckless)];
        let hostile = hostile_rules();
        let mut all = Vec::new();
        for policy in policies {
            all.push(config(rules(&SHIPPED), policy.clone()));
            let mut files = SHIPPED.to_vec();
            files.extend([("single.yml", hostile[0].as_str()), ("joined.yml", &hostile[1])]);
            all.push(config(rules(&files), policy));
        }
        all
    })
}

#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) who: usize,
    pub(crate) kind: usize,
    pub(crate) usage: usize,
    pub(crate) minute: i64,
    pub(crate) place: usize,
    pub(crate) confidence: u8,
}

pub(crate) const PEOPLE: [&str; 8] =
    ["alice", "bob", "carol", "svc", "glass", "nobody", "both", "mallory"];

/// The most that may leave for signals up to a reach.
fn ceiling(reach: Reach) -> Tier {
    match reach {
        Reach::Outsider => Tier::Observe,
        Reach::Lure => Tier::Challenge,
        Reach::Access => Tier::Evict,
    }
}

fn inputs(config: &Config, reach: Reach, specs: &[Spec], seed: u64) -> Vec<Input> {
    let mut kinds = of_reach(Reach::Outsider);
    if reach >= Reach::Lure {
        kinds.extend(of_reach(Reach::Lure).repeat(6));
    }
    if reach >= Reach::Access {
        kinds = of_reach(Reach::Access);
    }
    let mut sigs: Vec<Sig> = Vec::new();
    // A history, so that lures can be attributed. It is too old to be part of a window.
    if reach > Reach::Outsider {
        for who in PEOPLE {
            let usual = |n| {
                let who = format!("{who}@example.com");
                Sig::new("okta", Kind::SignIn, &who, T0 - n * 48 * HOUR).at(1)
            };
            sigs.extend((1..4_i64).map(usual));
        }
    }
    sigs.extend(specs.iter().enumerate().map(|(n, spec)| {
        let who = format!("{}@example.com", PEOPLE[spec.who]);
        let source = SOURCES[spec.kind % 2];
        let kind = kinds[spec.kind % kinds.len()];
        let uses = [Use::Alone, Use::Join, Use::Stop, Use::Fact];
        let mut sig = Sig::new(source, kind, &who, T0 + spec.minute * MINUTE)
            .usage(uses[spec.usage])
            .at(spec.place)
            .threat(n % 3);
        sig.confidence = spec.confidence;
        sig
    }));
    let mut matched: Vec<_> = sigs.iter().map(|sig| sig.matched(config)).collect();
    let mut dice = Dice::new(seed);
    dice.shuffle(&mut matched);
    let mut all = vec![import(company())];
    while !matched.is_empty() {
        let size = (1 + dice.below(12)).min(matched.len());
        all.push(signals(matched.drain(..size).collect()));
    }
    all
}

/// The greatest group that left or would leave; none without a finding.
fn reached(config: &Config, inputs: &[Input]) -> Option<Tier> {
    let mut engine = Engine::new(config.clone());
    let mut most = Tier::Observe;
    for input in inputs {
        for effect in engine.step(Time(T0 + 25 * HOUR), input) {
            if let Effect::Call(call) = effect {
                most = most.max(call.action.group());
            }
        }
    }
    for row in engine.plan() {
        if row.decision != "never" {
            most = most.max(row.action.group());
        }
    }
    use quell_core::order::State as S;
    for order in engine.orders() {
        if !matches!(order.state, S::Refused | S::Manual) {
            most = most.max(order.action.group());
        }
    }
    (engine.findings().count() > 0).then_some(most)
}

pub(crate) fn spec_strategy() -> impl Strategy<Value = Spec> {
    (0..PEOPLE.len(), 0..60_usize, 0..4_usize, 0..1_400_i64, 0..3_usize, 1..=100_u8).prop_map(
        |(who, kind, usage, minute, place, confidence)| Spec {
            who,
            kind,
            usage,
            minute,
            place,
            confidence,
        },
    )
}

fn check(reach: Reach, cases: u32) {
    let strategy =
        (prop::collection::vec(spec_strategy(), 1..14), 0..configs().len(), any::<u64>());
    let full = Cell::new(0);
    let mut runner = runner(cases);
    let result = runner.run(&strategy, |(specs, which, seed)| {
        let config = &configs()[which];
        let most = reached(config, &inputs(config, reach, &specs, seed));
        prop_assert!(most <= Some(ceiling(reach)), "{most:?} was reached");
        full.set(full.get() + u32::from(most == Some(ceiling(reach))));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (full, tried) = (full.get(), runner.config().cases);
    assert!(full * 20 > tried, "only {full} of {tried} cases reach the ceiling at all");
}

#[test]
fn outsiders_reach_no_more_than_observe() {
    check(Reach::Outsider, 1_500);
}

#[test]
fn lures_reach_no_more_than_challenge() {
    check(Reach::Lure, 1_500);
}

/// The same company, rules and policies let the greatest ceiling be reached: the two tests above
/// could fail.
#[test]
fn access_reaches_more() {
    check(Reach::Access, 200);
}
