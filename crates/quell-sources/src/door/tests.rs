//! Sources room: tests of doors, with vectors that were computed by another implementation.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use quell_core::time::{MINUTE, SECOND};
use sha2::Sha256;

use super::*;

const NOW: Time = Time(1_772_442_000 * SECOND);
const KEY: &str = "0123456789abcdef0123456789abcdef";
const OLD_KEY: &str = "fedcba9876543210fedcba9876543210";

fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text).unwrap())
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn quell_headers(key: &str, at: Time, body: &[u8]) -> (String, String) {
    let timestamp = (at.0 / SECOND).to_string();
    let signed = hmac(key.as_bytes(), &[timestamp.as_bytes(), b".", body]);
    (timestamp, format!("sha256={}", data_encoding::HEXLOWER.encode(&signed)))
}

fn ask(
    door: &Door,
    at: Time,
    headers: &(String, String),
    body: &[u8],
) -> Result<Envelope, Refusal> {
    let (timestamp, signature) = headers;
    let headers: [(&str, &[u8]); 2] =
        [("X-Quell-Timestamp", timestamp.as_bytes()), ("x-quell-signature", signature.as_bytes())];
    door.authenticate(&headers, body, at)
}

#[test]
fn standard_webhooks_signatures_are_checked() {
    // id, timestamp, body and secret of the specification's libraries' own test
    let door =
        Door::standard_webhooks("s", [secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), None]);
    let body = br#"{"test": 2432232314}"#;
    let now = Time(1_614_265_330 * SECOND);
    let check =
        |id: &str, timestamp: &str, signature: &str, now: Time, want: Result<(), Refusal>| {
            let headers: [(&str, &[u8]); 3] = [
                ("Webhook-Id", id.as_bytes()),
                ("webhook-timestamp", timestamp.as_bytes()),
                ("WEBHOOK-SIGNATURE", signature.as_bytes()),
            ];
            let got = door.authenticate(&headers, body, now).map(|envelope| {
                assert_eq!(
                    (envelope.body.as_slice(), envelope.provenance),
                    (&body[..], Provenance::Hmac)
                );
            });
            assert_eq!(got, want, "{id} {timestamp} {signature}");
        };
    let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let other = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=";
    check(id, "1614265330", good, now, Ok(()));
    check(id, "1614265330", &format!("v2,x {other} {good}"), now, Ok(()));
    check(id, "1614265330", other, now, Err(Refusal::Proof));
    check(id, "1614265330", "v1,", now, Err(Refusal::Proof));
    check("msg_2", "1614265330", good, now, Err(Refusal::Proof));
    check(id, "1614265331", good, now, Err(Refusal::Proof));
    check(id, "1614265330", good, now.plus(5 * MINUTE), Ok(()));
    check(id, "1614265330", good, now.plus(5 * MINUTE + 1), Err(Refusal::Stale));
    check(id, "1614265330", good, now.plus(-5 * MINUTE - 1), Err(Refusal::Stale));
    check(id, "soon", good, now, Err(Refusal::Stale));
    check(id, "9223372036854775807", good, now, Err(Refusal::Stale));
    check("", "1614265330", good, now, Err(Refusal::Header("webhook-id")));
    check(id, "1614265330", "", now, Err(Refusal::Header("webhook-signature")));
}

#[test]
fn quell_signatures_are_checked_and_two_secrets_are_valid() {
    let body = br#"{"a":1}"#;
    let door = Door::quell_signature("s", [secret(KEY), secret(OLD_KEY)]);
    for key in [KEY, OLD_KEY] {
        let envelope = ask(&door, NOW, &quell_headers(key, NOW, body), body).unwrap();
        assert_eq!((envelope.body.as_slice(), envelope.repeated), (&body[..], false));
    }
    let wrong = quell_headers("another secret of enough bytes", NOW, body);
    assert_eq!(ask(&door, NOW, &wrong, body), Err(Refusal::Proof));
    assert_eq!(ask(&door, NOW, &quell_headers(KEY, NOW, body), b"{}"), Err(Refusal::Proof));
    let (timestamp, signature) = quell_headers(KEY, NOW, body);
    let bare = (timestamp.clone(), signature.replace("sha256=", ""));
    assert_eq!(ask(&door, NOW, &bare, body), Err(Refusal::Proof));
    let twice: [(&str, &[u8]); 3] = [
        ("x-quell-timestamp", timestamp.as_bytes()),
        ("x-quell-timestamp", timestamp.as_bytes()),
        ("x-quell-signature", signature.as_bytes()),
    ];
    let refusal = door.authenticate(&twice, body, NOW).unwrap_err();
    assert_eq!((refusal.status(), refusal), (401, Refusal::Header("x-quell-timestamp")));
    assert_eq!(door.counts(), DoorCounts { unproven: 4, ..DoorCounts::default() });
}

#[test]
fn a_repetition_is_known_once_the_first_is_committed() {
    let door = Door::quell_signature("s", [secret(KEY), None]);
    let body = b"{}";
    let headers = quell_headers(KEY, NOW, body);
    let first = ask(&door, NOW, &headers, body).unwrap();
    assert!(!ask(&door, NOW, &headers, body).unwrap().repeated, "not committed yet");
    door.remember(&first, NOW);
    assert!(ask(&door, NOW.plus(MINUTE), &headers, body).unwrap().repeated);
    let later = quell_headers(KEY, NOW.plus(MINUTE), body);
    assert!(!ask(&door, NOW.plus(MINUTE), &later, body).unwrap().repeated);
    assert_eq!(door.counts().repeated, 1);
}

#[test]
fn bearer_secrets_are_checked() {
    let check = |header: &str, values: &[&[u8]], want: Result<(), Refusal>| {
        let door = Door::bearer("s", header, [secret(KEY), secret(OLD_KEY)]);
        let headers: Vec<(&str, &[u8])> = values.iter().map(|v| (header, *v)).collect();
        let got = door.authenticate(&headers, b"{}", NOW);
        assert_eq!(got.map(|e| assert_eq!(e.provenance, Provenance::Bearer)), want, "{values:?}");
    };
    check("Authorization", &[b"Bearer 0123456789abcdef0123456789abcdef"], Ok(()));
    check("Authorization", &[b"bearer  fedcba9876543210fedcba9876543210 "], Ok(()));
    check("authorization", &[b"0123456789abcdef0123456789abcdef"], Ok(()));
    check("x-secret", &[b"0123456789abcdef0123456789abcdef"], Ok(()));
    check("x-secret", &[b"Bearer 0123456789abcdef0123456789abcdef"], Err(Refusal::Proof));
    check("Authorization", &[b"Bearer 0123456789abcdef0123456789abcdeF"], Err(Refusal::Proof));
    check("Authorization", &[b"Bearer"], Err(Refusal::Proof));
    check("Authorization", &[b"\xff\xfe"], Err(Refusal::Proof));
    check("Authorization", &[b""], Err(Refusal::Proof));
    check("Authorization", &[], Err(Refusal::Header("authorization")));
    let good = b"Bearer 0123456789abcdef0123456789abcdef".as_slice();
    check("Authorization", &[good, good], Err(Refusal::Header("authorization")));
    let none = Door::bearer("s", "authorization", [None, None]);
    let refused = none.authenticate(&[("authorization", b"")], b"{}", NOW).unwrap_err();
    assert_eq!(refused, Refusal::Proof);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn bodies_are_unpacked_under_their_caps() {
    let door = Door::bearer("s", "authorization", [secret(KEY), None]);
    let ask = |encoding: &[&str], body: &[u8]| {
        let mut headers: Vec<(&str, &[u8])> = vec![("authorization", KEY.as_bytes())];
        headers.extend(encoding.iter().map(|e| ("Content-Encoding", e.as_bytes())));
        match door.authenticate(&headers, body, NOW) {
            Ok(envelope) => format!("{} bytes", envelope.body.len()),
            Err(Refusal::Body(reject)) => {
                assert_eq!(reject.record, Digest::of(body));
                format!("400 {} {}", reject.reason, reject.detail)
            }
            Err(refusal) => format!("{} {refusal}", refusal.status()),
        }
    };
    let packed = gzip(br#"{"a":1}"#);
    assert_eq!(ask(&[], b"{\"a\":1}"), "7 bytes");
    assert_eq!(ask(&["identity"], b"{\"a\":1}"), "7 bytes");
    assert_eq!(ask(&["GZIP"], &packed), "7 bytes");
    assert_eq!(ask(&["gzip"], &[packed.clone(), packed.clone()].concat()), "14 bytes");
    assert_eq!(ask(&["gzip"], &packed[..packed.len() - 5]), "400 unparsable broken gzip");
    assert_eq!(ask(&["gzip"], b"{\"a\":1}"), "400 unparsable broken gzip");
    assert_eq!(ask(&["gzip"], b""), "400 unparsable broken gzip");
    let unknown = "400 unparsable a content encoding other than gzip";
    assert_eq!(ask(&["br"], &packed), unknown);
    assert_eq!(ask(&["gzip, gzip"], &packed), unknown);
    let several = "400 unparsable more than one content encoding";
    assert_eq!(ask(&["gzip", "gzip"], &packed), several);
    let bomb = gzip(&vec![b' '; UNPACKED_BYTES_MAX + 1]);
    assert_eq!(ask(&["gzip"], &bomb), "413 the body is over the limit of 16777216 bytes");
    let large = vec![b' '; BODY_BYTES_MAX + 1];
    assert_eq!(ask(&[], &large), "413 the body is over the limit of 2097152 bytes");
    assert_eq!(ask(&[], &large[1..]), "2097152 bytes");
    assert_eq!((door.counts().unreadable, door.counts().too_large), (6, 2));
}

#[test]
fn a_source_that_sends_too_fast_is_told_when_to_come_again() {
    let door = Door::bearer("s", "authorization", [secret(KEY), None]);
    let headers: [(&str, &[u8]); 1] = [("authorization", KEY.as_bytes())];
    let refused = (0..6_000).find_map(|_| door.authenticate(&headers, b"{}", NOW).err()).unwrap();
    assert_eq!((refused.status(), refused), (429, Refusal::TooFast { retry_after_s: 1 }));
    assert!(door.authenticate(&headers, b"{}", NOW.plus(SECOND)).is_ok());
    // what is not authenticated uses up nothing
    let wrong: [(&str, &[u8]); 1] = [("authorization", b"wrong")];
    let door = Door::bearer("s", "authorization", [secret(KEY), None]);
    (0..6_000).for_each(|_| assert!(door.authenticate(&wrong, b"{}", NOW).is_err()));
    assert!(door.authenticate(&headers, b"{}", NOW).is_ok());
}

#[test]
fn a_bearer_is_judged_before_its_body_and_a_signature_after() {
    let wrong: [(&str, &[u8]); 1] = [("authorization", b"Bearer wrong")];
    let right: [(&str, &[u8]); 1] = [("authorization", KEY.as_bytes())];
    let door = Door::bearer("s", "authorization", [secret(KEY), None]);
    assert_eq!(door.admits(&wrong), Err(Refusal::Proof));
    assert_eq!(door.admits(&[]), Err(Refusal::Header("authorization")));
    assert_eq!((door.admits(&right), door.counts().unproven), (Ok(()), 2));
    let door = Door::quell_signature("s", [secret(KEY), None]);
    assert_eq!((door.admits(&[]), door.counts().unproven), (Ok(()), 0));
}

#[test]
fn okta_is_told_that_the_hook_is_ours() {
    let check = |value: &[u8], want: Option<&str>| {
        let headers: [(&str, &[u8]); 1] = [("X-Okta-Verification-Challenge", value)];
        assert_eq!(verification_answer(&headers).ok().as_deref(), want);
    };
    check(b"my-Challenge_42", Some(r#"{"verification":"my-Challenge_42"}"#));
    check(b"\"},{\"", Some(r#"{"verification":"\"},{\""}"#));
    check(b"", None);
    check(b"two words", None);
    check(b"\xff", None);
    check("x".repeat(513).as_bytes(), None);
    assert!(verification_answer(&[]).is_err());
}

#[test]
fn secrets_show_nowhere_and_weak_ones_are_refused() {
    assert_eq!(format!("{:?}", Secret::new(KEY).unwrap()), "Secret(..)");
    let door = Door::quell_signature("s", [secret(KEY), None]);
    assert!(!format!("{door:?}").contains("012345"));
    let check = |text: &str, want: SecretError| assert_eq!(Secret::new(text).unwrap_err(), want);
    check("", SecretError::TooShort);
    check(" 123456789012345 ", SecretError::TooShort);
    check("whsec_AAAA", SecretError::TooShort);
    check("whsec_!", SecretError::NoBase64);
    check(&"x".repeat(1025), SecretError::TooLong);
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..80)
}

proptest! {
    #[test]
    fn no_other_body_or_signature_passes(
        body in proptest::collection::vec(any::<u8>(), 0..60),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let door = Door::quell_signature("s", [secret(KEY), None]);
        let headers = quell_headers(KEY, NOW, &body);
        prop_assert!(ask(&door, NOW, &headers, &body).is_ok());
        let mut other = body.clone();
        other.push(flip);
        prop_assert_eq!(ask(&door, NOW, &headers, &other), Err(Refusal::Proof));
        let mut signature = headers.1.clone().into_bytes();
        let at = at.index(signature.len());
        signature[at] ^= flip;
        let forged: [(&str, &[u8]); 2] = [
            ("x-quell-timestamp", headers.0.as_bytes()),
            ("x-quell-signature", &signature),
        ];
        let same_hex = signature.eq_ignore_ascii_case(headers.1.as_bytes()) && at >= 7;
        prop_assert_eq!(door.authenticate(&forged, &body, NOW).is_ok(), same_hex);
    }

    #[test]
    fn no_header_makes_it_panic(
        headers in proptest::collection::vec(("[a-z-]{0,20}", bytes()), 0..5),
        value in bytes(),
    ) {
        let mut list: Vec<(&str, &[u8])> =
            headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature", "authorization"] {
            list.push((name, value.as_slice()));
        }
        let doors = [
            Door::standard_webhooks("s", [secret(KEY), None]),
            Door::quell_signature("s", [secret(KEY), None]),
            Door::bearer("s", "authorization", [secret(KEY), None]),
        ];
        for door in &doors {
            let refused = door.authenticate(&list, b"[]", NOW).is_err();
            prop_assert!(refused);
        }
    }
}
