//! Engine tests: the main path step by step, with a company of two and the shipped policy armed.

use super::*;
use crate::action::Action;
use crate::directory::Import;
use crate::effect::{Intake, Reply};
use crate::id::{IdentityId, SignalId};
use crate::identity::{Account, Class, Identifier, Identity, Scheme};
use crate::order::{Answer, Outcome, Repeat, State, Verb};
use crate::policy::PolicyFiles;
use crate::signal::*;
use crate::time::{DAY, MINUTE, Moment, Precision, SECOND};

const T0: i64 = 1_780_000_000_000_000;

pub(super) fn config() -> Config {
    let mut files = PolicyFiles::shipped();
    let mut armed = files.0["armed.toml"].clone();
    for source in ["okta", "proofpoint_tap"] {
        for action in Action::ALL {
            armed = crate::policy::Armed::arm(&armed, source, *action).unwrap();
        }
    }
    files.0.insert("armed.toml".to_owned(), armed);
    let texts = [
        ("breached", include_str!("../../../../rules/breached_credential_used.yml")),
        ("outsider", include_str!("../../../../rules/outsider_observe.yml")),
        ("click", include_str!("../../../../rules/permitted_phish_click.yml")),
        ("click_then", include_str!("../../../../rules/phish_click_then_new_sign_in.yml")),
    ];
    let (set, errors) = quell_rules::RuleSet::parse(&texts);
    assert!(errors.is_empty(), "{errors:?}");
    let capability = |action| Capability {
        action,
        repeat: Repeat::Safe,
        reads_back: true,
        effective_after: 0,
        read_back_lag: SECOND,
        quiet: 0,
        undoes: action == Action::Suspend,
    };
    let all = [Action::EndSessions, Action::ForceReauth, Action::Suspend].map(capability);
    Config {
        tenant: "default".to_owned(),
        rules: Rules::new(set).unwrap(),
        policy: Policy::load(&files).unwrap(),
        capabilities: [("okta".to_owned(), all.to_vec())].into(),
    }
}

fn person(key: &str, id: &str, class: Class) -> Identity {
    let login = format!("{key}@example.com");
    Identity {
        id: IdentityId::of("default", key),
        key: key.to_owned(),
        name: key.to_owned(),
        classes: [class].into(),
        groups: Default::default(),
        accounts: vec![Account { provider: "okta".into(), id: id.into(), login: Some(login) }],
        names: Vec::new(),
    }
}

pub(super) fn directory() -> Input {
    Input::Directory(Import {
        origin: "test".into(),
        as_of: None,
        identities: vec![
            person("alice", "00u1", Class::Human),
            person("root", "00u2", Class::Privileged),
            person("glass", "00u9", Class::BreakGlass),
        ],
    })
}

pub(super) struct Sig<'a> {
    source: &'a str,
    key: String,
    kind: Kind,
    usage: Use,
    who: &'a str,
    t: i64,
    ip: &'a str,
    device: &'a str,
}

pub(super) fn matched(config: &Config, s: &Sig<'_>) -> Matched {
    let entity = |kind, value: &str| Entity { kind, value: value.to_owned() };
    let mut entities = vec![entity(EntityKind::Ip, s.ip), entity(EntityKind::Device, s.device)];
    if s.kind == Kind::UrlClick {
        entities.push(entity(EntityKind::Url, "https://phish.example.net/x"));
    }
    entities.sort();
    let signal = Signal {
        id: SignalId::of("default", s.source, &s.key, s.kind.name(), 0),
        source: s.source.to_owned(),
        kind: s.kind,
        usage: s.usage,
        confidence: (s.usage != Use::Fact).then_some(85),
        about: vec![Identifier::new(Scheme::Address, None, &format!("{}@example.com", s.who))],
        times: Times {
            happened: Moment { t: Time(s.t), precision: Precision::Milli },
            judged: None,
            written: Time(s.t),
        },
        entities,
        attributes: Default::default(),
        anomalies: Vec::new(),
        provenance: Provenance::Polled,
        record: Digest::of(s.key.as_bytes()),
        record_key: s.key.clone(),
        withdraws: None,
    };
    let rules = config.rules.match_ids(&signal);
    Matched { signal: signal.into(), rules }
}

/// Twelve sign-ins from the usual place, a click and the attacker's sign-in.
pub(super) fn story(config: &Config, who: &str) -> Vec<Matched> {
    let okta = |n: i64, t: i64, ip: &'static str, device: &'static str| {
        let key = format!("{who}-{n}");
        let (source, kind) = ("okta", Kind::SignIn);
        matched(config, &Sig { source, key, kind, usage: Use::Fact, who, t, ip, device })
    };
    let mut all: Vec<Matched> =
        (1..=12).map(|n| okta(n, T0 - n * DAY, "192.0.2.10", "laptop")).collect();
    all.push(matched(
        config,
        &Sig {
            source: "proofpoint_tap",
            key: format!("click-{who}"),
            kind: Kind::UrlClick,
            usage: Use::Join,
            who,
            t: T0,
            ip: "192.0.2.77",
            device: "",
        },
    ));
    all.push(okta(99, T0 + 5 * MINUTE, "203.0.113.5", "attacker"));
    all
}

pub(super) fn intake(source: &str, matched: Vec<Matched>) -> Input {
    Input::Signals(Intake { source: source.to_owned(), matched, ..Intake::default() })
}

fn calls(effects: &[Effect]) -> Vec<crate::order::Call> {
    let calls = effects.iter().filter_map(|e| match e {
        Effect::Call(call) => Some(call.clone()),
        _ => None,
    });
    calls.collect()
}

fn outcome(call: &crate::order::Call, answer: Answer, at: i64) -> Input {
    Input::Outcome(Outcome {
        order: call.order,
        verb: call.verb,
        attempt: call.attempt,
        answer,
        sent_at: Some(Time(at)),
        request: "DELETE /x".into(),
        status: Some(204),
        vendor_request: None,
        response: None,
        detail: String::new(),
    })
}

#[test]
fn a_click_then_a_foreign_sign_in_ends_the_sessions() {
    let config = config();
    let mut engine = Engine::new(config.clone());
    engine.step(Time(T0 - MINUTE), &directory());
    let at = T0 + 6 * MINUTE;
    let effects = engine.step(Time(at), &intake("okta", story(&config, "alice")));
    let titles: Vec<_> =
        engine.findings().map(|f| (f.title.clone(), f.tier, f.confidence, f.cold)).collect();
    let orders: Vec<_> = engine
        .orders()
        .map(|o| format!("{} {} {}: {}", o.action, o.on.key(), o.state, o.reason))
        .collect();
    let probe = calls(&effects).into_iter().find(|c| c.action == Action::EndSessions);
    let probe = probe.unwrap_or_else(|| panic!("{titles:#?} {orders:#?}"));
    assert_eq!(probe.verb, Verb::Probe);
    let alive = Answer::Before { alive: true, already: false, snapshot: None };
    let effects = engine.step(Time(at + 1), &outcome(&probe, alive, at));
    let execute = calls(&effects).remove(0);
    let id = CallId { order: execute.order, verb: execute.verb, attempt: execute.attempt };
    engine.step(Time(at + 2), &Input::Claim(id));
    assert!(engine.may_send(id));
    let accepted = Answer::Accepted { already: false };
    let effects = engine.step(Time(at + 3), &outcome(&execute, accepted, at + 2));
    let look = calls(&effects).remove(0);
    assert_eq!(look.verb, Verb::ReadBack);
    let seen = Answer::Seen { done: true, conclusive: true };
    engine.step(Time(at + 4), &outcome(&look, seen, at + 4));
    assert_eq!(engine.order(execute.order).unwrap().state, State::Verified);
}

#[test]
fn a_crash_around_the_call_neither_repeats_nor_forgets_it() {
    let config = config();
    let mut engine = Engine::new(config.clone());
    engine.step(Time(T0 - MINUTE), &directory());
    let at = std::cell::Cell::new(T0 + 6 * MINUTE);
    let step = |engine: &mut Engine, after: i64, input: &Input| {
        at.set(at.get() + after);
        calls(&engine.step(Time(at.get()), input))
    };
    let begun = step(&mut engine, 0, &intake("okta", story(&config, "alice")));
    let probe = begun.into_iter().find(|c| c.action == Action::EndSessions).unwrap();
    let alive = Answer::Before { alive: true, already: false, snapshot: None };
    let mut execute = step(&mut engine, 1, &outcome(&probe, alive.clone(), at.get())).remove(0);
    let absent = Answer::Seen { done: false, conclusive: true };
    for attempt in 1..=2 {
        let id = CallId { order: execute.order, verb: execute.verb, attempt: execute.attempt };
        assert_eq!((id.verb, id.attempt), (Verb::Execute, attempt));
        step(&mut engine, 1, &Input::Claim(id));
        assert!(engine.may_send(id));
        let mut look = step(&mut engine, 1, &Input::Restarted).remove(0);
        // the outbox of before the crash still offers both calls
        step(&mut engine, 1, &Input::Claim(id));
        assert!(!engine.may_send(id), "an attempt that may have left is never sent again");
        assert_eq!(step(&mut engine, 1, &outcome(&probe, alive.clone(), at.get())), []);
        // within the lag absence proves nothing, of the second call as of the first
        assert_eq!(look.verb, Verb::ReadBack);
        look = step(&mut engine, 1, &outcome(&look, absent.clone(), at.get())).remove(0);
        assert_eq!(look.verb, Verb::ReadBack, "attempt {attempt}");
        at.set(at.get() + 2 * SECOND);
        execute = step(&mut engine, 1, &outcome(&look, absent.clone(), at.get())).remove(0);
    }
    assert_eq!((execute.verb, execute.attempt), (Verb::Execute, 3));
}

#[test]
fn an_administrator_is_contained_at_once_and_suspended_after_approval() {
    let config = config();
    let mut engine = Engine::new(config.clone());
    engine.step(Time(T0 - MINUTE), &directory());
    engine.step(Time(T0 + 6 * MINUTE), &intake("okta", story(&config, "root")));
    let state = |engine: &Engine, action| {
        engine.orders().find(|o| o.action == action).map(|o| (o.id, o.state)).unwrap()
    };
    assert_eq!(state(&engine, Action::EndSessions).1, State::Permitted);
    let (id, waiting) = state(&engine, Action::Suspend);
    assert_eq!(waiting, State::AwaitingApproval);
    let reply = |by: &str| {
        Input::Answer(Reply { order: id, by: by.into(), approve: true, why: String::new() })
    };
    engine.step(Time(T0 + 7 * MINUTE), &reply("root@example.com"));
    assert_eq!(state(&engine, Action::Suspend).1, State::AwaitingApproval, "not on herself");
    let needed = engine.order(id).unwrap().approvals_needed;
    for n in 0..needed {
        engine.step(Time(T0 + 8 * MINUTE), &reply(&format!("officer{n}")));
    }
    assert_eq!(state(&engine, Action::Suspend).1, State::Permitted);
}

#[test]
fn a_break_glass_account_is_left_alone_and_pages() {
    let config = config();
    let mut engine = Engine::new(config.clone());
    engine.step(Time(T0 - MINUTE), &directory());
    let effects = engine.step(Time(T0 + 6 * MINUTE), &intake("okta", story(&config, "glass")));
    assert_eq!(
        engine.orders().filter(|o| matches!(&o.on, crate::order::On::Account(_))).count(),
        0
    );
    assert!(effects.iter().any(|e| matches!(e, Effect::Page(n) if n.kind == "break_glass")));
}

#[test]
fn every_order_of_arrival_gives_the_same_findings_and_plan() {
    let config = config();
    let story = story(&config, "alice");
    let at = Time(T0 + 6 * MINUTE);
    let run = |order: &[usize]| {
        let mut engine = Engine::new(config.clone());
        engine.step(at, &directory());
        for i in order {
            engine.step(at, &intake("x", vec![story[*i].clone()]));
        }
        (engine.findings().cloned().collect::<Vec<_>>(), engine.plan())
    };
    let forward: Vec<usize> = (0..story.len()).collect();
    let backward: Vec<usize> = forward.iter().rev().copied().collect();
    let (a, b) = (run(&forward), run(&backward));
    assert!(!a.0.is_empty());
    assert_eq!(a, b);
}
