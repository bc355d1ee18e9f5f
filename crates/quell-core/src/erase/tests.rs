//! Erasure, tests: what names a person and what does not, and what is left of a frame.

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::effect::Intake;
use crate::signal::{EntityKind, Kind, Provenance, Reject, RejectReason, Times, Use};
use crate::time::{Moment, Precision};

fn held(scheme: Scheme, provider: Option<&str>, value: &str) -> Held {
    let identifier = Identifier::new(scheme, provider, value);
    Held { identifier, from: None, until: None }
}

fn trace() -> Trace {
    let names = vec![
        held(Scheme::AccountId, Some("okta"), "00uANA1"),
        held(Scheme::Address, None, "ana@example.com"),
        held(Scheme::Sam, Some("corp"), "CORP\\ana"),
        Held { until: Some(Time(100)), ..held(Scheme::Address, None, "desk@example.com") },
        held(Scheme::AccountId, Some("oidc"), "ana"),
    ];
    Trace::new(IdentityId([1; 16]), names, "E-10077")
}

fn signal(about: &[&str], entities: &[&str], t: i64) -> Signal {
    let address = |value: &&str| Identifier::new(Scheme::Address, None, value);
    Signal {
        id: crate::id::SignalId([7; 16]),
        source: "okta".into(),
        kind: Kind::SignIn,
        usage: Use::Fact,
        confidence: None,
        about: about.iter().map(address).collect(),
        times: Times {
            happened: Moment { t: Time(t), precision: Precision::Milli },
            judged: None,
            written: Time(t),
        },
        entities: entities
            .iter()
            .map(|v| Entity { kind: EntityKind::Sender, value: (*v).to_owned() })
            .collect(),
        attributes: [("to".to_owned(), entities.join(" "))].into(),
        anomalies: Vec::new(),
        provenance: Provenance::Polled,
        record: Digest::of(format!("{about:?}{entities:?}").as_bytes()),
        record_key: "r".into(),
        withdraws: None,
    }
}

#[test]
fn whole_names_in_texts_are_found_and_no_others() {
    let trace = trace();
    let said = [
        "ana@example.com",
        "Ana@Example.COM signed in",
        "<ana@example.com>",
        "\"login\":\"ana@example.com\"",
        "to=ana%40example.com&x",
        "%3Cana@example.com%3E",
        "line\\nana@example.com\\n",
        "ana@example.com.",
        "DELETE /users/00uANA1/sessions",
        r#""sam":"CORP\\ana""#,
        "employee E-10077 left",
        "diana@example.com",
        "ana@example.com-mail.example.org",
        "ana@example.com.example.org",
        "xana@example.com",
        "dr.ana@example.com",
        "ana@example.com@example.org",
        "00uANA12",
        "ana",
        "",
    ]
    .map(|text| {
        format!("{} {text}", if trace.mentions(text) { "names him:" } else { "does not:" })
    });
    expect![[r#"
        names him: ana@example.com
        names him: Ana@Example.COM signed in
        names him: <ana@example.com>
        names him: "login":"ana@example.com"
        names him: to=ana%40example.com&x
        names him: %3Cana@example.com%3E
        names him: line\nana@example.com\n
        names him: ana@example.com.
        names him: DELETE /users/00uANA1/sessions
        names him: "sam":"CORP\\ana"
        names him: employee E-10077 left
        does not: diana@example.com
        does not: ana@example.com-mail.example.org
        does not: ana@example.com.example.org
        does not: xana@example.com
        does not: dr.ana@example.com
        does not: ana@example.com@example.org
        does not: 00uANA12
        does not: ana
        does not: "#]]
    .assert_eq(&said.join("\n"));
    let own = IdentityId([1; 16]).to_string();
    assert!(trace.has_id(&format!("{{\"x\":\"{own}\"}}")));
    let other = IdentityId([2; 16]).to_string();
    assert!(!trace.has_id(&other) && !trace.has_id("_") && !trace.has_id("idn_"));
    assert_eq!(trace.named_in(own.as_bytes()), Some(false));
    assert_eq!(trace.named_in(b"\"ana@example.com\""), Some(true));
    assert_eq!(trace.named_in(b"\"bob@example.com\""), None);
}

#[test]
fn a_name_counts_while_it_was_his() {
    let trace = trace();
    let about = |names: &[&str], t| trace.is_about(&signal(names, &[], t));
    assert!(about(&["ana@example.com"], 0) && about(&["ANA+list@example.com"], 0));
    assert!(about(&["desk@example.com"], 99) && !about(&["desk@example.com"], 100));
    assert!(!about(&["bob@example.com"], 0) && !about(&[], 0));
}

#[test]
fn of_a_frame_goes_what_is_his_and_the_rest_stays() {
    let trace = trace();
    let raw = |text: &str| text.as_bytes().to_vec();
    let mut own = signal(&["ana@example.com"], &[], 1);
    own.record = Digest::of(b"raw of hers, by digest alone");
    let mut named = signal(&["bob@example.com"], &["ana@example.com", "eve@example.org"], 1);
    named.record = Digest::of(b"raw of bob that names her");
    let other = signal(&["bob@example.com"], &["eve@example.org"], 1);
    let reject = |detail: &str| Reject {
        source: "okta".into(),
        reason: RejectReason::UnlistedEvent,
        detail: detail.into(),
        record: Digest::of(detail.as_bytes()),
    };
    let intake = Intake {
        source: "okta".into(),
        matched: [own, named, other.clone()]
            .map(|signal| Matched { signal: signal.into(), rules: vec!["r".into()] })
            .into(),
        rejects: vec![reject("`x` of ana@example.com"), reject("`y` is not listed")],
        raw: vec![
            raw("raw of hers, by digest alone"),
            raw("raw of bob that names her"),
            raw("a raw without a signal: ana@example.com"),
            raw("of bob alone"),
        ],
    };
    let (kind, body) = replay::encode(&Input::Signals(intake.clone()));
    let mut found = Erased::default();
    let Cut::Part(rest) = trace.cut(kind, &body, &mut found).unwrap() else { panic!() };
    assert_eq!((found.signals, found.redacted, found.raw), (1, 1, 3));
    let Input::Signals(left) = replay::decode(kind, &rest).unwrap() else { panic!() };
    assert_eq!(left.raw, [raw("of bob alone")]);
    assert_eq!((left.matched.len(), &left.matched[1].signal), (2, &other.into()));
    let redacted = &left.matched[0].signal;
    assert_eq!((redacted.entities.len(), redacted.attributes.len()), (1, 0));
    assert_eq!(redacted.id, intake.matched[1].signal.id);
    assert_eq!(redacted.record, intake.matched[1].signal.record, "the proof stays");
    let details: Vec<&str> = left.rejects.iter().map(|r| r.detail.as_str()).collect();
    assert_eq!(details, ["erased", "`y` is not listed"]);
    assert_eq!((erased_part(kind, &body), erased_part(kind, &rest)), (0, 2));
    assert_eq!(trace.cut(kind, &rest, &mut found).unwrap(), Cut::Keep);
    // A frame that held nobody else is gone as a whole; one that does not name him is untouched.
    let alone = Intake { matched: intake.matched[..1].to_vec(), ..Intake::default() };
    let (_, body) = replay::encode(&Input::Signals(alone));
    assert_eq!(trace.cut(kind, &body, &mut found).unwrap(), Cut::All);
    let bob = Intake { matched: intake.matched[2..].to_vec(), ..Intake::default() };
    let (_, body) = replay::encode(&Input::Signals(bob));
    assert_eq!(trace.cut(kind, &body, &mut found).unwrap(), Cut::Keep);
}

#[test]
fn numbers_are_ranges() {
    let mut numbers = Numbers::default();
    [0, 1, 2, 7, 9, 10].into_iter().for_each(|n| numbers.add(n));
    assert_eq!((numbers.count, numbers.ranges), (6, vec![(0, 2), (7, 7), (9, 10)]));
    let mut many = Numbers::default();
    (0..50_000).for_each(|n| many.add(n * 2));
    assert_eq!((many.count, many.ranges.len()), (50_000, RANGES_MAX));
}

proptest! {
    /// Any bytes give an answer, and what is cut is cut.
    #[test]
    fn survives_any_frame(
        kind in 0..14_u16,
        body in proptest::collection::vec(any::<u8>(), 0..99),
    ) {
        let trace = trace();
        let mut found = Erased::default();
        let _cut = trace.cut(kind, &body, &mut found);
        let _named = trace.named_in(&body);
        let _part = erased_part(kind, &body);
    }

    #[test]
    fn finds_a_name_between_marks(
        before in "[ \"<>(:/=,;]",
        after in "[ \">):/?&,;]",
        text in "\\PC{0,20}",
    ) {
        let trace = trace();
        let marked = format!("{text}{before}ana@example.com{after}{text}");
        prop_assert!(trace.mentions(&marked));
    }
}
