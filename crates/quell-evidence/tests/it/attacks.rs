//! Evidence: each way to falsify a log or a bundle, named, and what the verifier says to it.
//! Never uses the bundle writer to build a forgery: it would refuse.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use quell_evidence::bundle::{Broken, Verified, verify, verify_each, write};
use quell_evidence::digest;
use quell_evidence::leaf::{Body, Record};
use quell_evidence::note::SignerKey;
use serde_json::{Value, json};

use super::support::{Log, ORIGIN, TENANT, body, line, reseal, seal, signer};

/// Verifies a bundle against a held checkpoint and shows what it proves or the error.
fn check(bundle: &[u8], held: Option<&str>, expected: &Expect) {
    let shown = match verify(bundle, signer().verifier(), held.map(str::as_bytes)) {
        Ok(proved) => format!("ok: {} records, {} erased", proved.records, proved.erased),
        Err(broken) => broken.to_string(),
    };
    expected.assert_eq(&shown);
}

fn holds(bundle: &[u8], held: Option<&str>) -> bool {
    verify(bundle, signer().verifier(), held.map(str::as_bytes)).is_ok()
}

/// A bundle without its last line.
fn without_digest(bundle: &[u8]) -> &[u8] {
    &bundle[..bundle.len() - 72]
}

/// The lines of a bundle, without the digest.
fn lines(bundle: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(without_digest(bundle)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Changes the lines of an honest bundle, seals it anew, and shows what the verifier says.
fn check_lines(change: impl FnOnce(&mut Vec<Value>), expected: &Expect) {
    let mut all = lines(&Log::of(4).bundle());
    change(&mut all);
    check(&seal(&all), None, expected);
}

#[test]
fn an_honest_bundle_holds() {
    let mut log = Log::of(5);
    log.erase(3);
    let bundle = log.bundle();
    assert_eq!(bundle, log.forge(&log.head()), "the writer and the forger agree on the format");
    let mut seen = Vec::new();
    let proved = verify_each(&bundle, signer().verifier(), None, |index, record| {
        seen.push((index, record.clone()));
    });
    let expected = Verified {
        origin: ORIGIN.to_owned(),
        tenant: TENANT.to_owned(),
        size: 5,
        records: 5,
        erased: 1,
        first_at: Some("2026-03-01T08:15:00.000000Z".to_owned()),
        last_at: Some("2026-03-01T08:15:04.000004Z".to_owned()),
    };
    assert_eq!(proved, Ok(expected));
    assert_eq!(seen, (0..).zip(log.records.clone()).collect::<Vec<_>>());
    for size in 0..=5 {
        assert!(holds(&bundle, Some(&log.checkpoint(size))), "held at {size}");
    }
}

#[test]
fn an_empty_log_holds() {
    let log = Log::of(0);
    check(&log.bundle(), Some(&log.head()), &expect!["ok: 0 records, 0 erased"]);
    check(
        &log.bundle(),
        Some(&Log::of(1).head()),
        &expect!["the held checkpoint covers 1 records, the bundle ends after 0"],
    );
}

#[test]
fn flip() {
    let mut log = Log::of(3);
    log.erase(1);
    let bundle = log.bundle();
    assert!(holds(&bundle, None));
    for at in 0..bundle.len() {
        for bit in 0..8 {
            let mut changed = bundle.clone();
            changed[at] ^= 1 << bit;
            assert!(!holds(&changed, None), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn flip_with_the_digest_made_anew() {
    let mut log = Log::of(3);
    log.erase(1);
    let bundle = log.bundle();
    let before = without_digest(&bundle);
    assert!(holds(&reseal(before), None));
    for at in 0..before.len() {
        for bit in 0..8 {
            let mut changed = before.to_vec();
            changed[at] ^= 1 << bit;
            assert!(!holds(&reseal(&changed), None), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn cut_and_append() {
    let bundle = Log::of(2).bundle();
    for end in 0..bundle.len() {
        assert!(!holds(&bundle[..end], None), "cut at {end}");
        assert!(!holds(&reseal(&bundle[..end]), None) || end == bundle.len() - 72);
    }
    for byte in 0..=u8::MAX {
        assert!(!holds(&[bundle.as_slice(), &[byte]].concat(), None), "byte {byte}");
    }
    assert!(!holds(&[bundle.as_slice(), &bundle].concat(), None));
    assert!(!holds(&reseal(&bundle), None));
    assert!(!holds(&reseal(&[without_digest(&bundle), b"\n"].concat()), None));
    assert!(!holds(&reseal(&[b"\n", without_digest(&bundle)].concat()), None));
}

#[test]
fn drop_a_record() {
    let log = Log::of(6);
    let mut forged = log.clone();
    forged.records.remove(2);
    let said = &expect!["record 2 has the sequence number 3: one is missing, repeated or moved"];
    check(&forged.forge(&log.head()), None, said);
    check(&forged.forge(&forged.head()), None, said);

    // Numbered and chained anew, it is another log under the old checkpoint.
    forged.chain_anew();
    check(
        &forged.forge(&log.head()),
        None,
        &expect!["the checkpoint covers 6 records, the bundle has 5"],
    );
    // Signed anew with the key, only what was held before tells.
    assert!(holds(&forged.forge(&forged.head()), None));
    check(
        &forged.forge(&forged.head()),
        Some(&log.checkpoint(4)),
        &expect!["the first 4 records are not those of the held checkpoint: the log was rewritten"],
    );
    assert!(holds(&forged.forge(&forged.head()), Some(&log.checkpoint(2))), "2 are untouched");
}

#[test]
fn reorder() {
    let log = Log::of(6);
    let mut forged = log.clone();
    forged.records.swap(2, 3);
    check(
        &forged.forge(&log.head()),
        None,
        &expect!["record 2 has the sequence number 3: one is missing, repeated or moved"],
    );
    forged.chain_anew();
    check(
        &forged.forge(&log.head()),
        None,
        &expect!["the records do not give the root of the checkpoint"],
    );
    assert!(holds(&forged.forge(&forged.head()), None));
    check(
        &forged.forge(&forged.head()),
        Some(&log.checkpoint(3)),
        &expect!["the first 3 records are not those of the held checkpoint: the log was rewritten"],
    );
}

#[test]
fn truncate() {
    let log = Log::of(6);
    let mut forged = log.clone();
    forged.records.truncate(4);
    check(
        &forged.forge(&log.head()),
        None,
        &expect!["the checkpoint covers 6 records, the bundle has 4"],
    );
    assert!(holds(&forged.bundle(), None), "it is the log as it was");
    check(
        &forged.bundle(),
        Some(&log.checkpoint(5)),
        &expect!["the held checkpoint covers 5 records, the bundle ends after 4"],
    );
}

#[test]
fn records_after_the_checkpoint() {
    let log = Log::of(6);
    check(
        &log.forge(&log.checkpoint(4)),
        None,
        &expect!["the checkpoint covers 4 records, the bundle has 5"],
    );
}

#[test]
fn fork() {
    let mut shown_here = Log::of(4);
    let mut shown_there = shown_here.clone();
    shown_here.push(&json!({"outcome": "verified"}));
    shown_there.push(&json!({"outcome": "not_effective"}));
    let said =
        &expect!["the first 5 records are not those of the held checkpoint: the log was rewritten"];
    check(&shown_there.bundle(), Some(&shown_here.head()), said);
    shown_there.push(&body(5));
    check(&shown_there.bundle(), Some(&shown_here.head()), said);
    assert!(holds(&shown_there.bundle(), Some(&shown_here.checkpoint(4))), "4 are common");
}

#[test]
fn rewrite_all_with_the_same_key() {
    let log = Log::of(6);
    let mut rewritten = log.clone();
    rewritten.records.clear();
    for number in 0..6 {
        rewritten.push(&json!({"order": number, "result": "never happened"}));
    }
    assert!(holds(&rewritten.bundle(), None), "nothing inside the bundle can tell");
    for size in 1..=6 {
        let held = log.checkpoint(size);
        let broken = verify(&rewritten.bundle(), signer().verifier(), Some(held.as_bytes()));
        assert_eq!(broken, Err(Broken::Rewritten(u64::try_from(size).unwrap())));
    }
    check(
        &rewritten.bundle(),
        Some(&Log::of(7).head()),
        &expect!["the held checkpoint covers 7 records, the bundle ends after 6"],
    );
}

#[test]
fn another_key() {
    let mut log = Log::of(3);
    log.key = SignerKey::from_seed(ORIGIN, &[8; 32]).unwrap();
    check(
        &log.bundle(),
        None,
        &expect![
            "the bundle is signed by `example.com/log+53a2bf87`, not `example.com/log+702f3c70`"
        ],
    );
    // The name of the trusted key above, the signature of another below.
    let mut all = lines(&log.bundle());
    all[0]["key"] = json!(signer().verifier().short());
    check(
        &seal(&all),
        None,
        &expect!["the bundle's checkpoint: no signature by `example.com/log+702f3c70`"],
    );
    let held = log.head();
    check(
        &Log::of(3).bundle(),
        Some(&held),
        &expect!["the held checkpoint: no signature by `example.com/log+702f3c70`"],
    );
    check(
        &Log::of(3).bundle(),
        Some("nonsense"),
        &expect!["the held checkpoint: a note is a text, a blank line and signature lines"],
    );
}

#[test]
fn a_checkpoint_of_another_log() {
    use quell_evidence::checkpoint::Checkpoint;
    let log = Log::of(3);
    let opened = Checkpoint::open(log.head().as_bytes(), log.key.verifier()).unwrap();
    let other = Checkpoint::new("example.com/other", 3, *opened.root()).unwrap();
    let other = other.sign(&log.key).unwrap().to_text();
    check(
        &log.forge(&other),
        None,
        &expect!["the checkpoint is of the log `example.com/other`, not `example.com/log`"],
    );
    check(
        &log.bundle(),
        Some(&other),
        &expect!["the held checkpoint is of the log `example.com/other`, not `example.com/log`"],
    );
}

#[test]
fn another_tenant() {
    check_lines(
        |all| all[0]["tenant"] = json!("other"),
        &expect!["record 0 belongs to another tenant"],
    );
    check_lines(
        |all| all[0]["tenant"] = json!(""),
        &expect!["the tenant `` is not 1 to 128 bytes without control characters"],
    );
    check_lines(
        |all| all[2]["leaf"]["tenant"] = json!("other"),
        &expect!["record 1 belongs to another tenant"],
    );
}

#[test]
fn another_body() {
    check_lines(
        |all| all[2]["body"]["order"] = json!("ord_other"),
        &expect!["the body of record 1 is not the one that its leaf commits to"],
    );
    check_lines(
        |all| {
            let other = all[3]["salt"].clone();
            all[2]["salt"] = other;
        },
        &expect!["the body of record 1 is not the one that its leaf commits to"],
    );
    check_lines(
        |all| all[2]["salt"] = json!("AA=="),
        &expect!["the salt of record 1 is not canonical base64 of 32 bytes"],
    );
    // A salt whose last base64 letter has other slack bits.
    check_lines(
        |all| {
            let salt = all[2]["salt"].as_str().unwrap().to_owned();
            let (start, last) = salt.split_at(salt.len() - 2);
            let next = char::from(last.as_bytes()[0] + 1);
            all[2]["salt"] = json!(format!("{start}{next}="));
        },
        &expect!["the salt of record 1 is not canonical base64 of 32 bytes"],
    );
    check_lines(
        |all| drop(all[2].as_object_mut().unwrap().remove("salt")),
        &expect![
            "record 1 has not the members body, index, leaf and salt, or index and leaf alone"
        ],
    );
    check_lines(
        |all| drop(all[2].as_object_mut().unwrap().remove("body")),
        &expect![
            "record 1 has not the members body, index, leaf and salt, or index and leaf alone"
        ],
    );
}

#[test]
fn another_leaf() {
    let other = digest::show(&[9; 32]);
    check_lines(
        |all| all[2]["leaf"]["prev"] = json!(other),
        &expect!["record 1 does not carry the leaf hash of the record before it"],
    );
    check_lines(
        |all| all[1]["leaf"]["prev"] = json!(other),
        &expect!["record 0 does not carry the leaf hash of the record before it"],
    );
    check_lines(
        |all| all[2]["leaf"]["type"] = json!("other"),
        &expect!["record 2 does not carry the leaf hash of the record before it"],
    );
    check_lines(
        |all| all[4]["leaf"]["type"] = json!("other"),
        &expect!["the records do not give the root of the checkpoint"],
    );
    check_lines(
        |all| all[2]["leaf"]["seq"] = json!(0),
        &expect!["record 1 has the sequence number 0: one is missing, repeated or moved"],
    );
    check_lines(
        |all| all[2]["leaf"]["v"] = json!(2),
        &expect!["record 1: not a leaf that this version reads: its version is `2`"],
    );
    check_lines(
        |all| all[2]["leaf"]["w"] = json!(2),
        &expect![
            "record 1: not a leaf: expected the members at, body, prev, seq, tenant, type and v"
        ],
    );
    check_lines(
        |all| all[2]["leaf"] = json!(null),
        &expect![
            "record 1: not a leaf: expected the members at, body, prev, seq, tenant, type and v"
        ],
    );
    check_lines(
        |all| all[2]["index"] = json!(2),
        &expect!["record 1 says that it stands at another place"],
    );
    check_lines(
        |all| all[2]["extra"] = json!(2),
        &expect![
            "record 1 has not the members body, index, leaf and salt, or index and leaf alone"
        ],
    );
    check_lines(
        |all| all[2] = json!([]),
        &expect![
            "record 1 has not the members body, index, leaf and salt, or index and leaf alone"
        ],
    );
}

#[test]
fn another_head() {
    check_lines(
        |all| all[0]["format"] = json!("quell/bundle/v2"),
        &expect!["the format `quell/bundle/v2` is not `quell/bundle/v1`"],
    );
    check_lines(
        |all| all[0]["records"] = json!(3),
        &expect!["the checkpoint covers 4 records, the bundle has 3"],
    );
    check_lines(
        |all| all[0]["records"] = json!("4"),
        &expect![
            "the head has not the members checkpoint, format, key, origin, records and tenant"
        ],
    );
    check_lines(
        |all| all[0]["origin"] = json!("example.com/other"),
        &expect!["the checkpoint is of the log `example.com/log`, not `example.com/other`"],
    );
    check_lines(
        |all| all[0]["checkpoint"] = json!(""),
        &expect!["the bundle's checkpoint: a note is a text, a blank line and signature lines"],
    );
    check_lines(
        |all| all[0]["extra"] = json!(1),
        &expect![
            "the head has not the members checkpoint, format, key, origin, records and tenant"
        ],
    );
    check_lines(
        |all| drop(all.remove(0)),
        &expect![
            "the head has not the members checkpoint, format, key, origin, records and tenant"
        ],
    );
    check_lines(
        |all| all.truncate(1),
        &expect!["the checkpoint covers 4 records, the bundle has 0"],
    );
    check_lines(
        Vec::clear,
        &expect!["the bundle does not end in a line with its digest: it is cut off"],
    );
}

#[test]
fn slack_in_a_line() {
    let bundle = Log::of(2).bundle();
    let text = String::from_utf8(without_digest(&bundle).to_vec()).unwrap();
    for (from, to) in [
        ("\"index\":", "\"index\": "),
        ("\n", "\r\n"),
        ("\n", "\n\n"),
        ("null", "null "),
        ("-7", "-7.0"),
        ("\u{fc}", "\\u00fc"),
        ("\\t", "\\u0009"),
        ("\"index\":0", "\"index\":0,\"index\":0"),
        ("\"leaf\"", "\"le\\u0061f\""),
    ] {
        assert!(text.contains(from), "{from:?}");
        let changed = text.replacen(from, to, 1);
        let broken = verify(&reseal(changed.as_bytes()), signer().verifier(), None);
        assert!(matches!(broken, Err(Broken::Line { .. })), "{from:?}: {broken:?}");
    }
}

#[test]
fn erasing_is_counted_and_never_hides_a_change() {
    let log = Log::of(4);
    let mut erased = log.clone();
    erased.erase(1);
    erased.erase(2);
    assert_eq!(erased.head(), log.head());
    check(&erased.bundle(), Some(&log.head()), &expect!["ok: 4 records, 2 erased"]);
    erased.records[1].body = Body::Erased { digest: [9; 32] };
    check(
        &erased.forge(&log.head()),
        None,
        &expect!["record 2 does not carry the leaf hash of the record before it"],
    );
}

#[test]
fn the_writer_refuses_what_would_not_verify() {
    let log = Log::of(3);
    let head = log.head();
    let refused = |records: &[Record<'static>], note: &str, tenant: &str| {
        let key = signer();
        write(note.as_bytes(), key.verifier(), tenant, records.to_vec()).unwrap_err().to_string()
    };
    let all = log.records.as_slice();
    expect!["the checkpoint covers 3 records, the bundle has 2"].assert_eq(&refused(
        &all[..2],
        &head,
        TENANT,
    ));
    expect!["the checkpoint covers 2 records, the bundle has 3"].assert_eq(&refused(
        all,
        &log.checkpoint(2),
        TENANT,
    ));
    expect!["record 0 has the sequence number 1: one is missing, repeated or moved"]
        .assert_eq(&refused(&all[1..], &head, TENANT));
    expect!["record 0 belongs to another tenant"].assert_eq(&refused(all, &head, "other"));
    expect!["the tenant `` is not 1 to 128 bytes without control characters"]
        .assert_eq(&refused(all, &head, ""));
    expect![
        "the bundle's checkpoint: the signature by `example.com/log+702f3c70` is not for this text"
    ]
    .assert_eq(&refused(all, &head.replace('3', "4"), TENANT));
    let mut other = log.clone();
    other.records[1].body = Body::Kept { salt: [0; 32], bytes: b"{ }".into() };
    other.chain_anew();
    expect!["the body of record 1: not in canonical form from byte 1 on"].assert_eq(&refused(
        &other.records,
        &other.head(),
        TENANT,
    ));
}

#[test]
fn great_bodies_are_read_back() {
    let mut log = Log::of(1);
    let deep = (0..63).fold(json!([]), |inner, _| json!([inner]));
    log.push(&deep);
    log.push(&json!("x".repeat(quell_evidence::canonical::MAX_BYTES - 2)));
    check(&log.bundle(), Some(&log.head()), &expect!["ok: 3 records, 0 erased"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_change_of_bytes_is_detected(
        size in 0_u64..5,
        from: prop::sample::Index,
        len in 0_usize..200,
        put in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let bundle = Log::of(size).bundle();
        let from = from.index(bundle.len());
        let to = (from + len).min(bundle.len());
        let changed = [&bundle[..from], put.as_slice(), &bundle[to..]].concat();
        prop_assert_eq!(holds(&changed, None), changed == bundle);
        let cut = without_digest(&bundle);
        let resealed = reseal(&changed[..changed.len().min(cut.len())]);
        prop_assert_eq!(holds(&resealed, None), resealed == bundle);
    }

    #[test]
    fn a_held_checkpoint_finds_any_rewriting(
        size in 1_usize..12,
        held: prop::sample::Index,
        at: prop::sample::Index,
        kind in 0..4,
    ) {
        let log = Log::of(u64::try_from(size).unwrap());
        let at = at.index(size);
        let mut forged = log.clone();
        match kind {
            0 => { forged.records.remove(at); }
            1 => forged.records.insert(at, log.records[at].clone()),
            2 => forged.records.rotate_left(at),
            _ => forged.records[at].body = Body::Erased { digest: [9; 32] },
        }
        forged.chain_anew();
        let held = held.index(size) + 1;
        let same = forged.leaf_hashes().get(..held) == Some(&log.leaf_hashes()[..held]);
        prop_assert!(holds(&forged.bundle(), None));
        prop_assert_eq!(holds(&forged.bundle(), Some(&log.checkpoint(held))), same);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, text in "([ -~]{0,40}\n){0,4}") {
        for before in [bytes.as_slice(), text.as_bytes()] {
            prop_assert!(!holds(before, None));
            prop_assert!(!holds(&reseal(before), None));
        }
        let log = Log::of(1);
        let mut all = lines(&log.bundle());
        all[1] = line(0, &log.records[0]);
        all[1]["body"] = Value::from(text);
        prop_assert!(!holds(&seal(&all), None));
    }
}
