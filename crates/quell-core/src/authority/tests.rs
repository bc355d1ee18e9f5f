//! Tests of authority that look inside: slicing, the sealed permit and the properties of the
//! shipped policies. They hold no fixtures.

use std::collections::BTreeSet;

use cedar_policy::{Authorizer, Decision, PolicySet};
use proptest::prelude::*;

use super::*;
use crate::action::Tier;
use crate::policy::{Mode, PolicyFiles};
use crate::signal::{Anomaly, Entity as Thing, EntityKind, Kind, Provenance, Reach, Use};

fn shipped() -> Authority {
    Authority::load(&PolicyFiles::shipped()).expect("the shipped policies load")
}

/// The shipped policies and one more file.
fn with(name: &str, text: &str) -> Result<Authority, Vec<PolicyError>> {
    let mut files = PolicyFiles::shipped();
    files.0.insert(name.to_owned(), text.to_owned());
    Authority::load(&files)
}

fn class() -> impl Strategy<Value = Option<Class>> {
    prop::option::weighted(0.9, prop::sample::select(Class::ALL))
}

fn resource() -> impl Strategy<Value = Resource> {
    let identity = "\\PC{0,12}".prop_map(Resource::Identity);
    let entity = (prop::sample::select(EntityKind::ALL), "\\PC{0,12}")
        .prop_map(|(kind, value)| Resource::Entity(Thing { kind, value }));
    prop_oneof![8 => identity, 1 => entity]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(60), Just(604_800), 0..1_000_000_i64, any::<i64>()]
}

prop_compose! {
    fn question()(
        source in prop::sample::select(&["proofpoint_tap", "okta", "entra_id", ""][..]),
        action in prop::sample::select(Action::ALL),
        (resource, class) in (resource(), class()),
        (kind, usage) in (prop::sample::select(Kind::ALL), prop::sample::select(Use::ALL)),
        confidence in prop::option::of(0..=100_u8),
        provenance in prop::sample::select(Provenance::ALL),
        anomalies in prop::collection::btree_set(prop::sample::select(Anomaly::ALL), 0..2),
        tier in prop::sample::select(Tier::ALL),
        finding_confidence in prop::option::of(50..=100_u8),
        sources in 0..4_u32,
        (signal_age_s, directory_age_s) in (number(), number()),
        flags in any::<[bool; 4]>(),
        mode in prop::sample::select(Mode::ALL),
    ) -> Question {
        let [attribution_weak, watched, cold, late] = flags;
        Question {
            source: source.to_owned(),
            action, resource, class, kind, usage, confidence, provenance, anomalies,
            attribution_weak,
            rule: "rule".to_owned(),
            tier, finding_confidence, sources, signal_age_s, directory_age_s, watched,
            case_state: "open".to_owned(),
            mode, cold, late,
            precision: confidence,
        }
    }
}

/// A question that the shipped policies permit, changed by nothing but what a test changes.
fn strong(action: Action, class: Class) -> Question {
    Question {
        source: "okta".to_owned(),
        action,
        resource: Resource::Identity("idn_test".to_owned()),
        class: Some(class),
        kind: Kind::CredentialLeaked,
        usage: Use::Alone,
        confidence: Some(90),
        provenance: Provenance::Polled,
        anomalies: BTreeSet::new(),
        attribution_weak: false,
        rule: "rule".to_owned(),
        tier: Tier::Evict,
        finding_confidence: Some(85),
        sources: 1,
        signal_age_s: 60,
        directory_age_s: 60,
        watched: false,
        case_state: "open".to_owned(),
        mode: Mode::Armed,
        cold: false,
        late: false,
        precision: None,
    }
}

fn permitted(verdict: &Verdict) -> Option<u8> {
    match verdict {
        Verdict::Permit { approvals, .. } => Some(*approvals),
        Verdict::Deny { .. } | Verdict::Error { .. } => None,
    }
}

/// A set of policies with every form of action scope, some of which err.
const SCOPES: &str = r#"
@id("any") @reason("r")
forbid (principal, action, resource) when { context.watched && context.cold };
@id("one") @reason("r")
permit (principal == Source::"okta", action == Action::"suspend", resource in Class::"human")
when { context.kind == "sign_in" };
@id("group-alone") @reason("r")
forbid (principal, action in Action::"challenge", resource) when { context.late };
@id("mixed") @reason("r") @ttl("1h")
permit (principal, action in [Action::"observe", Action::"step_up"], resource);
@id("errs") @reason("r")
forbid (principal, action in [Action::"evict", Action::"watch"], resource)
when { context.signal_age_s * 3 > context.directory_age_s };
"#;

/// The same set with every policy in every slice.
fn unsliced(set: &Set) -> Set {
    let mut whole = PolicySet::new();
    let mut seen = BTreeSet::new();
    for policy in set.slices.values().flat_map(|slice| slice.policies.policies()) {
        if seen.insert(policy.id().to_string()) {
            whole.add(policy.clone()).expect("ids are unique");
        }
    }
    let mut unsliced = set.clone();
    for slice in unsliced.slices.values_mut() {
        slice.policies = whole.clone();
    }
    unsliced
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn slicing_changes_nothing(question in question()) {
        static SETS: std::sync::OnceLock<(Set, Set)> = std::sync::OnceLock::new();
        let (sliced, whole) = SETS.get_or_init(|| {
            let set = with("scopes.cedar", SCOPES).expect("loads").policies;
            assert!(set.slices[&Action::Watch].policies.num_of_policies() < set.notes.len());
            let whole = unsliced(&set);
            (set, whole)
        });
        prop_assert_eq!(sliced.ask(&question), whole.ask(&question));
    }

    /// DESIGN.md sections 4 and 6, as far as policies can hold them, whatever else is true.
    #[test]
    fn shipped_policies_hold(question in question()) {
        static SHIPPED: std::sync::OnceLock<Authority> = std::sync::OnceLock::new();
        let authority = SHIPPED.get_or_init(shipped);
        let verdict = authority.ask(&question);
        prop_assert!(!matches!(verdict, Verdict::Error { .. }), "{verdict:?}");
        let Some(approvals) = permitted(&verdict) else { return Ok(()) };
        let (group, reach) = (question.action.group(), question.kind.reach());
        if group > Tier::Observe {
            // Beside a sign of access, which alone lifts the finding's tier above observe.
            let beside = question.tier > Tier::Observe
                && matches!(
                    question.kind,
                    Kind::PhishDelivered | Kind::Impersonation | Kind::MfaDenied | Kind::MfaFatigue
                );
            prop_assert!(reach != Reach::Outsider || beside, "an outsider alone");
            prop_assert!(!question.attribution_weak);
            prop_assert!(question.class.is_some(), "unknown is only watched");
            prop_assert!(!question.late || approvals > 0);
            let resource = matches!(question.resource, Resource::Identity(_));
            prop_assert!(resource, "entities are only watched");
        }
        if group > Tier::Challenge {
            prop_assert!(reach != Reach::Lure || question.sources > 1, "a lure alone");
            prop_assert!(question.tier >= Tier::Contain);
            prop_assert!(!question.cold || approvals > 0);
            prop_assert!(question.directory_age_s < 604_800 || approvals > 0);
            let person = matches!(
                question.class,
                Some(Class::Human | Class::Privileged | Class::HighValue | Class::ExternalMember)
            );
            prop_assert!(person || approvals > 0, "programs and shared mailboxes wait for people");
        }
        if group > Tier::Contain {
            prop_assert!(approvals > 0, "locking out waits for people");
            prop_assert!(question.class != Some(Class::HighValue) || approvals > 1);
        }
        let identity = matches!(question.resource, Resource::Identity(_));
        prop_assert!(!identity || question.class != Some(Class::BreakGlass));
    }

    #[test]
    fn reach_caps_the_tier(kinds in prop::collection::vec(
        (prop::sample::select(Kind::ALL), any::<bool>()), 0..6)
    ) {
        let has = |reach| kinds.iter().any(|(kind, weak)| !weak && kind.reach() == reach);
        let want = if has(Reach::Access) {
            Tier::Evict
        } else if has(Reach::Lure) {
            Tier::Challenge
        } else {
            Tier::Observe
        };
        prop_assert_eq!(reach_cap(kinds), want);
    }
}

#[test]
fn an_erring_forbid_stops_what_cedar_alone_would_allow() {
    // Strict validation cannot see an overflow coming.
    let text = "@id(\"errs\") @reason(\"r\")\n\
                forbid (principal, action, resource) \
                when { context.sources * 9223372036854775807 < 0 };";
    let authority = with("errs.cedar", text).expect("it is valid");
    let question = strong(Action::EndSessions, Class::Human);
    assert_eq!(permitted(&authority.ask(&question)), Some(0), "one times it does not overflow yet");

    let question = Question { sources: 2, ..question };
    let slice = &authority.policies.slices[&Action::EndSessions];
    let schema = authority.policies.schema.as_ref().expect("loaded");
    let prepared = slice.prepare(&question, schema).expect("fits");
    let request = prepared.request(&question, 0).expect("fits");
    let cedar = Authorizer::new().is_authorized(&request, &slice.policies, &prepared.entities);
    assert_eq!(cedar.decision(), Decision::Allow, "Cedar skips it");

    let verdict = authority.ask(&question);
    assert!(matches!(&verdict, Verdict::Error { message } if message.contains("errs")));
    let classes = BTreeSet::from([Class::Human]);
    assert!(matches!(authority.rule(&[question], &classes), Ruling::Refused(_)));
}

#[test]
fn an_erring_permit_is_no_permit_though_another_would_do() {
    let text = "@id(\"errs\") @reason(\"r\")\n\
                permit (principal, action in Action::\"observe\", resource) \
                when { context.sources * 9223372036854775807 > 0 };";
    let authority = with("errs.cedar", text).expect("it is valid");
    let once = strong(Action::Watch, Class::Human);
    assert_eq!(permitted(&authority.ask(&once)), Some(0));
    let twice = Question { sources: 2, ..once.clone() };
    assert!(matches!(authority.ask(&twice), Verdict::Error { .. }));
    let human = BTreeSet::from([Class::Human]);
    for questions in [[once.clone(), twice.clone()], [twice, once]] {
        let ruling = authority.rule(&questions, &human);
        assert!(matches!(ruling, Ruling::Refused(Verdict::Error { .. })), "{ruling:?}");
    }
}

#[test]
fn approvals_make_a_permit_of_what_waits_for_them() {
    let authority = shipped();
    let classes = BTreeSet::from([Class::Human, Class::HighValue]);
    let question = strong(Action::Suspend, Class::Human);
    let Ruling::NeedsApproval(pending) = authority.rule(&[question], &classes) else {
        panic!("suspend waits");
    };
    assert_eq!((pending.approvals, pending.ttl), (2, Some(24 * crate::time::HOUR)));
    let by = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let one = Permit::from_approval(&pending, &by(&["ada"]));
    assert_eq!(one.map_err(|e| e.to_string()), Err("1 of 2 approvals".to_owned()));
    let permit = Permit::from_approval(&pending, &by(&["ada", "grace"])).expect("two persons");
    assert_eq!(permit.policies(), ["evict-high-value-access", "evict-person-access"]);
    assert_eq!((permit.approvals(), permit.approved_by().len()), (2, 2));
    assert_eq!((permit.on(), permit.digest()), ("idn_test", authority.digest()));

    let none = Pending { approvals: 0, ..pending };
    assert!(Permit::from_approval(&none, &by(&["ada"])).is_err(), "zero is no approval");
}

#[test]
fn a_ruling_needs_every_class_and_every_signal() {
    let authority = shipped();
    let check = |questions: &[Question], classes: &[Class], want: &str| {
        let classes = classes.iter().copied().collect();
        let got = match authority.rule(questions, &classes) {
            Ruling::Permitted(permit) => format!("permitted by {}", permit.policies().join(" ")),
            Ruling::NeedsApproval(pending) => format!("{} approvals", pending.approvals),
            Ruling::Refused(verdict) => format!("{verdict:?}"),
        };
        assert!(got.starts_with(want), "{got}");
    };
    let end = strong(Action::EndSessions, Class::Human);
    let cold = Question { cold: true, ..end.clone() };
    let weak = Question { attribution_weak: true, ..end.clone() };
    let other = Question { resource: Resource::Identity("other".into()), ..end.clone() };
    let human = &[Class::Human][..];
    check(std::slice::from_ref(&end), human, "permitted by contain-access");
    check(std::slice::from_ref(&end), &[Class::Human, Class::ServiceAccount], "Deny");
    check(std::slice::from_ref(&end), &[Class::Human, Class::BreakGlass], "Deny");
    check(std::slice::from_ref(&end), &[], "Deny");
    check(&[end.clone(), cold.clone()], human, "1 approvals");
    check(&[cold, end.clone(), weak], human, "Deny");
    check(&[end, other], human, "Error");
    check(&[], human, "Deny");
}

#[test]
fn shadow_policies_are_asked_apart() {
    let text = "@id(\"trial\") @reason(\"r\") @ttl(\"30m\")\n\
                permit (principal == Source::\"entra_id\", action == Action::\"end_sessions\", \
                resource in Class::\"service_account\") when { context.kind == \"secret_leaked\" };";
    let authority = with("trial.shadow.cedar", text).expect("loads");
    let question = Question {
        source: "entra_id".to_owned(),
        kind: Kind::SecretLeaked,
        ..strong(Action::EndSessions, Class::ServiceAccount)
    };
    assert_eq!(permitted(&authority.ask(&question)), None);
    assert_eq!(permitted(&authority.ask_shadow(&question)), Some(0));
    assert!(authority.sources().contains("entra_id"));
    assert_ne!(authority.digest(), shipped().digest());
}

#[test]
fn none_permits_nothing() {
    let authority = Authority::none();
    for action in Action::ALL {
        let question = strong(*action, Class::Human);
        let want = Verdict::Deny { policies: Vec::new(), reason: NOBODY.to_owned() };
        assert_eq!(authority.ask(&question), want);
        assert_eq!(authority.ask_shadow(&question), want);
    }
}

#[test]
fn deep_policies_are_refused_before_they_are_parsed() {
    let policy = |condition: &str| {
        format!(
            "@id(\"deep\") @reason(\"r\") forbid (principal, action, resource) \
                 when {{ {condition} }};"
        )
    };
    let chain = |n: usize| vec!["context.cold"; n].join(" && ");
    let nest = |n: usize| format!("{}context.cold{}", "(".repeat(n), ")".repeat(n));
    let ifs =
        |n: usize| format!("{}context.cold{}", "if true then ".repeat(n), " else false".repeat(n));
    let check = |condition: &str, want: &str| {
        let result = with("deep.cedar", &policy(condition));
        let got = result.map_or_else(|e| e[0].to_string(), |_| "loads".to_owned());
        assert_eq!(got, want);
    };
    let operators = "deep.cedar:1: more than 240 operators in one policy";
    let brackets = "deep.cedar:1: more than 24 brackets inside each other";
    check(&chain(120), "loads");
    check(&chain(60_000), operators);
    check(&nest(22), "loads");
    check(&nest(400_000), brackets);
    check(&ifs(200), "loads");
    check(&ifs(20_000), operators);
    check(&format!("context{}", ".cold".repeat(20_000)), operators);
    check(&format!("{}context.cold", "!".repeat(5_000)), operators);
    check(&format!("{}1{} == [1]", "[".repeat(7_000), "]".repeat(7_000)), brackets);
    check(&vec!["context.sources < 9"; 30].join(" && "), "loads");
    check(&format!("context.rule == \"{}\"", "(".repeat(300)), "loads");
    check(&format!("context.cold // {}\n", "(".repeat(300)), "loads");
    check(
        "context.rule == \"\\\\\" && context.rule == \"\\\"((((((((((((((((((((((((((((\"",
        "loads",
    );
}
