//! Evidence: tests of leaves; nothing here is used outside tests.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const AT: &str = "2026-03-01T08:15:30.000001Z";

fn header(tenant: &str, seq: u64, prev: Hash) -> Header<'_> {
    Header::new(tenant, seq, "order_verified", AT, prev).unwrap()
}

fn leaf(header: &Header<'_>, body: &Hash) -> Vec<u8> {
    let mut out = Vec::new();
    header.encode_leaf(body, &mut out);
    out
}

/// Makes a header from the four fields and shows `ok` or the error.
fn check(tenant: &str, seq: u64, record_type: &str, at: &str, expected: &Expect) {
    let shown = match Header::new(tenant, seq, record_type, at, FIRST_PREV) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

/// Parses a leaf after `from` was replaced by `to` and shows `ok` or the error.
fn check_parse(from: &str, to: &str, expected: &Expect) {
    let text = String::from_utf8(leaf(&header("default", 0, FIRST_PREV), &[7; 32])).unwrap();
    assert!(text.contains(from), "{text}");
    let shown = match parse(text.replacen(from, to, 1).as_bytes()) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

#[test]
fn a_leaf_is_written_as_the_format_says() {
    let digest = body_digest(&[1; 32], br#"{"a":1}"#);
    let first = header("default", 0, FIRST_PREV);
    let expected = concat!(
        r#"{"at":"2026-03-01T08:15:30.000001Z","#,
        r#""body":"sha256:7f40cffc3fbdaa7375e4e3df8dda36945da91475cb1d99419decebc67d7d6b35","#,
        r#""prev":"sha256:0000000000000000000000000000000000000000000000000000000000000000","#,
        r#""seq":0,"tenant":"default","type":"order_verified","v":1}"#,
    );
    assert_eq!(std::str::from_utf8(&leaf(&first, &digest)), Ok(expected));
    expect!["sha256:2295f4352ff28c5f98d64bcde16539d3b5ecf3202657035c9ec56dba6eb2c7ef"]
        .assert_eq(&digest::show(&first.leaf_hash(&digest)));
}

#[test]
fn the_body_digest_covers_salt_then_body() {
    let mut salted = [9; 32].to_vec();
    salted.extend_from_slice(b"{}");
    assert_eq!(body_digest(&[9; 32], b"{}"), digest::sha256(&salted));
    assert_ne!(body_digest(&[9; 32], b"{}"), body_digest(&[8; 32], b"{}"));
}

#[test]
fn erasing_a_body_leaves_the_leaf_hash() {
    let kept = Record {
        header: header("default", 3, [5; 32]),
        body: Body::Kept { salt: [1; 32], bytes: Cow::Borrowed(b"{}") },
    };
    let digest = kept.body.digest();
    let erased = Record { header: kept.header.clone(), body: Body::Erased { digest } };
    assert_eq!(erased.leaf_hash(), kept.leaf_hash());
    let other = Record {
        header: kept.header.clone(),
        body: Body::Kept { salt: [2; 32], bytes: Cow::Borrowed(b"{}") },
    };
    assert_ne!(other.leaf_hash(), kept.leaf_hash());
}

#[test]
fn fields_have_one_form() {
    check("default", 0, "a", AT, &expect!["ok"]);
    check(
        "",
        0,
        "a",
        AT,
        &expect!["the tenant `` is not 1 to 128 bytes without control characters"],
    );
    check(
        "a\u{85}b",
        0,
        "a",
        AT,
        &expect![[r#"the tenant `a\u{85}b` is not 1 to 128 bytes without control characters"#]],
    );
    let long = "t".repeat(129);
    let refused = Header::new(long.as_str(), 0, "a", AT, FIRST_PREV);
    assert_eq!(refused, Err(BadHeader::Tenant(long.clone())));
    check("default", MAX_SEQ, "a.b_9", AT, &expect!["ok"]);
    check(
        "default",
        MAX_SEQ + 1,
        "a",
        AT,
        &expect!["the sequence number `9007199254740992` is beyond 2^53 - 1"],
    );
    check(
        "default",
        0,
        "A",
        AT,
        &expect!["the record type `A` is not 1 to 64 of `a-z`, `0-9`, `_` and `.`"],
    );
    check(
        "default",
        0,
        "",
        AT,
        &expect!["the record type `` is not 1 to 64 of `a-z`, `0-9`, `_` and `.`"],
    );
    check(
        "default",
        0,
        "a",
        "",
        &expect!["the time `` is not of the form `2026-01-31T23:59:59.000000Z`"],
    );
}

#[test]
fn times_are_real_moments_in_utc_with_six_digits() {
    for good in [
        AT,
        "2024-02-29T00:00:00.000000Z",
        "2000-02-29T23:59:59.999999Z",
        "1969-12-31T23:59:59.000000Z",
    ] {
        assert!(is_time(good.as_bytes()), "{good}");
    }
    for bad in [
        "2026-03-01T08:15:30Z",
        "2026-03-01T08:15:30.000Z",
        "2026-03-01T08:15:30.0000010Z",
        "2026-03-01T08:15:30.000001+00:00",
        "2026-03-01t08:15:30.000001z",
        "2026-03-01 08:15:30.000001Z",
        "2026-13-01T08:15:30.000001Z",
        "2026-00-01T08:15:30.000001Z",
        "2026-03-00T08:15:30.000001Z",
        "2026-04-31T08:15:30.000001Z",
        "2026-02-29T08:15:30.000001Z",
        "1900-02-29T08:15:30.000001Z",
        "2026-03-01T24:00:00.000000Z",
        "2026-03-01T08:60:30.000001Z",
        "2026-03-01T08:15:60.000001Z",
        "2026-03-01T08:15:3:.000001Z",
    ] {
        assert!(!is_time(bad.as_bytes()), "{bad}");
    }
}

#[test]
fn leaves_are_read_strictly() {
    check_parse("\"v\":1", "\"v\":1", &expect!["ok"]);
    check_parse(
        "\"v\":1",
        "\"v\":2",
        &expect!["not a leaf that this version reads: its version is `2`"],
    );
    check_parse(
        ",\"v\":1",
        "",
        &expect!["not a leaf: expected the members at, body, prev, seq, tenant, type and v"],
    );
    check_parse(
        "\"v\":1",
        "\"v\":1,\"w\":1",
        &expect!["not a leaf: expected the members at, body, prev, seq, tenant, type and v"],
    );
    check_parse(
        "\"v\":1",
        "\"x\":1",
        &expect!["not a leaf: expected the members at, body, prev, seq, tenant, type and v"],
    );
    check_parse(
        "\"v\":1",
        "\"v\": 1",
        &expect!["not a leaf: not in canonical form from byte 253 on"],
    );
    check_parse(
        "\"seq\":0",
        "\"seq\":-1",
        &expect!["not a leaf: expected the members at, body, prev, seq, tenant, type and v"],
    );
    check_parse(
        "\"seq\":0",
        "\"seq\":\"0\"",
        &expect!["not a leaf: expected the members at, body, prev, seq, tenant, type and v"],
    );
    check_parse(
        "sha256:00",
        "sha256:0",
        &expect![
            "not a leaf: not a digest: expected `sha256:` and 64 lower-case hexadecimal digits"
        ],
    );
    check_parse(
        "sha256:00",
        "sha512:00",
        &expect![
            "not a leaf: not a digest: expected `sha256:` and 64 lower-case hexadecimal digits"
        ],
    );
    check_parse(
        AT,
        "2026-03-01",
        &expect![
            "not a leaf: the time `2026-03-01` is not of the form `2026-01-31T23:59:59.000000Z`"
        ],
    );
}

proptest! {
    #[test]
    fn the_direct_writer_agrees_with_the_canonical_encoder(
        tenant in "[^\\p{Cc}]{1,30}",
        seq in 0..=MAX_SEQ,
        prev: Hash,
        body: Hash,
    ) {
        let header = header(&tenant, seq, prev);
        let bytes = leaf(&header, &body);
        let value = json!({
            "v": 1, "tenant": tenant, "seq": seq, "type": "order_verified", "at": AT,
            "prev": digest::show(&prev), "body": digest::show(&body),
        });
        prop_assert_eq!(&canonical::encode(&value).unwrap(), &bytes);
        prop_assert_eq!(parse(&bytes).unwrap(), (header.clone().into_owned(), body));

        let mut prefixed = vec![0x00];
        prefixed.extend_from_slice(&bytes);
        prop_assert_eq!(header.leaf_hash(&body), digest::sha256(&prefixed));
        prop_assert!(bytes.len() < usize::from(u16::MAX), "a leaf fits an entry bundle");
    }
}
