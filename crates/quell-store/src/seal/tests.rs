//! Store, tests only: a sealed value opens at its place and nowhere else.

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::salt::SeededSalts;

fn data_key(id: u32, first: u8) -> Arc<DataKey> {
    Arc::new(DataKey::new(id, &[first; KEY_BYTES]))
}

fn stored(day: i64) -> WrappedKey {
    WrappedKey {
        id: 3,
        tenant: "default".to_owned(),
        day,
        purpose: Purpose::Rows,
        nonce: [5; NONCE_BYTES],
        wrapped: Vec::new(),
    }
}

/// The published vector of draft-irtf-cfrg-xchacha-03, A.3.1: the crate does what the paper says.
#[test]
fn seals_as_the_draft_says() {
    let hex = |text: &str| HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap();
    let key: [u8; 32] = std::array::from_fn(|n| 0x80 + u8::try_from(n).unwrap());
    let nonce: Nonce = std::array::from_fn(|n| 0x40 + u8::try_from(n).unwrap());
    let place = hex("50515253c0c1c2c3c4c5c6c7");
    let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for \
                  the future, sunscreen would be it.";
    let mut sealed = Vec::new();
    DataKey::new(1, &key).seal_into(&nonce, &place, plain, &mut sealed).unwrap();
    let expected = hex(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f\
         4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f\
         76b2383565d3fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49",
    );
    assert_eq!(sealed, expected);
    assert_eq!(DataKey::new(1, &key).open(&nonce, &place, &sealed).unwrap(), plain);
}

#[test]
fn reads_keys_in_hexadecimal_and_base64_and_shows_none() {
    let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let (a, b) = (OuterKey::parse(hex).unwrap(), OuterKey::parse(&format!("{base64}\n")).unwrap());
    assert_eq!(a.0, b.0);
    for bad in [
        "",
        "00",
        hex.strip_prefix("00").unwrap(),
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "x",
    ] {
        let error = OuterKey::parse(bad).unwrap_err();
        expect!["the store's key is not 32 bytes in hexadecimal or base64"]
            .assert_eq(&error.to_string());
    }
    let shown = format!("{a:?} {:?} {:?}", Keyring::new(Some(a.clone())), data_key(7, 1));
    expect![[r#"OuterKey(..) Keyring { outer: Some(OuterKey(..)), .. } DataKey { id: 7, .. }"#]]
        .assert_eq(&shown);
}

#[test]
fn a_wrapped_key_opens_under_its_outer_key_and_in_its_place_alone() {
    let outer = OuterKey(Zeroizing::new([1; KEY_BYTES]));
    let mut key = stored(20_000);
    outer.wrap(&mut key, &[9; KEY_BYTES]).unwrap();
    assert_eq!(outer.unwrap(&key).unwrap().as_slice(), [9; KEY_BYTES]);
    assert!(OuterKey(Zeroizing::new([2; KEY_BYTES])).unwrap(&key).is_none());
    let moved = [
        WrappedKey { id: 4, ..key.clone() },
        WrappedKey { day: 20_001, ..key.clone() },
        WrappedKey { tenant: "other".to_owned(), ..key.clone() },
        WrappedKey { purpose: Purpose::Journal, ..key.clone() },
        WrappedKey { nonce: [6; NONCE_BYTES], ..key.clone() },
    ];
    assert!(moved.iter().all(|moved| outer.unwrap(moved).is_none()));
    let ring = Keyring::new(None);
    assert_eq!(ring.unwrap(&key).unwrap_err(), NoKey::NotAtHand(3));
    let ring = Keyring::new(Some(outer));
    ring.learn(&key, ring.unwrap(&key).unwrap());
    assert_eq!(ring.of_day("default", 20_000, Purpose::Rows).unwrap().id, 3);
    assert!(ring.of_day("default", 20_000, Purpose::Journal).is_none());
}

#[test]
fn no_nonce_comes_twice() {
    let mut salts = SeededSalts::new(1);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let mut seal = Seal::new(data_key(1, 1), data_key(2, 2), &mut salts).unwrap();
        for _ in 0..50 {
            assert!(seen.insert(seal.nonce()));
        }
        let (_, nonce) = seal.frame().unwrap();
        assert!(seen.insert(nonce));
    }
    assert!(Seal::clear().frame().is_none());
}

#[test]
fn days_end_at_midnight_in_utc() {
    let days = [-1, 0, DAY - 1, DAY, i64::MIN, i64::MAX].map(|t| day(Time(t)));
    assert_eq!(days, [-1, 0, 0, 1, -106_751_992, 106_751_991]);
}

proptest! {
    #[test]
    fn opens_what_was_sealed_and_nothing_else(
        plain in proptest::collection::vec(any::<u8>(), 0..300),
        key in "[a-z/]{0,20}",
        at in any::<prop::sample::Index>(),
        by in 1..=255_u8,
    ) {
        let mut seal =
            Seal::new(data_key(1, 1), data_key(2, 2), &mut SeededSalts::new(3)).unwrap();
        let here = row_place("default", "state", &[b"case", key.as_bytes()]);
        let sealed = seal.value(&here, &plain).unwrap();
        prop_assert_eq!(sealed.key, 2);
        let rows = data_key(2, 2);
        let opened = open_value(&rows, &here, &sealed.bytes);
        prop_assert_eq!(opened.as_ref(), Some(&plain));
        let other = row_place("default", "state", &[b"casex", key.as_bytes()]);
        prop_assert!(open_value(&rows, &other, &sealed.bytes).is_none());
        prop_assert!(open_value(&data_key(1, 1), &here, &sealed.bytes).is_none());
        let mut bytes = sealed.bytes.into_owned();
        let at = at.index(bytes.len());
        prop_assert!(open_value(&rows, &here, &bytes[..at]).is_none());
        bytes[at] ^= by;
        prop_assert!(open_value(&rows, &here, &bytes).is_none());
        prop_assert_eq!(Seal::clear().value(&here, &plain).unwrap().key, 0);
    }
}
