//! Evidence: tests of checkpoints; nothing here is used outside tests.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

/// The example of c2sp.org/tlog-checkpoint, without its signature.
const EXAMPLE: &str =
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

fn key(seed: u8) -> SignerKey {
    SignerKey::from_seed("log.example.com/default", &[seed; 32]).unwrap()
}

/// Parses a text after `from` was replaced by `to` and shows `ok` or the error.
fn check(from: &str, to: &str, expected: &Expect) {
    assert!(EXAMPLE.contains(from));
    let shown = match Checkpoint::parse(&EXAMPLE.replacen(from, to, 1)) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

#[test]
fn checkpoints_are_read_strictly() {
    check("example", "example", &expect!["ok"]);
    check(
        "example.com/behind-the-sofa",
        "",
        &expect!["an origin is 1 to 255 bytes without control characters"],
    );
    check("example", "a\u{7f}", &expect!["an origin is 1 to 255 bytes without control characters"]);
    check(
        "20852163",
        "020852163",
        &expect!["the size `020852163` is not a decimal up to 2^53 - 1"],
    );
    check(
        "20852163",
        "+20852163",
        &expect!["the size `+20852163` is not a decimal up to 2^53 - 1"],
    );
    check("20852163", "-1", &expect!["the size `-1` is not a decimal up to 2^53 - 1"]);
    check("20852163", "", &expect!["the size `` is not a decimal up to 2^53 - 1"]);
    check("20852163", "9007199254740991", &expect!["ok"]);
    check(
        "20852163",
        "9007199254740992",
        &expect!["the size `9007199254740992` is not a decimal up to 2^53 - 1"],
    );
    check(
        "20852163",
        "18446744073709551616",
        &expect!["the size `18446744073709551616` is not a decimal up to 2^53 - 1"],
    );
    check("20852163", "0", &expect!["the root of an empty tree is the SHA-256 of nothing"]);
    check("q2I=", "q2J=", &expect!["the root is not canonical base64 of 32 bytes"]);
    check("q2I=", "q2I", &expect!["the root is not canonical base64 of 32 bytes"]);
    check("q2I=\n", "q2I=", &expect!["a checkpoint has three lines: origin, size, root"]);
    check(
        "q2I=\n",
        "q2I=\nextension\n",
        &expect!["a checkpoint has three lines: origin, size, root"],
    );
    check("q2I=\n", "q2I=\n\n", &expect!["a checkpoint has three lines: origin, size, root"]);
    check("CsUY", "", &expect!["the root is not canonical base64 of 32 bytes"]);
    check("CsUY", "CsUYCsUY", &expect!["the root is not canonical base64 of 32 bytes"]);
}

#[test]
fn only_the_key_that_signed_opens_a_checkpoint() {
    let checkpoint = Checkpoint::parse(EXAMPLE).unwrap();
    assert_eq!(checkpoint.origin(), "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size(), 20_852_163);
    assert_eq!(checkpoint.to_text(), EXAMPLE);
    let note = checkpoint.sign(&key(1)).unwrap().to_text();
    assert_eq!(Checkpoint::open(note.as_bytes(), key(1).verifier()), Ok(checkpoint));
    let error = Checkpoint::open(note.as_bytes(), key(2).verifier()).unwrap_err();
    expect!["no signature by `log.example.com/default+ac7c2f3b`"].assert_eq(&error.to_string());
    let altered = note.replace("20852163", "20852164");
    let error = Checkpoint::open(altered.as_bytes(), key(1).verifier()).unwrap_err();
    expect!["the signature by `log.example.com/default+70c1d7a5` is not for this text"]
        .assert_eq(&error.to_string());
}

#[test]
fn the_empty_tree_has_a_checkpoint() {
    let empty = Checkpoint::new("log.example.com/default", 0, merkle::empty_root()).unwrap();
    assert_eq!(Checkpoint::parse(&empty.to_text()), Ok(empty));
    let other = Checkpoint::new("log.example.com/default", 0, [1; 32]);
    assert_eq!(other, Err(BadCheckpoint::EmptyRoot));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        origin in "[a-z./ \u{e9}]{1,40}",
        size in 1..=merkle::MAX_SIZE,
        root: [u8; 32],
    ) {
        let checkpoint = Checkpoint::new(&origin, size, root).unwrap();
        prop_assert_eq!(Checkpoint::parse(&checkpoint.to_text()).unwrap(), checkpoint);
    }

    #[test]
    fn no_text_panics(text in "([ -~]{0,10}\n){0,5}") {
        if let Ok(checkpoint) = Checkpoint::parse(&text) {
            prop_assert_eq!(checkpoint.to_text(), text);
        }
    }
}
