//! Tests of the matrix: what cells say, and that the authority is never wider than its cell.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::authority::{Question, Resource, Verdict};
use crate::policy::{Mode, PolicyFiles};
use crate::signal::{Anomaly, Entity, EntityKind, Provenance};

/// Two sources as the shipped packs are, and one that no policy speaks of.
fn stated() -> Vec<Stated> {
    let source = |name: &str, kinds: &[(Kind, &[Use])]| Stated {
        source: name.to_owned(),
        kinds: kinds.iter().map(|(kind, uses)| (*kind, uses.iter().copied().collect())).collect(),
    };
    vec![
        source(
            "okta",
            &[
                (Kind::SignIn, &[Use::Fact]),
                (Kind::SignInFailed, &[Use::Fact]),
                (Kind::CredentialLeaked, &[Use::Alone, Use::Join]),
                (Kind::Detection, &[Use::Join]),
            ],
        ),
        source("other", &[(Kind::SessionAnomaly, &[Use::Alone])]),
        source(
            "proofpoint_tap",
            &[
                (Kind::UrlClick, &[Use::Alone, Use::Join]),
                (Kind::UrlClickBlocked, &[Use::Stop]),
                (Kind::VerdictChanged, &[Use::Undo]),
                (Kind::CredentialSubmitted, &[Use::Join]),
            ],
        ),
    ]
}

fn policy(change: impl FnOnce(&mut PolicyFiles)) -> Policy {
    let mut files = PolicyFiles::shipped();
    change(&mut files);
    Policy::load(&files).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// The shipped files with other policies, of which the forbids stay.
fn with_text(text: &str) -> Policy {
    policy(|files| {
        files.0.insert("default.cedar".to_owned(), text.to_owned());
    })
}

fn show(cell: &Cell) -> String {
    let mut text = format!(
        "{} {} {} {}: {} {} [{}]\n",
        cell.source,
        cell.kind,
        cell.class,
        cell.action,
        cell.decision.name(),
        cell.approvals,
        cell.policies.join(" "),
    );
    for reason in &cell.reasons {
        text.push_str(&format!("  {reason}\n"));
    }
    text
}

/// Checks the cells whose place, `source kind class action`, begins with one of these.
fn check(policy: &Policy, places: &[&str], want: &Expect) {
    let cells = matrix(policy, &stated());
    let place =
        |cell: &Cell| format!("{} {} {} {}", cell.source, cell.kind, cell.class, cell.action);
    let mut text = String::new();
    for cell in &cells {
        if places.iter().any(|wanted| place(cell).starts_with(wanted)) {
            text.push_str(&show(cell));
        }
    }
    want.assert_eq(&text);
}

#[test]
fn a_cell_says_what_it_rests_on() {
    check(
        &policy(|_| {}),
        &[
            "proofpoint_tap url_click human end_sessions",
            "proofpoint_tap url_click high_value suspend",
            "okta sign_in human suspend",
            "okta sign_in external_member suspend",
            "okta sign_in unknown end_sessions",
            "okta sign_in human reset_password",
            "okta sign_in break_glass watch",
            "okta sign_in_failed human force_reauth",
            "other session_anomaly human watch",
            "other session_anomaly human end_sessions",
            "proofpoint_tap url_click_blocked human end_sessions",
            "proofpoint_tap verdict_changed human watch",
        ],
        &expect![[r#"
            okta sign_in human reset_password: never 0 []
              no tier asks for it on `human` (tiers.toml)
              no policy permits it
            okta sign_in human suspend: approval 1 [evict-person-access]
              evict-person-access: block the account for a day when one person agrees
              if finding_confidence >= 70
              if it has no anomaly attribution_weak
              only inside a correlation: stated as `fact`
              lasts at most 24 h
            okta sign_in external_member suspend: approval 1 [evict-person-access]
              evict-person-access: block the account for a day when one person agrees
              if finding_confidence >= 70
              if it has no anomaly attribution_weak
              only inside a correlation: stated as `fact`
              lasts at most 24 h
            okta sign_in break_glass watch: never 0 [never-break-glass]
              the program's own guard: a break-glass account is never acted on
              never-break-glass: the account of last resort is never acted on; it pages instead
            okta sign_in unknown end_sessions: never 0 [never-unknown]
              no tier asks for it on `unknown` (tiers.toml)
              never-unknown: nothing beyond watching while nobody knows what kind of identity it is
              no policy permits it
            okta sign_in_failed human force_reauth: never 0 []
              no policy permits it
            other session_anomaly human watch: autonomous 0 [observe]
              observe: watching hurts nobody: any source may put a subject on a watchlist
              lasts at most 72 h
            other session_anomaly human end_sessions: never 0 []
              no policy permits it
            proofpoint_tap url_click human end_sessions: autonomous 0 [contain-click]
              contain-click: a well-attributed click that another source confirms: end what the attacker may hold
              if sources >= 2
              if finding_confidence >= 70
              if not late
              if not cold
              if directory_age_s < 604800
              if precision >= 50 or no precision is measured
              if it has no anomaly attribution_weak
              if it has no anomaly known_scanner
              only beside a signal that bears `contain` by itself, such as `okta` `sign_in` (the program's own guard)
            proofpoint_tap url_click high_value suspend: approval 2 [evict-high-value-click]
              evict-high-value-click: block the account for a day when two persons agree
              if sources >= 2
              if finding_confidence >= 70
              if it has no anomaly attribution_weak
              if it has no anomaly known_scanner
              only beside a signal that bears `evict` by itself, such as `okta` `sign_in` (the program's own guard)
              lasts at most 24 h
            proofpoint_tap url_click_blocked human end_sessions: never 0 [never-stopped]
              never-stopped: the vendor already stopped it
              no policy permits it
            proofpoint_tap verdict_changed human watch: never 0 []
              its pack states it only to withdraw an earlier signal
        "#]],
    );
}

#[test]
fn every_source_kind_class_and_action_has_one_cell() {
    let cells = matrix(&policy(|_| {}), &stated());
    let kinds: usize = stated().iter().map(|stated| stated.kinds.len()).sum();
    assert_eq!(cells.len(), kinds * 10 * Action::ALL.len());
    let places: BTreeSet<_> =
        cells.iter().map(|c| (c.source.clone(), c.kind, c.class, c.action)).collect();
    assert_eq!(places.len(), cells.len());
}

const WALL: &str = r#"
@id("lock-out")
@reason("somebody wrote it in a hurry")
permit (principal == Source::"proofpoint_tap", action == Action::"suspend", resource)
when {
  resource in [Class::"human", Class::"high_value"] &&
  ["credential_submitted", "url_click"].contains(context.kind)
};
"#;

fn wall(text: &str, want: &Expect) {
    let lines: Vec<String> = walls(&with_text(text), &stated())
        .iter()
        .map(|error| format!("{error}\n    remedy: {}\n", error.remedy))
        .collect();
    want.assert_eq(&lines.concat());
}

#[test]
fn no_source_alone_locks_an_executive_out() {
    wall(
        WALL,
        &expect![[r#"
            default.cedar:2: `lock-out` lets `proofpoint_tap` alone do `suspend` to `high_value` identities on `url_click`, `credential_submitted`, and nobody has to approve
                remedy: ask in it for a person, `context.approvals >= 1`, or for a second source, `context.sources >= 2`, or take these classes out
        "#]],
    );
}

#[test]
fn the_wall_lets_pass_what_a_person_or_a_second_source_stands_behind() {
    let with = |condition: &str| WALL.replace("\n};", &format!(" &&\n  {condition}\n}};"));
    for condition in ["context.approvals >= 1", "context.sources >= 2", "1 < context.sources"] {
        wall(&with(condition), &expect![[""]]);
    }
    wall(&WALL.replace(", Class::\"high_value\"", ""), &expect![[""]]);
    let forbid = |condition: &str| {
        format!(
            "{WALL}\n@id(\"guard\")\n@reason(\"a guard\")\nforbid (principal, action, resource)\n\
             when {{ {condition} }};\n"
        )
    };
    wall(&forbid("resource in Class::\"high_value\" && context.approvals < 1"), &expect![[""]]);
    assert_eq!(walls(&with_text(&forbid("context.reach == \"lure\"")), &stated()).len(), 1);
    assert!(walls(&policy(|_| {}), &stated()).is_empty());
}

/// Conditions of every form that the matrix follows, and some that it does not.
const CONDITIONS: [&str; 32] = [
    "context.sources >= 2",
    "3 > context.sources",
    "context.finding_confidence >= 70",
    "context.finding_confidence != 70",
    "!(context.confidence < 60)",
    "context.confidence <= 10",
    "[40, 80].contains(context.finding_confidence)",
    "context.approvals >= 1",
    "context.approvals == 2",
    "context.approvals < 2",
    "context.anomalies.contains(\"known_scanner\")",
    "!context.anomalies.containsAny([\"attribution_weak\", \"clock\"])",
    "[\"clock\", \"dialect\"].containsAll(context.anomalies)",
    "context.anomalies.containsAll([\"clock\", \"dialect\"])",
    "context.anomalies.isEmpty()",
    "context.anomalies == [\"late_verdict\"]",
    "context.late",
    "context.cold == false",
    "context.watched != context.cold",
    "context.directory_age_s < 604800",
    "context.signal_age_s > 3600",
    "context.tier == \"contain\"",
    "[\"contain\", \"evict\"].contains(context.tier)",
    "context.usage != \"stop\"",
    "context.reach == \"access\"",
    "context.case_state like \"re*\"",
    "context.mode == \"armed\"",
    "(context has precision && context.precision >= 50)",
    "(if context.late then context.cold else context.sources >= 2)",
    "context.confidence + context.finding_confidence >= 120",
    "resource is Entity",
    "context.rule == \"one\"",
];

fn rule_of(permit: bool, n: usize, parts: &[(usize, bool)], any: bool) -> String {
    let part = |(at, not): &(usize, bool)| {
        let text = CONDITIONS[at % CONDITIONS.len()];
        if *not { format!("!({text})") } else { format!("({text})") }
    };
    let parts: Vec<String> = parts.iter().map(part).collect();
    let with = if any { " || " } else { " && " };
    let own = if parts.is_empty() { "true".to_owned() } else { parts.join(with) };
    let effect = if permit { "permit" } else { "forbid" };
    format!(
        "@id(\"p{n}\")\n@reason(\"generated\")\n{effect} (principal, action, resource)\nwhen {{\n  \
         [Source::\"okta\", Source::\"proofpoint_tap\"].contains(principal) &&\n  \
         resource in [Class::\"human\", Class::\"privileged\", Class::\"unknown\"] &&\n  \
         [\"url_click\", \"credential_leaked\", \"sign_in\", \"url_click_blocked\", \
         \"credential_submitted\", \"detection\"].contains(context.kind) &&\n  ({own})\n}};\n\n"
    )
}

/// Generated policies; what does not load is nobody's policy.
fn policies() -> impl Strategy<Value = String> {
    let parts = || prop::collection::vec((0..CONDITIONS.len(), any::<bool>()), 0..3);
    let one = (prop::bool::weighted(0.6), parts(), any::<bool>());
    prop::collection::vec(one, 1..5).prop_map(|all| {
        let text = all.iter().enumerate();
        text.map(|(n, (permit, parts, any))| rule_of(*permit || n == 0, n, parts, *any)).collect()
    })
}

#[derive(Clone, Debug)]
struct Facts {
    signals: Vec<(usize, usize, u8)>,
    classes: Vec<usize>,
    tier: usize,
    finding: u8,
    sources: u32,
    ages: (i64, i64),
    anomalies: Vec<usize>,
    flags: [bool; 4],
    case_state: usize,
    armed: bool,
    precision: Option<u8>,
    rule: bool,
    entity: Option<usize>,
}

fn facts() -> impl Strategy<Value = Facts> {
    let one = (0..9_usize, 0..2_usize, 1..=100_u8);
    let signals = prop_oneof![
        3 => prop::collection::vec(one.clone(), 1..2),
        1 => prop::collection::vec(one, 2..4),
    ];
    let classes = prop_oneof![
        4 => Just(vec![0]),
        1 => Just(vec![]),
        2 => Just(vec![0, 1]),
        1 => prop::collection::vec(0..9_usize, 0..3),
    ];
    let tier = prop_oneof![1 => 0..4_usize, 4 => 2..4_usize];
    let ages = (
        prop_oneof![Just(0_i64), Just(3_600), Just(3_601), 0..2_000_000_i64],
        prop_oneof![Just(0_i64), Just(604_799), Just(604_800), 0..2_000_000_i64],
    );
    let confidence = prop_oneof![0..=100_u8, Just(70), Just(69), Just(40), Just(80)];
    let first = (signals, classes, tier, confidence);
    let second = (1..5_u32, ages, prop::collection::vec(0..7_usize, 0..3), any::<[bool; 4]>());
    let third = (0..6_usize, any::<bool>(), prop::option::of(0..=100_u8), any::<bool>());
    let entity = prop::option::weighted(0.3, 0..4_usize);
    (first, second, third, entity).prop_map(|(first, second, third, entity)| Facts {
        signals: first.0,
        classes: first.1,
        tier: first.2,
        finding: first.3,
        sources: second.0,
        ages: second.1,
        anomalies: second.2,
        flags: second.3,
        case_state: third.0,
        armed: third.1,
        precision: third.2,
        rule: third.3,
        entity,
    })
}

/// The questions that the engine asks for the signals of these facts.
fn questions(facts: &Facts, action: Action) -> Vec<Question> {
    let stated = stated();
    let all: Vec<(&str, Kind, &BTreeSet<Use>)> = stated
        .iter()
        .flat_map(|s| s.kinds.iter().map(|(kind, uses)| (s.source.as_str(), *kind, uses)))
        .collect();
    let watched = [EntityKind::Sender, EntityKind::Domain, EntityKind::Url, EntityKind::OauthApp];
    let entity = facts
        .entity
        .filter(|_| action == Action::Watch)
        .map(|at| Entity { kind: watched[at], value: "phish.example.net".to_owned() });
    let states = ["none", "open", "contained", "recovering", "recovered", "closed"];
    let question = |(at, usage, confidence): &(usize, usize, u8)| {
        let (source, kind, uses) = all[at % all.len()];
        let usage = *uses.iter().nth(usage % uses.len()).unwrap();
        let weak = facts.anomalies.contains(&6);
        let anomalies = facts.anomalies.iter().filter_map(|at| Anomaly::ALL.get(*at).copied());
        (usage != Use::Undo).then(|| Question {
            source: source.to_owned(),
            action,
            resource: match &entity {
                Some(entity) => Resource::Entity(entity.clone()),
                None => Resource::Identity("idn_one".to_owned()),
            },
            class: None,
            kind,
            usage,
            confidence: (usage != Use::Fact).then_some(*confidence),
            provenance: Provenance::Hmac,
            anomalies: anomalies.collect(),
            attribution_weak: weak,
            rule: if facts.rule { "one".to_owned() } else { "two".to_owned() },
            tier: Tier::ALL[facts.tier],
            finding_confidence: Some(facts.finding),
            sources: facts.sources,
            signal_age_s: facts.ages.0,
            directory_age_s: facts.ages.1,
            watched: facts.flags[0],
            case_state: states[facts.case_state].to_owned(),
            mode: if facts.armed { Mode::Armed } else { Mode::Shadow },
            cold: facts.flags[1],
            late: facts.flags[2],
            precision: facts.precision,
        })
    };
    facts.signals.iter().filter_map(question).collect()
}

/// Nothing that the authority permits to accepted signals is wider than one of their cells. Gives
/// how many steps beyond watching it permits.
fn never_wider(policy: &Policy, cells: &Cells, facts: &Facts) -> Result<u32, TestCaseError> {
    let mut beyond = 0;
    let classes: BTreeSet<Class> = facts
        .classes
        .iter()
        .map(|at| Class::ALL[*at])
        .filter(|class| *class != Class::BreakGlass)
        .collect();
    for action in Action::ALL {
        let questions = questions(facts, *action);
        let asked = policy.tiers.actions(Tier::ALL[facts.tier], &classes).contains(action);
        let reach = reach_cap(questions.iter().map(|q| (q.kind, q.usage == Use::Stop)));
        if questions.is_empty() || !asked || action.group() > reach {
            continue;
        }
        let of_entity = matches!(questions[0].resource, Resource::Entity(_));
        let seen = if of_entity { BTreeSet::new() } else { classes.clone() };
        let verdicts = questions.iter().map(|q| policy.authority.ask_classes(q, &seen));
        let approvals = verdicts.map(|verdict| match verdict {
            Verdict::Permit { approvals, .. } => Some(approvals),
            Verdict::Deny { .. } | Verdict::Error { .. } => None,
        });
        let Some(approvals) = approvals.collect::<Option<Vec<_>>>() else { continue };
        let approvals = approvals.into_iter().max().unwrap();
        beyond += u32::from(*action != Action::Watch);
        // What anybody outside can cause triggers nothing beyond watching: others do.
        let outside = |q: &&Question| q.kind.reach() == Reach::Outsider;
        let triggers = questions.iter().filter(|q| !(outside(q) && *action != Action::Watch));
        for question in triggers {
            let mut own: Vec<Option<Class>> = classes.iter().copied().map(Some).collect();
            if own.is_empty() {
                own.push(None);
            }
            for class in own {
                let place = (question.source.clone(), question.kind, class_name(class), *action);
                let cell = &cells[&place];
                prop_assert!(cell.width() <= approvals, "{}{:?}", show(cell), question);
            }
        }
    }
    Ok(beyond)
}

type Cells = BTreeMap<(String, Kind, &'static str, Action), Cell>;

fn placed(policy: &Policy) -> Cells {
    let cells = matrix(policy, &stated()).into_iter();
    cells.map(|cell| ((cell.source.clone(), cell.kind, cell.class, cell.action), cell)).collect()
}

fn runner(cases: u32) -> proptest::test_runner::TestRunner {
    proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })
}

#[test]
fn no_answer_is_wider_than_its_cell() {
    let beyond = std::cell::Cell::new(0);
    let strategy = (policies(), prop::collection::vec(facts(), 150));
    let result = runner(96).run(&strategy, |(text, all)| {
        let mut files = PolicyFiles::shipped();
        files.0.insert("default.cedar".to_owned(), text);
        let Ok(policy) = Policy::load(&files) else {
            return Err(TestCaseError::reject("nobody's policy"));
        };
        let cells = placed(&policy);
        for facts in &all {
            beyond.set(beyond.get() + never_wider(&policy, &cells, facts)?);
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(beyond.get() > 500, "only {} steps beyond watching", beyond.get());
}

#[test]
fn no_answer_of_the_shipped_policies_is_wider_than_its_cell() {
    let policy = policy(|_| {});
    let (cells, beyond) = (placed(&policy), std::cell::Cell::new(0));
    let result = runner(2_000).run(&facts(), |facts| {
        beyond.set(beyond.get() + never_wider(&policy, &cells, &facts)?);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    assert!(beyond.get() > 50, "only {} steps beyond watching", beyond.get());
}
