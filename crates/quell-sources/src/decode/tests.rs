//! Sources room: tests of decoding: own principals, domains, caps, keys, revisions, and the laws
//! that hold for any bytes.

use super::*;
use std::sync::LazyLock;

use crate::embedded::EMBEDDED;
use crate::limits::SIGNALS_MAX;
use proptest::prelude::*;
use quell_core::id::SignalId;
use quell_core::identity::Scheme;
use quell_core::signal::{Anomaly, Kind, Use};
use serde_json::{Value, json};

fn pack(name: &str) -> Pack {
    let (_, text) = EMBEDDED.iter().find(|(pack, _)| *pack == name).unwrap();
    Pack::load(name, text).unwrap()
}

fn ctx() -> DecodeContext<'static> {
    DecodeContext {
        tenant: "default",
        source: "source",
        provenance: Provenance::Hmac,
        now: Time::parse("2026-03-02T10:00:00Z").unwrap().t,
        provider: None,
        own_principals: &[],
        allowed_domains: &[],
    }
}

fn event(event_type: &str) -> Value {
    json!({
        "uuid": "u1", "eventType": event_type, "published": "2026-03-02T09:00:00.000Z",
        "actor": {"id": "00u1", "type": "User", "alternateId": "Ada@Example.com"},
        "outcome": {"result": "SUCCESS"},
    })
}

fn click() -> Value {
    json!({
        "id": "c1", "GUID": "g1", "classification": "phish", "clickIP": "192.0.2.10",
        "clickTime": "2026-03-02T09:00:00.000Z", "threatTime": "2026-03-02T08:00:00.000Z",
        "recipient": "ada@example.com", "threatID": "t1", "threatStatus": "active",
        "url": "https://evil.example.org/", "type": "click", "status": "permitted",
    })
}

/// The result of one record in few words.
fn result(pack: &Pack, ctx: &DecodeContext<'_>, record: &Value) -> String {
    let decoded = pack.decode(ctx, record.to_string().as_bytes());
    let shown = decoded.records.iter().map(|record| match &record.reject {
        Some(reject) => reject.reason.to_string(),
        None => record.signals.iter().map(|s| s.kind.name()).collect::<Vec<_>>().join("+"),
    });
    shown.chain(decoded.fault.iter().map(|f| f.reason.to_string())).collect::<Vec<_>>().join(" ")
}

fn only(pack: &Pack, ctx: &DecodeContext<'_>, record: &Value) -> Signal {
    let mut decoded = pack.decode(ctx, record.to_string().as_bytes());
    let record = decoded.records.pop().unwrap();
    assert_eq!(record.signals.len(), 1, "{:?}", record.reject);
    record.signals.into_iter().next().unwrap()
}

#[test]
fn what_quell_did_itself_is_marked() {
    let okta = pack("okta");
    let own = ["00u1".to_owned(), "00T9".to_owned()];
    let ctx = DecodeContext { own_principals: &own, ..ctx() };
    let marked = |record: &Value| only(&okta, &ctx, record).attributes.contains_key("self");
    let mut record = event("user.session.clear");
    assert!(marked(&record));
    record["actor"]["id"] = json!("00u2");
    assert!(!marked(&record));
    record["transaction"] = json!({"detail": {"requestApiTokenId": "00T9"}});
    assert!(marked(&record));
    record["self"] = json!("true");
    record["transaction"] = json!({});
    assert!(!marked(&record));
}

#[test]
fn a_source_speaks_only_for_its_domains() {
    let tap = pack("proofpoint_tap");
    let domains = ["example.com".to_owned()];
    let ctx = DecodeContext { allowed_domains: &domains, ..ctx() };
    let mut record = click();
    assert_eq!(result(&tap, &ctx, &record), "url_click");
    record["recipient"] = json!("ada@example.com.evil.example.org");
    assert_eq!(result(&tap, &ctx, &record), "not_its_to_say");
    record["recipient"] = json!(["x@example.org", "ben@EXAMPLE.com"]);
    let signal = only(&tap, &ctx, &record);
    assert_eq!(signal.about[0].value, "ben@example.com");
    // the ordinal is that of the record, so that the id does not hang on the domains
    let kind = signal.kind.name();
    let second = SignalId::of("default", "source", &signal.record_key, kind, 1);
    assert_eq!(signal.id, second);
    record["recipient"] = json!("<Ada@Example.com>");
    assert_eq!(only(&tap, &ctx, &record).about[0].value, "ada@example.com");
}

#[test]
fn identifiers_belong_to_the_configured_provider() {
    let okta = pack("okta");
    let shown = |ctx: &DecodeContext<'_>| {
        let signal = only(&okta, ctx, &event("user.session.start"));
        signal.about.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(&ctx()), "account_id:okta:00u1 login:okta:ada@example.com");
    let emea = DecodeContext { provider: Some("okta_emea"), ..ctx() };
    assert_eq!(shown(&emea), "account_id:okta_emea:00u1 login:okta_emea:ada@example.com");
    let mut record = event("user.session.start");
    record["actor"] = json!({"id": "unknown", "type": "User", "alternateId": "UNKNOWN"});
    assert!(only(&okta, &ctx(), &record).about.is_empty());
}

#[test]
fn times_are_kept_apart() {
    let (okta, tap) = (pack("okta"), pack("proofpoint_tap"));
    let check = |published: Value, want: &str| {
        let mut record = event("user.session.start");
        record["published"] = published;
        assert_eq!(result(&okta, &ctx(), &record), want);
    };
    check(json!("2026-03-02T10:05:00.000Z"), "sign_in");
    check(json!("2026-03-02T10:05:00.001Z"), "future_time");
    check(json!("2026-03-02T12:04:00+02:00"), "sign_in");
    check(json!("2026-02-30T00:00:00Z"), "bad_time");
    check(json!(1_772_442_000), "bad_time");
    check(json!({}), "bad_time");
    check(Value::Null, "missing_member");
    let mut record = click();
    record["threatTime"] = json!("2026-03-02T10:06:00Z");
    assert_eq!(result(&tap, &ctx(), &record), "future_time");
    record["threatTime"] = json!("2026-03-02T10:00:00.000Z");
    let signal = only(&tap, &ctx(), &record);
    assert!(!signal.anomalies.contains(&Anomaly::LateVerdict));
    assert_eq!(signal.times.written, signal.times.judged.unwrap());
    record["threatTime"] = json!("2026-03-02T10:00:00.001Z");
    let signal = only(&tap, &ctx(), &record);
    assert_eq!(signal.anomalies, [Anomaly::LateVerdict]);
}

#[test]
fn a_revision_keeps_its_id_and_a_withdrawal_names_the_threat() {
    let tap = pack("proofpoint_tap");
    let first = only(&tap, &ctx(), &click());
    let mut again = click();
    again["threatTime"] = json!("2026-03-02T09:30:00.000Z");
    again["campaignId"] = json!("new");
    let again = only(&tap, &ctx(), &again);
    assert_eq!(first.id, again.id);
    assert_ne!(first.record, again.record);
    assert!(again.times.written > first.times.written);
    let mut cleared = click();
    cleared["threatStatus"] = json!("CLEARED");
    let cleared = only(&tap, &ctx(), &cleared);
    assert_eq!(cleared.kind, Kind::VerdictChanged);
    let threat = cleared.withdraws.unwrap();
    assert_eq!(cleared.entity(threat), first.entity(threat));
    assert!(first.entity(threat).is_some());
}

#[test]
fn one_record_gives_no_more_than_its_share() {
    let tap = pack("proofpoint_tap");
    let mut record = click();
    let people = |count: usize| (0..count).map(|i| format!("p{i}@example.com")).collect::<Vec<_>>();
    record["recipient"] = json!(people(SIGNALS_MAX));
    let decoded = tap.decode(&ctx(), record.to_string().as_bytes());
    assert_eq!(decoded.records[0].signals.len(), SIGNALS_MAX);
    record["recipient"] = json!(people(SIGNALS_MAX + 1));
    assert_eq!(result(&tap, &ctx(), &record), "too_large");
    record["recipient"] = json!("ada@example.com");
    record["padding"] = json!("x".repeat(RECORD_BYTES_MAX));
    assert_eq!(result(&tap, &ctx(), &record), "too_large");
}

#[test]
fn deep_records_do_not_harm_their_neighbours() {
    let okta = pack("okta");
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(90), "]".repeat(90));
    let body = format!("[{deep},{}]", event("user.session.start"));
    let decoded = okta.decode(&ctx(), body.as_bytes());
    let reason = |r: &DecodedRecord| r.reject.as_ref().map(|x| x.reason);
    let reasons: Vec<_> = decoded.records.iter().map(reason).collect();
    assert_eq!(reasons, [Some(RejectReason::TooLarge), None]);
    let decoded = okta.decode(&ctx(), deep.as_bytes());
    assert_eq!(decoded.fault.unwrap().reason, RejectReason::TooLarge);
}

#[test]
fn keys_are_bounded_and_never_rounded() {
    let (okta, tap) = (pack("okta"), pack("proofpoint_tap"));
    let mut record = event("user.session.start");
    record["uuid"] = json!(9_223_372_036_854_775_807_i64);
    assert_eq!(only(&okta, &ctx(), &record).record_key, "9223372036854775807");
    let text = record.to_string().replace("9223372036854775807", "92233720368547758070");
    let decoded = okta.decode(&ctx(), text.as_bytes());
    assert_eq!(decoded.records[0].signals[0].record_key, Digest::of(text.as_bytes()).to_string());
    record["uuid"] = json!("u".repeat(300));
    let key = only(&okta, &ctx(), &record).record_key;
    assert_eq!(key, Digest::of("u".repeat(300).as_bytes()).to_string());
    let mut record = click();
    record.as_object_mut().unwrap().remove("id");
    let key = only(&tap, &ctx(), &record).record_key;
    let parts = ["g1", "t1", "2026-03-02T09:00:00.000Z", "https://evil.example.org/"];
    let parts = [parts.as_slice(), &["ada@example.com"]].concat();
    assert_eq!(key, json!(parts).to_string());
}

#[test]
fn a_stranger_cannot_speak_through_the_detail() {
    let okta = pack("okta");
    let record = event(&format!("a\u{202e}b\u{1b}[31m{}", "x".repeat(500)));
    let decoded = okta.decode(&ctx(), record.to_string().as_bytes());
    let reject = decoded.records[0].reject.clone().unwrap();
    assert!(reject.detail.starts_with("event type `ab[31mxx"), "{}", reject.detail);
    assert_eq!(reject.detail.chars().count(), DETAIL_CHARS_MAX);
    let mut record = event("user.session.start");
    record["_"] = json!({"list": "clicksPermitted", "risk_level": "HIGH"});
    record["_.risk_level"] = json!("HIGH");
    assert_eq!(result(&okta, &ctx(), &record), "sign_in");
}

#[test]
fn addresses_come_only_from_the_envelope() {
    let tap = pack("proofpoint_tap");
    let record = json!({
        "type": "message", "status": "delivered", "GUID": "g", "sender": "x@example.org",
        "messageTime": "2026-03-02T09:00:00Z", "toAddresses": ["boss@example.com"],
        "headerTo": "boss@example.com", "phishScore": 99,
        "threatsInfoMap": [{"classification": "PHISH", "threatStatus": "active",
            "threatID": "t", "threatTime": "2026-03-02T09:00:00Z", "threatType": "url",
            "threat": "evil.example.org/a"}],
    });
    let signal = only(&tap, &ctx(), &record);
    assert_eq!((signal.kind, signal.about.len()), (Kind::PhishDelivered, 0));
    assert_eq!(signal.anomalies, [Anomaly::MissingMember]);
    assert!(signal.about.iter().all(|id| id.scheme == Scheme::Address));
}

/// The shipped packs, loaded once, with records of their samples.
static SAMPLES: LazyLock<Vec<(Pack, Vec<Value>)>> = LazyLock::new(|| {
    let records = |name: &str, texts: &[&str]| {
        let mut records = Vec::new();
        for text in texts {
            for line in text.lines() {
                records.extend(serde_json::from_str::<Value>(line).ok());
            }
        }
        (pack(name), records)
    };
    vec![
        records("okta", &[include_str!("../../../../packs/okta/samples/sign-in.ndjson")]),
        records(
            "proofpoint_tap",
            &[include_str!("../../../../packs/proofpoint_tap/samples/forwarded.ndjson")],
        ),
    ]
});

/// Replaces or removes the value at the `at`-th place of a tree.
fn mutate(value: &mut Value, at: &mut usize, with: &Value) {
    if *at == 0 {
        *value = with.clone();
        *at = usize::MAX;
        return;
    }
    *at = at.saturating_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| mutate(item, at, with)),
        Value::Object(map) => map.values_mut().for_each(|item| mutate(item, at, with)),
        _ => {}
    }
}

fn odd_values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[null, {"a": []}], 1e300, -0.0])),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        Just(json!("\u{0}\u{202e}[::1]:99999")),
        Just(json!("9999-12-31T23:59:59.999999999+23:59")),
        Just(json!("0000-01-01T00:00:00Z")),
    ]
}

proptest! {
    #[test]
    fn no_mutated_record_makes_it_panic(
        which in any::<prop::sample::Index>(),
        places in proptest::collection::vec((0_usize..80, odd_values()), 1..4),
    ) {
        for (pack, records) in &*SAMPLES {
            let mut record = records[which.index(records.len())].clone();
            for (place, with) in &places {
                mutate(&mut record, &mut place.clone(), with);
            }
            let body = record.to_string();
            let decoded = pack.decode(&ctx(), body.as_bytes());
            prop_assert_eq!(&decoded, &pack.decode(&ctx(), body.as_bytes()));
            for record in &decoded.records {
                prop_assert!(record.signals.is_empty() == record.reject.is_some());
                for signal in &record.signals {
                    prop_assert!(signal.entities.is_sorted() && signal.anomalies.is_sorted());
                    let fact = signal.usage == Use::Fact;
                    prop_assert!(!fact || signal.confidence.is_none());
                    prop_assert!(signal.record_key.len() <= 256);
                    prop_assert!(signal.about.iter().all(|id| id.value.len() <= 512));
                    prop_assert!(signal.entities.iter().all(|e| e.value.len() <= 2048));
                    prop_assert!(signal.attributes.len() <= 32);
                }
            }
        }
    }

    #[test]
    fn no_flipped_byte_makes_it_panic(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        for (pack, records) in &*SAMPLES {
            let mut body = records[which.index(records.len())].to_string().into_bytes();
            let at = at.index(body.len());
            body[at] = byte;
            let _decoded = pack.decode(&ctx(), &body);
        }
    }

    #[test]
    fn the_order_of_records_changes_no_signal(
        order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
        as_lines in any::<bool>(),
    ) {
        for (pack, records) in &*SAMPLES {
            let texts: Vec<String> = records.iter().take(8).map(ToString::to_string).collect();
            let body = |order: &[usize]| {
                let texts: Vec<&str> = order.iter().map(|i| texts[*i].as_str()).collect();
                if as_lines { texts.join("\n") } else { format!("[{}]", texts.join(",")) }
            };
            let results = |body: String| {
                let decoded = pack.decode(&ctx(), body.as_bytes());
                let mut results: Vec<_> = decoded
                    .records
                    .into_iter()
                    .map(|r| (r.digest, r.signals, r.reject.map(|x| x.reason)))
                    .collect();
                results.sort_by_key(|(digest, ..)| *digest);
                results
            };
            let sorted: Vec<usize> = (0..8).collect();
            prop_assert_eq!(results(body(&order)), results(body(&sorted)));
        }
    }
}
