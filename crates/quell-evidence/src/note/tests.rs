//! Evidence: tests of signed notes against the vectors of golang.org/x/mod/sumdb/note and
//! c2sp.org/signed-note; nothing here is used outside tests.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const SIGNER: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const OTHER: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const TEXT: &str = "If you think cryptography is the answer to your problem,
then you don't know what your problem is.
";
const LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1\
FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
";
const OTHER_LINE: &str = "\u{2014} EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiO\
Hp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=
";

fn key(text: &str) -> VerifierKey {
    text.parse().unwrap()
}

fn published() -> String {
    format!("{TEXT}\n{LINE}{OTHER_LINE}")
}

/// Reads a note, verifies it by the first published key, and shows `ok` or the error.
fn check(bytes: &[u8], expected: &Expect) {
    let opened = Note::parse(bytes).and_then(|note| note.verify(&key(VERIFIER)));
    let shown = opened.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
    expected.assert_eq(&shown);
}

#[test]
fn the_published_note_is_signed_and_verified() {
    let signer: SignerKey = SIGNER.parse().unwrap();
    let mut note = Note::new(TEXT).unwrap();
    note.sign(&signer).unwrap();
    assert_eq!(note.to_text(), format!("{TEXT}\n{LINE}"));
    note.push(Signature::parse(OTHER_LINE.trim_end()).unwrap()).unwrap();
    assert_eq!(note.to_text(), published());

    let note = Note::parse(published().as_bytes()).unwrap();
    assert_eq!(note.text(), TEXT);
    assert_eq!(note.signatures()[1].name(), "EnochRoot");
    assert_eq!(note.signatures()[1].id(), [0xaf, 0x0c, 0xfe, 0x78]);
    assert_eq!(note.verify(&key(VERIFIER)), Ok(()));
    assert_eq!(note.verify(&key(OTHER)), Ok(()));
}

#[test]
fn keys_are_read_as_they_are_written() {
    assert_eq!(key(VERIFIER).to_string(), VERIFIER);
    assert_eq!(key(VERIFIER).short(), "PeterNeumann+c74f20a3");
    let signer: SignerKey = SIGNER.parse().unwrap();
    assert_eq!(signer.expose(), SIGNER);
    assert_eq!(signer.verifier(), &key(VERIFIER));
    let again = VerifierKey::from_bytes("PeterNeumann", &key(VERIFIER).to_bytes());
    assert_eq!(again, Ok(key(VERIFIER)));
}

#[test]
fn a_secret_is_never_shown() {
    let signer: SignerKey = SIGNER.parse().unwrap();
    let shown = format!("{signer:?} {signer:#?}");
    assert!(!shown.contains("AYEKFALVFGyNhPJEMzD1QIDr"), "{shown}");
    for broken in [
        SIGNER.strip_suffix('z').unwrap(),
        SIGNER.strip_prefix('P').unwrap(),
        &SIGNER.replace("c74f", "c74e"),
    ] {
        let error = broken.parse::<SignerKey>().unwrap_err();
        assert!(!error.to_string().contains("AYEKFA"), "{error}");
    }
}

#[test]
fn no_mangled_key_is_read() {
    for (text, secret) in [(VERIFIER, false), (SIGNER, true)] {
        let reads = |text: &str| match secret {
            false => text.parse::<VerifierKey>().is_ok(),
            true => text.parse::<SignerKey>().is_ok(),
        };
        assert!(reads(text));
        for from in 0..=text.len() {
            for to in from..=text.len() {
                let whole = from == 0 && to == text.len();
                let part = text.get(from..to).unwrap();
                assert_eq!(reads(part), whole, "{part}");
            }
        }
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] += 1;
            assert!(!reads(std::str::from_utf8(&bytes).unwrap()), "byte {at}");
        }
    }
    // From the tests of sumdb/note: wrong length and unknown type, both with a fitting id.
    let long = "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==";
    assert_eq!(long.parse::<VerifierKey>(), Err(BadKey::Base64));
    let other = "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert_eq!(other.parse::<VerifierKey>(), Err(BadKey::Type));
}

#[test]
fn weak_keys_and_bad_names_are_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(VerifierKey::from_bytes("a", &identity), Err(BadKey::Weak));
    assert_eq!(VerifierKey::from_bytes("a", &[0xff; 32]), Err(BadKey::Weak));
    let long = "n".repeat(256);
    for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b", "a\u{3000}", "a\u{7f}", long.as_str()] {
        assert_eq!(SignerKey::from_seed(name, &[1; 32]).unwrap_err(), BadKey::Name, "{name:?}");
    }
    assert!(SignerKey::from_seed("log.example.com/quell/default", &[1; 32]).is_ok());
}

#[test]
fn notes_are_read_strictly() {
    let note = published();
    check(note.as_bytes(), &expect!["ok"]);
    check(format!("{TEXT}\n{OTHER_LINE}{LINE}").as_bytes(), &expect!["ok"]);
    check(
        note.replace("answer", "Answer").as_bytes(),
        &expect!["the signature by `PeterNeumann+c74f20a3` is not for this text"],
    );
    check(
        format!("{TEXT}\n{OTHER_LINE}").as_bytes(),
        &expect!["no signature by `PeterNeumann+c74f20a3`"],
    );
    check(
        format!("{TEXT}\n{LINE}{LINE}").as_bytes(),
        &expect!["`PeterNeumann` signs more than once"],
    );
    check(TEXT.as_bytes(), &expect!["a note is a text, a blank line and signature lines"]);
    check(
        format!("{TEXT}\n").as_bytes(),
        &expect!["a note is a text, a blank line and signature lines"],
    );
    check(
        note.trim_end().as_bytes(),
        &expect!["a note is a text, a blank line and signature lines"],
    );
    check(
        format!("{note}\n").as_bytes(),
        &expect!["a note is a text, a blank line and signature lines"],
    );
    check(
        format!("{TEXT}{LINE}").as_bytes(),
        &expect!["a note is a text, a blank line and signature lines"],
    );
    check(
        format!("{TEXT}\r\n\n{LINE}").as_bytes(),
        &expect!["a note is UTF-8 text without control characters other than newline"],
    );
    check(
        b"\xff\n\n",
        &expect!["a note is UTF-8 text without control characters other than newline"],
    );
    check(b"", &expect!["a note is a text, a blank line and signature lines"]);
    check(
        note.replace("x08go", "x08 o").as_bytes(),
        &expect!["signature line 1 is not an em dash, a key name and base64 without slack"],
    );
    check(
        note.replace("x08go", "y08go").as_bytes(),
        &expect!["no signature by `PeterNeumann+c74f20a3`"],
    );
    check(
        note.replace("wJnAM=", "wJnAN=").as_bytes(),
        &expect!["signature line 1 is not an em dash, a key name and base64 without slack"],
    );
    check(
        note.replace("wJnAM=", "wJnAM").as_bytes(),
        &expect!["signature line 1 is not an em dash, a key name and base64 without slack"],
    );
    check(
        note.replace("\u{2014} Enoch", "- Enoch").as_bytes(),
        &expect!["signature line 2 is not an em dash, a key name and base64 without slack"],
    );
    check(
        note.replace("EnochRoot", "Enoch+Root").as_bytes(),
        &expect!["signature line 2 is not an em dash, a key name and base64 without slack"],
    );
    check(
        format!("{TEXT}\n\u{2014} a AAAAAA==\n{LINE}").as_bytes(),
        &expect!["signature line 1 is not an em dash, a key name and base64 without slack"],
    );
    check(format!("{TEXT}\n\u{2014} a AAAAAAE=\n{LINE}").as_bytes(), &expect!["ok"]);
}

#[test]
fn a_text_may_hold_blank_lines() {
    let signer: SignerKey = SIGNER.parse().unwrap();
    let mut note = Note::new("one\n\ntwo\n\n").unwrap();
    note.sign(&signer).unwrap();
    let again = Note::parse(note.to_text().as_bytes()).unwrap();
    assert_eq!(again, note);
    assert_eq!(again.verify(signer.verifier()), Ok(()));
    assert_eq!(Note::new("no newline"), Err(BadNote::Shape));
    assert_eq!(Note::new("a\tb\n"), Err(BadNote::Text));
}

#[test]
fn length_and_signatures_are_capped() {
    check(&vec![b'a'; MAX_BYTES + 1], &expect!["a note of `262145` bytes is longer than 262144"]);
    let many = |count: usize| {
        let line = |n: usize| format!("\u{2014} witness-{n} AAAAAAE=\n");
        format!("{TEXT}\n{LINE}{}", (1..count).map(line).collect::<String>())
    };
    check(many(MAX_SIGNATURES).as_bytes(), &expect!["ok"]);
    check(many(MAX_SIGNATURES + 1).as_bytes(), &expect!["more than 64 signatures"]);
}

proptest! {
    #[test]
    fn what_is_signed_is_read_back_and_nothing_else(
        text in "([ -~\u{e9}\n]{0,60}\n)",
        seed: [u8; 32],
        name in "[a-z./]{1,20}",
        place: prop::sample::Index,
        bit in 0_u8..8,
    ) {
        let signer = SignerKey::from_seed(&name, &seed).unwrap();
        let mut note = Note::new(text).unwrap();
        note.sign(&signer).unwrap();
        let mut bytes = note.to_text().into_bytes();
        let read = Note::parse(&bytes).unwrap();
        prop_assert_eq!(&read, &note);
        prop_assert_eq!(read.verify(signer.verifier()), Ok(()));

        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let opened = Note::parse(&bytes).and_then(|note| note.verify(signer.verifier()));
        prop_assert!(opened.is_err(), "byte {} of the note", at);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
        if let Ok(note) = Note::parse(&bytes) {
            prop_assert_eq!(note.to_text().into_bytes(), bytes);
        }
        let tail = format!("a\n\n\u{2014} {text}\n");
        if let Ok(note) = Note::parse(tail.as_bytes()) {
            prop_assert_eq!(note.to_text(), tail);
        }
        prop_assert!(text.parse::<VerifierKey>().is_err());
        prop_assert!(text.parse::<SignerKey>().is_err());
    }
}
