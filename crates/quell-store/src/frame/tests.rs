//! Store, tests only: every released layout decodes for ever, and no bytes do harm.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use quell_core::id::Digest;
use quell_core::time::Time;

use super::read::{Remains, read, read_group, rewrite};
use super::{Body, Content, Frame, MAX_BODY_BYTES};
use crate::seal::{DataKey, Keys, NoKey, NoKeys, Seal};

/// The bytes of a fixture: lines of hexadecimal digits, comments between them.
fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
    digits.as_bytes().chunks(2).map(byte).collect()
}

fn show(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        match read(3, rest, &NoKeys) {
            Ok((frame, after)) => {
                let content = match &frame.content {
                    Content::Kept(raw) if raw.len() < 80 => String::from_utf8_lossy(raw).into(),
                    Content::Kept(raw) => format!("{} bytes, {}", raw.len(), Digest::of(raw)),
                    Content::Erased { raw_bytes } => format!("erased, was {raw_bytes} bytes"),
                };
                let pack = frame.pack_digest.to_string().chars().take(15).collect::<String>();
                let rules = frame.rules_digest.to_string().chars().take(15).collect::<String>();
                let (kind, at, tenant) = (frame.kind, frame.at, frame.tenant);
                writeln!(out, "kind {kind} at {at} of `{tenant}`, {pack}, {rules}: {content}")
                    .unwrap();
                rest = after;
            }
            Err(error) => {
                writeln!(out, "{error}").unwrap();
                break;
            }
        }
    }
    out
}

#[test]
fn fixtures_decode_for_ever() {
    let check = |name: &str, expected: Expect| expected.assert_eq(&show(&fixture(name)));
    check(
        "clear.hex",
        expect![[r#"
        kind 1 at 2026-01-01T00:00:00.000000Z of `default`, sha256:00010203, sha256:20212223: {"tick":true}
    "#]],
    );
    check(
        "lz4.hex",
        expect![[r#"
        kind 2 at 2026-01-01T00:00:00.500000Z of `default`, sha256:00010203, sha256:00000000: 200 bytes, sha256:c2a908d98f5df987ade41b5fce213067efbcc21ef2240212a41e54b5e7c28ae5
    "#]],
    );
    check(
        "tombstone.hex",
        expect![[r#"
        kind 1 at 2026-01-01T00:00:01.000000Z of `default`, sha256:00010203, sha256:20212223: erased, was 4096 bytes
    "#]],
    );
    check(
        "edges.hex",
        expect![[r#"
        kind 65535 at 1969-12-31T23:59:59.999999Z of `größe.example.org`, sha256:00000000, sha256:00000000: 
    "#]],
    );
    check(
        "group.hex",
        expect![[r#"
        kind 1 at 2026-01-01T00:00:00.000000Z of `default`, sha256:00010203, sha256:20212223: {"tick":true}
        kind 1 at 2026-01-01T00:00:00.000000Z of `default`, sha256:00010203, sha256:20212223: erased, was 9 bytes
        kind 2 at 2026-01-01T00:00:00.500000Z of `default`, sha256:00010203, sha256:00000000: 200 bytes, sha256:c2a908d98f5df987ade41b5fce213067efbcc21ef2240212a41e54b5e7c28ae5
    "#]],
    );
    check(
        "encrypted.hex",
        expect![[r#"
        the frame is encrypted under key `7`, which is not at hand
    "#]],
    );
    check(
        "sealed.hex",
        expect![[r#"
            the frame is encrypted under key `3`, which is not at hand
        "#]],
    );
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    assert_eq!(std::fs::read_dir(files).unwrap().count(), 7, "a fixture without a check");
}

/// Data key 3 is 32 bytes of 0x42.
struct Key3;

impl Keys for Key3 {
    fn key(&self, id: u32) -> Result<Arc<DataKey>, NoKey> {
        (id == 3).then(|| Arc::new(DataKey::new(3, &[0x42; 32]))).ok_or(NoKey::NotAtHand(id))
    }
}

/// The fixture was made by another implementation of the cipher, from the words of formats.md.
#[test]
fn the_encrypted_fixture_opens_for_ever_and_in_its_place_alone() {
    let bytes = fixture("sealed.hex");
    let (frame, rest) = read(3, &bytes, &Key3).unwrap();
    assert!(rest.is_empty());
    assert_eq!(frame.content, Content::Kept(br#"{"tick":true}"#.to_vec()));
    expect!["the frame does not open under key `3`: its bytes have changed or are another frame's"]
        .assert_eq(&read(4, &bytes, &Key3).unwrap_err().to_string());
    // Every byte, with the checksum made right again, so that only the key can tell.
    let (end, mut said) = (bytes.len() - 29 - 4, std::collections::BTreeMap::new());
    for at in (0..end).chain(end + 4..bytes.len()) {
        for by in [1, 0x80] {
            let mut bad = bytes.clone();
            bad[at] ^= by;
            let crc = crc32c::crc32c_append(crc32c::crc32c(&bad[..end]), &bad[end + 4..]);
            bad[end..end + 4].copy_from_slice(&crc.to_le_bytes());
            let error = read(3, &bad, &Key3).expect_err("a changed byte went unnoticed");
            let kind = format!("{error:?}");
            let kind = kind.split(['(', ' ']).next().unwrap().to_owned();
            *said.entry(kind).or_insert(0) += 1;
        }
    }
    expect![[r#"
        {
            "Checksum": 1,
            "Codec": 1,
            "Encrypted": 8,
            "Forged": 262,
            "Format": 4,
            "Length": 8,
            "Nonce": 2,
            "Tenant": 7,
            "Truncated": 9,
        }
    "#]]
    .assert_debug_eq(&said);
}

#[test]
fn writes_what_the_fixtures_hold() {
    let digest = |first: u8| {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(first..).for_each(|(byte, n)| *byte = n);
        Digest(bytes)
    };
    let frame = Frame {
        kind: 1,
        at: Time(1_767_225_600_000_000),
        pack_digest: digest(0),
        rules_digest: digest(32),
        body: Body::pack(br#"{"tick":true}"#).unwrap(),
    };
    let mut bytes = Vec::new();
    frame.encode("default", 0, &mut Seal::clear(), &mut bytes).unwrap();
    assert_eq!(bytes, fixture("clear.hex"));
    assert_eq!(bytes.len(), frame.encoded_bytes("default"));
}

#[test]
fn caps_bodies() {
    let most = Body::pack(&vec![b'x'; MAX_BODY_BYTES]).unwrap();
    assert!(most.stored_bytes() < 400_000);
    let error = Body::pack(&vec![b'x'; MAX_BODY_BYTES + 1]).unwrap_err();
    expect!["a journal body of 67108865 bytes is longer than 67108864"]
        .assert_eq(&error.to_string());
}

#[test]
fn counts_the_frames_of_a_row() {
    let group = fixture("group.hex");
    let error = |count: u32| read_group(3, count, &group, &NoKeys).unwrap_err().to_string();
    assert_eq!(read_group(3, 3, &group, &NoKeys).unwrap()[2].seq, 5);
    expect!["the row holds 3 frames, not 2"].assert_eq(&error(2));
    expect!["the row holds 3 frames, not 4"].assert_eq(&error(4));
    expect!["the row holds 3 frames, not 4294967295"].assert_eq(&error(u32::MAX));
}

fn tombstone(row: &[u8], seq: u64) -> (Vec<u8>, bool) {
    rewrite((3, 3), row, seq, Remains::Nothing, &mut Seal::clear()).unwrap()
}

#[test]
fn tombstones_one_frame() {
    let group = fixture("group.hex");
    let (bytes, changed) = tombstone(&group, 5);
    assert!(changed);
    expect![[r#"
        kind 1 at 2026-01-01T00:00:00.000000Z of `default`, sha256:00010203, sha256:20212223: {"tick":true}
        kind 1 at 2026-01-01T00:00:00.000000Z of `default`, sha256:00010203, sha256:20212223: erased, was 9 bytes
        kind 2 at 2026-01-01T00:00:00.500000Z of `default`, sha256:00010203, sha256:00000000: erased, was 200 bytes
    "#]].assert_eq(&show(&bytes));
    assert_eq!(tombstone(&bytes, 5), (bytes.clone(), false));
    assert_eq!(tombstone(&group, 4), (group, false));
}

/// Every error in words.
#[test]
fn says_what_is_wrong() {
    let clear = fixture("clear.hex");
    let mut seen = String::new();
    let mut mangle = |at: usize, byte: u8| {
        let mut bytes = clear.clone();
        bytes[at] = byte;
        seen.push_str(&show(&bytes));
    };
    mangle(0, 2);
    mangle(4, 3);
    mangle(5, 1);
    mangle(9, 25);
    mangle(18, 0);
    mangle(18, 200);
    mangle(19, 0xff);
    mangle(2, 9);
    mangle(94, 1);
    mangle(clear.len() - 1, 0);
    seen.push_str(&show(&clear[..clear.len() - 1]));
    seen.push_str(&show(&clear[..10]));
    expect![[r#"
        the frame has format `2`, newer than this program reads
        the frame has the unknown codec `3`
        the frame's nonce of 0 bytes does not fit its key
        the frame's nonce of 25 bytes does not fit its key
        the frame's tenant is not 1 to 128 bytes of UTF-8
        the frame is cut off in its tenant
        the frame's tenant is not 1 to 128 bytes of UTF-8
        the frame's checksum is `46fa6d9a`, not `a9545539`: its bytes have changed
        the frame's checksum is `7b72cfa2`, not `a9545539`: its bytes have changed
        the frame's checksum is `67e44de7`, not `a9545539`: its bytes have changed
        the frame is cut off in its body
        the frame is cut off in its time
    "#]]
    .assert_eq(&seen);
}

fn frames() -> impl Strategy<Value = Frame> {
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..3000_usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    (any::<u16>(), any::<i64>(), any::<[u8; 32]>(), body).prop_map(|(kind, at, digest, body)| {
        Frame {
            kind,
            at: Time(at),
            pack_digest: Digest(digest),
            rules_digest: Digest::of(&digest),
            body: Body::pack(&body).unwrap(),
        }
    })
}

proptest! {
    #[test]
    fn reads_what_was_written(
        frame in frames(),
        raw in proptest::collection::vec(0..4_u8, 0..2000),
        tenant in "[a-z\u{e4}]{1,40}",
    ) {
        let frame = Frame { body: Body::pack(&raw).unwrap(), ..frame };
        let mut bytes = Vec::new();
        frame.encode(&tenant, 9, &mut Seal::clear(), &mut bytes).unwrap();
        prop_assert_eq!(bytes.len(), frame.encoded_bytes(&tenant));
        bytes.extend_from_slice(b"rest");
        let (read, rest) = read(9, &bytes, &NoKeys).unwrap();
        prop_assert_eq!(rest, b"rest");
        prop_assert_eq!(read.content, Content::Kept(raw));
        prop_assert_eq!((read.seq, read.kind, read.at), (9, frame.kind, frame.at));
        prop_assert_eq!(read.tenant, tenant);
        prop_assert_eq!(read.pack_digest, frame.pack_digest);
        prop_assert_eq!(read.rules_digest, frame.rules_digest);
    }

    /// One changed byte is an error, wherever it is; so is every cut.
    #[test]
    fn notices_every_change(
        frame in frames(),
        at in any::<prop::sample::Index>(),
        by in 1..=255_u8,
    ) {
        let mut bytes = Vec::new();
        frame.encode("default", 0, &mut Seal::clear(), &mut bytes).unwrap();
        let at = at.index(bytes.len());
        prop_assert!(read(0, &bytes[..at], &NoKeys).is_err());
        bytes[at] = bytes[at].wrapping_add(by);
        prop_assert!(read(0, &bytes, &NoKeys).is_err());
    }

    /// Bytes with a right checksum, so that what lies behind it is reached too.
    #[test]
    fn survives_forged_frames(
        codec in prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()],
        raw in prop_oneof![0..600_u32, any::<u32>()],
        length in prop_oneof![0..60_u32, any::<u32>()],
        body in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut bytes = fixture("clear.hex");
        bytes.truncate(90);
        bytes[4] = codec;
        bytes.extend_from_slice(&raw.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        let length = usize::try_from(length).unwrap().min(body.len());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), &body[..length]);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&body);
        if let Ok((frame, rest)) = read(0, &bytes, &NoKeys) {
            prop_assert!(rest.len() <= body.len());
            if let Content::Kept(kept) = frame.content {
                prop_assert!(kept.len() <= MAX_BODY_BYTES);
            }
        }
    }

    #[test]
    fn survives_any_bytes(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        count in any::<u32>(),
    ) {
        let _read = read_group(0, count, &bytes, &NoKeys);
        let _rewritten = rewrite((0, count), &bytes, 0, Remains::Nothing, &mut Seal::clear());
    }
}
