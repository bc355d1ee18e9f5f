//! Store, tests only: what lies on the disk of an encrypted store, and what happens to whoever
//! has another key, no key, or changes a byte.

use expect_test::expect;
use proptest::prelude::*;

use super::super::tests::{Folder, noise, outer};
use super::super::{DATABASE, Options, SqliteStore, SqliteViews};
use super::*;
use crate::audit::audit;
use crate::conformance::{T, call, draft, frame, signer, time};
use crate::frame::Content;
use crate::views::{Frames, Pick, Views};
use crate::{
    Blobs as _, Change, Commit, Committed, Effects, Erasure, Frame, Journal as _, Lease as _,
    Notice, Sequencer as _, WatchChange, WatchEntry,
};

/// A text that must not lie on the disk.
const SECRET: &str = "person-to-be-kept-secret@example.com";

fn open(folder: &Folder, key: Option<OuterKey>) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(&folder.path, Options { key, ..Options::default() })
}

fn views(folder: &Folder, key: Option<OuterKey>) -> SqliteViews {
    SqliteViews::open_with(&folder.path, key).unwrap()
}

fn commit(store: &mut SqliteStore, epoch: u64, frames: Vec<Frame>, effects: Effects) -> Committed {
    let commit = Commit { tenant: T.to_owned(), epoch, frames, effects };
    store.commit(&commit).unwrap()
}

/// Something in every table, with [`SECRET`] in whatever is encrypted.
fn everything() -> Effects {
    let secret = || SECRET.as_bytes().to_vec();
    let mut record = draft("case_opened", 1);
    record.body = format!(r#"{{"who":"{SECRET}"}}"#).into_bytes();
    let mut one = call(1, 3);
    one.account.login = Some(SECRET.to_owned());
    Effects {
        state: vec![Change::put("case", "cas_1".into(), secret())],
        records: vec![record, draft("order_permitted", 2)],
        outbox_adds: vec![one],
        watch: vec![WatchChange::Put(WatchEntry {
            kind: "sender".into(),
            value: "a@example.com".into(),
            until: Some(time(99)),
            body: secret(),
        })],
        notice_puts: vec![Notice { id: "n1".into(), due: time(3), body: secret() }],
        cursors: vec![("okta".into(), secret())],
        ..Effects::default()
    }
}

/// Fills a store that has the key, or none; gives the digest of its blob.
fn furnish(folder: &Folder, key: Option<OuterKey>) -> quell_core::id::Digest {
    let mut store = open(folder, key).unwrap();
    let epoch = store.acquire(T, "test").unwrap();
    let frames = vec![frame(1, SECRET.as_bytes()), frame(1, &SECRET.repeat(90).into_bytes())];
    commit(&mut store, epoch, frames, everything());
    store.keep(T, epoch, SECRET.as_bytes()).unwrap();
    store.checkpoint(T, epoch, time(99), &signer()).unwrap();
    assert!(store.purge().unwrap());
    quell_core::id::Digest::of(SECRET.as_bytes())
}

fn on_disk(folder: &Folder, needle: &[u8]) -> bool {
    std::fs::read_dir(&folder.path).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

/// Everything that can be read, one line each: the value, or why not.
fn read_all(views: &dyn Views) -> String {
    let digest = quell_core::id::Digest::of(SECRET.as_bytes());
    let told = |what: &str, read: Result<bool, ReadError>| match read {
        Ok(true) => format!("{what}: as written\n"),
        Ok(false) => format!("{what}: something else\n"),
        Err(error) => format!("{what}: {error}\n"),
    };
    let secret = SECRET.as_bytes();
    let frames: Result<Vec<_>, _> = Frames::new(views, T, 0).collect();
    [
        told("journal", frames.map(|f| f[0].content == Content::Kept(secret.to_vec()))),
        told("state", views.state_row(T, "case", "cas_1").map(|r| r.unwrap() == secret)),
        told(
            "records",
            views
                .records(T, Pick::All, 0, 9)
                .map(|r| r[0].body.as_ref().is_some_and(|(_, b)| b.ends_with(b"example.com\"}"))),
        ),
        told(
            "outbox",
            views.outbox(T, 9).map(|r| r[0].call.account.login.as_deref() == Some(SECRET)),
        ),
        told("watch", views.watch(T, time(1), None, 9).map(|r| r[0].body == secret)),
        told("notices", views.notices(T, time(9), 9).map(|r| r[0].body == secret)),
        told("cursors", views.cursors(T).map(|r| r[0].1 == secret)),
        told("blob", views.blob(T, &digest).map(|b| b.unwrap() == secret)),
    ]
    .concat()
}

#[test]
fn nothing_encrypted_lies_in_clear_on_the_disk() {
    let (clear, encrypted) = (Folder::new(), Folder::new());
    furnish(&clear, None);
    furnish(&encrypted, Some(outer(1)));
    // So that the search is known to find.
    assert!(on_disk(&clear, SECRET.as_bytes()) && on_disk(&clear, b"case_opened"));
    assert!(!on_disk(&encrypted, SECRET.as_bytes()) && on_disk(&encrypted, b"case_opened"));
    // Nor the outer key, nor what is left of a word that LZ4 keeps.
    assert!(!on_disk(&encrypted, &[1; 32]) && !on_disk(&encrypted, b"person-to-be-kept"));
    expect![[r#"
        journal: as written
        state: as written
        records: as written
        outbox: as written
        watch: as written
        notices: as written
        cursors: as written
        blob: as written
    "#]]
    .assert_eq(&read_all(&views(&encrypted, Some(outer(1)))));
    audit(&views(&encrypted, Some(outer(1))), T, Some(signer().key.verifier())).unwrap();
}

#[test]
fn without_the_key_numbers_are_read_and_contents_are_not() {
    let folder = Folder::new();
    furnish(&folder, Some(outer(1)));
    let blind = views(&folder, None);
    let head = blind.head(T).unwrap();
    assert_eq!((head.next_frame, head.next_record), (2, 2));
    expect![[r#"
        journal: frame `0` of tenant `default` cannot be read: the frame is encrypted under key `1`, which is not at hand
        state: row `case/cas_1` of `state` cannot be read: it is encrypted under key `2`, which is not at hand
        records: row `0` of `record` cannot be read: it is encrypted under key `2`, which is not at hand
        outbox: row `ord_j3efi4dojzvgrstuu5n6om6kzq/execute/1` of `outbox` cannot be read: it is encrypted under key `2`, which is not at hand
        watch: row `sender` of `watch` cannot be read: it is encrypted under key `2`, which is not at hand
        notices: row `n1` of `notice` cannot be read: it is encrypted under key `2`, which is not at hand
        cursors: row `okta` of `cursor` cannot be read: it is encrypted under key `2`, which is not at hand
        blob: row `sha256:99a6470f3d8605023194434db7ed1a8c4d5dfe3e74d42843187d7c1eddeaa3dc` of `blob` cannot be read: it is encrypted under key `2`, which is not at hand
    "#]]
    .assert_eq(&read_all(&blind));
    let other = read_all(&views(&folder, Some(outer(2))));
    assert_eq!(other.matches("does not open under the store's key").count(), 8, "{other}");
}

#[test]
fn a_wrong_or_missing_key_is_told_before_anything_is_written() {
    let folder = Folder::new();
    furnish(&folder, Some(outer(1)));
    let files = || -> Vec<Vec<u8>> {
        let names = [DATABASE, "quell.db-wal"];
        names.iter().filter_map(|name| std::fs::read(folder.path.join(name)).ok()).collect()
    };
    let before = files();
    let said = [None, Some(outer(2))].map(|key| open(&folder, key).unwrap_err().to_string());
    expect![[r#"
        the store is encrypted and no key was given
        the store is encrypted under another key than the one given"#]]
    .assert_eq(&said.join("\n"));
    assert_eq!(files(), before);
    // And nothing is lost.
    let mut store = open(&folder, Some(outer(1))).unwrap();
    let epoch = store.acquire(T, "test").unwrap();
    commit(&mut store, epoch, vec![frame(2, b"on")], Effects::default());
    assert!(read_all(&*crate::Store::views(&store).unwrap()).matches("as written").count() == 8);
}

#[test]
fn a_store_in_clear_goes_on_encrypted() {
    let folder = Folder::new();
    furnish(&folder, None);
    let mut store = open(&folder, Some(outer(1))).unwrap();
    let epoch = store.acquire(T, "test").unwrap();
    let effects = Effects { records: vec![draft("case_opened", 3)], ..Effects::default() };
    commit(&mut store, epoch, vec![frame(2, b"the second, in cipher")], effects);
    assert!(store.purge().unwrap());
    let views = views(&folder, Some(outer(1)));
    assert_eq!(read_all(&views).matches("as written").count(), 8);
    let audited = audit(&views, T, Some(signer().key.verifier())).unwrap();
    assert_eq!((audited.frames, audited.records), (3, 3));
    assert!(on_disk(&folder, SECRET.as_bytes()) && !on_disk(&folder, b"the second, in cipher"));
    drop(store);
    // From now on it does not open without: what would be written had no right to be in clear.
    assert_eq!(open(&folder, None).unwrap_err(), OpenError::NoKey);
}

#[test]
fn each_day_and_purpose_has_a_key_of_its_own() {
    let folder = Folder::new();
    let mut store = open(&folder, Some(outer(1))).unwrap();
    let epoch = store.acquire(T, "test").unwrap();
    for at in [0, 1, 86_399, 86_400, 200_000] {
        commit(&mut store, epoch, vec![frame(at, b"x")], Effects::default());
    }
    let days: Vec<(u32, i64, Purpose)> =
        all(&store.conn).unwrap().iter().map(|key| (key.id, key.day, key.purpose)).collect();
    let day = 20_454;
    let (j, r) = (Purpose::Journal, Purpose::Rows);
    let expected = [(1, 0, j), (2, 0, r), (3, 1, j), (4, 1, r), (5, 2, j), (6, 2, r)];
    assert_eq!(days, expected.map(|(id, after, of)| (id, day + after, of)));
    // A commit that is refused leaves no key behind that only memory knows.
    let early =
        Commit { tenant: T.to_owned(), epoch, frames: vec![frame(1, b"y")], ..Commit::default() };
    store.commit(&early).unwrap_err();
    let refused = Commit { frames: vec![frame(900_000, b"y"), frame(1, b"z")], ..early };
    store.commit(&refused).unwrap_err();
    commit(&mut store, epoch, vec![frame(900_000, b"y")], Effects::default());
    drop(store);
    let store = open(&folder, Some(outer(1))).unwrap();
    assert_eq!(all(&store.conn).unwrap().len(), 8);
    assert_eq!(audit(&views(&folder, Some(outer(1))), T, None).unwrap().frames, 6);
    // Erasing the key of a day's journal erases its frames, and nothing else.
    store.conn.execute("DELETE FROM data_key WHERE id = 3", []).unwrap();
    drop(store);
    let views = views(&folder, Some(outer(1)));
    let read = |seq| views.group(T, seq).map(|group| group.is_some());
    assert_eq!(read(0), Ok(true));
    expect!["frame `3` of tenant `default` cannot be read: the frame is encrypted under key `3`, which is not at hand"]
        .assert_eq(&read(3).unwrap_err().to_string());
    assert_eq!(read(4), Ok(true));
}

#[test]
fn another_outer_key_wraps_the_data_keys_anew() {
    let folder = Folder::new();
    furnish(&folder, Some(outer(1)));
    let mut store = open(&folder, Some(outer(1))).unwrap();
    let old = all(&store.conn).unwrap();
    assert_eq!(store.rekey(&outer(2)).unwrap(), 2);
    assert!(store.purge().unwrap());
    drop(store);
    assert_eq!(open(&folder, Some(outer(1))).unwrap_err(), OpenError::OtherKey);
    assert!(old.iter().all(|key| !on_disk(&folder, &key.wrapped)), "the old wrapping is left");
    drop(open(&folder, Some(outer(2))).unwrap());
    assert_eq!(read_all(&views(&folder, Some(outer(2)))).matches("as written").count(), 8);
    // A store in clear has nothing to wrap.
    let clear = Folder::new();
    furnish(&clear, None);
    assert_eq!(open(&clear, None).unwrap().rekey(&outer(2)).unwrap(), 0);
}

#[test]
fn what_is_erased_stays_erased_under_a_key() {
    let folder = Folder::new();
    furnish(&folder, Some(outer(1)));
    let mut store = open(&folder, Some(outer(1))).unwrap();
    let epoch = store.acquire(T, "test").unwrap();
    let rest = crate::Body::pack(b"what is left").unwrap();
    let erasures =
        vec![Erasure::Record { seq: 0 }, Erasure::Frame { seq: 0 }, Erasure::Part { seq: 1, rest }];
    commit(&mut store, epoch, vec![], Effects { erasures, ..Effects::default() });
    let views = views(&folder, Some(outer(1)));
    let group = views.group(T, 0).unwrap().unwrap();
    assert_eq!(group[0].content, Content::Erased { raw_bytes: 36 });
    assert_eq!(group[1].content, Content::Kept(b"what is left".to_vec()));
    let records = views.records(T, Pick::All, 0, 9).unwrap();
    assert_eq!((records[0].body.is_some(), records[1].body.is_some()), (false, true));
    let audited = audit(&views, T, Some(signer().key.verifier())).unwrap();
    assert_eq!((audited.erased_frames, audited.erased_records), (1, 1));
}

/// The columns that hold ciphertexts.
const SEALED: [(&str, &str); 8] = [
    ("journal", "bytes"),
    ("state", "value"),
    ("record", "body"),
    ("outbox", "body"),
    ("watch", "body"),
    ("notice", "body"),
    ("cursor", "value"),
    ("blob", "bytes"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any byte of any ciphertext: reading names the place, and gives nothing.
    #[test]
    fn a_changed_byte_is_found_and_named(
        column in 0..SEALED.len(),
        at in any::<prop::sample::Index>(),
        by in 1..=255_u8,
        mended in any::<bool>(),
    ) {
        let folder = Folder::new();
        furnish(&folder, Some(outer(1)));
        let store = open(&folder, Some(outer(1))).unwrap();
        let (table, name) = SEALED[column];
        let sql = format!("SELECT {name} FROM {table} LIMIT 1");
        let mut bytes: Vec<u8> = store.conn.query_row(&sql, [], |row| row.get(0)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if table == "journal" && mended {
            mend(&mut bytes);
        }
        let key = if table == "outbox" { "stage < 2" } else { "1" };
        let sql = format!(
            "UPDATE {table} SET {name} = ?1 WHERE {key} AND {name} = (SELECT {name} FROM {table} LIMIT 1)"
        );
        prop_assert_eq!(store.conn.execute(&sql, [bytes]).unwrap(), 1);
        let told = read_all(&views(&folder, Some(outer(1))));
        prop_assert_eq!(told.matches("as written").count(), 7, "{}", told);
        let bad = told.lines().find(|line| !line.ends_with("as written")).unwrap();
        let named = bad.contains(&format!("of `{table}`")) || bad.contains("frame `0`");
        prop_assert!(named && bad.contains("cannot be read"), "{}", bad);
    }

    /// A value that is moved to another row does not open there.
    #[test]
    fn a_moved_value_does_not_open(seed in any::<u64>()) {
        let folder = Folder::new();
        furnish(&folder, Some(outer(1)));
        let mut store = open(&folder, Some(outer(1))).unwrap();
        let epoch = store.acquire(T, "test").unwrap();
        let state = vec![Change::put("case", "cas_2".into(), noise(seed, 40))];
        let records = vec![draft("case_opened", 1)];
        let frames = vec![frame(1, &noise(seed, 50))];
        commit(&mut store, epoch, frames, Effects { state, records, ..Effects::default() });
        store.conn.execute_batch(
            "UPDATE state SET value = (SELECT value FROM state WHERE key = 'cas_2')
             WHERE key = 'cas_1';
             UPDATE record SET body = (SELECT body FROM record WHERE seq = 2) WHERE seq = 0;
             UPDATE journal SET frames = 1, bytes = (SELECT bytes FROM journal WHERE seq = 2)
             WHERE seq = 0;",
        ).unwrap();
        let told = read_all(&views(&folder, Some(outer(1))));
        let moved = told.matches("its bytes have changed or are another").count();
        prop_assert_eq!(moved, 3, "{}", told);
    }
}

/// Makes the checksum of the first frame right again, where its lengths allow.
fn mend(bytes: &mut [u8]) {
    let tenant = 10 + usize::from(bytes[9]) + 8;
    let Some(name) = bytes.get(tenant).map(|length| usize::from(*length)) else { return };
    let end = tenant + 1 + name + 64 + 8;
    let Some(length) = bytes.get(end - 4..end) else { return };
    let stored = usize::try_from(u32::from_le_bytes(length.try_into().unwrap())).unwrap();
    let Some(body) = bytes.get(end + 4..(end + 4).saturating_add(stored)) else { return };
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..end]), body);
    bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
}
