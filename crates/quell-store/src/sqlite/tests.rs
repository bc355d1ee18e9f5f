//! Store, tests only: the suite on SQLite, and what only SQLite can show.

use std::path::{Path, PathBuf};

use expect_test::expect;
use proptest::prelude::*;

use super::{DATABASE, LOCK, OpenError, Options, SqliteStore, SqliteViews};
use crate::audit::audit;
use crate::conformance::{Make, T, call, conformance, draft, frame, signer, time};
use crate::views::Frames;
use crate::{
    Blobs as _, Body, Change, Commit, CommitError, Committed, Effects, Erasure, Frame,
    Journal as _, Lease as _, Ledger as _, OuterKey, Sequencer as _, Store, Views, WriteError,
};

mod suite {
    use super::*;
    conformance!(Folder::new());
}

mod encrypted_suite {
    use super::*;
    conformance!(Folder::encrypted());
}

/// A store in a folder that vanishes with it.
pub(super) struct Folder {
    _folder: tempfile::TempDir,
    pub(super) path: PathBuf,
    key: Option<OuterKey>,
}

/// A key of 32 equal bytes.
pub(super) fn outer(byte: u8) -> OuterKey {
    OuterKey::parse(&format!("{byte:02x}").repeat(32)).unwrap()
}

impl Folder {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        Self { _folder: folder, path, key: None }
    }

    pub(super) fn encrypted() -> Self {
        Self { key: Some(outer(7)), ..Self::new() }
    }

    pub(super) fn sqlite(&self, options: Options) -> SqliteStore {
        SqliteStore::open(&self.path, options).unwrap()
    }
}

impl Make for Folder {
    fn open(&mut self) -> Box<dyn Store> {
        Box::new(self.sqlite(Options { key: self.key.clone(), ..Options::default() }))
    }
}

/// A body of `bytes` that does not compress.
pub(super) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..bytes).map(|_| next()).collect()
}

fn commit(
    store: &mut SqliteStore,
    epoch: u64,
    frames: Vec<Frame>,
    effects: Effects,
) -> Result<Committed, CommitError> {
    store.commit(&Commit { tenant: T.to_owned(), epoch, frames, effects })
}

#[test]
fn a_second_process_is_refused() {
    let folder = Folder::new();
    let store = folder.sqlite(Options::default());
    let error = SqliteStore::open(&folder.path, Options::default()).unwrap_err();
    let OpenError::InUse { pid, .. } = &error else { panic!("{error}") };
    assert_eq!(*pid, Some(std::process::id()));
    let text = error.to_string().replace(folder.path.to_str().unwrap(), "DIR");
    let text = text.replace(&std::process::id().to_string(), "PID");
    expect!["the store `DIR` is in use by process `PID`"].assert_eq(&text);
    drop(store);
    folder.sqlite(Options::default());
    // A lock file that is left behind locks nothing.
    assert!(folder.path.join(LOCK).exists());
    folder.sqlite(Options::default());
}

#[test]
fn says_what_cannot_be_opened() {
    let folder = Folder::new();
    let error = SqliteViews::open(&folder.path).unwrap_err();
    assert!(error.to_string().starts_with("the store cannot be read: "), "{error}");
    std::fs::create_dir(&folder.path).unwrap();
    std::fs::write(folder.path.join(DATABASE), [b'x'; 8192]).unwrap();
    let error = SqliteStore::open(&folder.path, Options::default()).unwrap_err();
    expect!["the store cannot be opened: the store is damaged: file is not a database"]
        .assert_eq(&error.to_string());
    let file = folder.path.join("file");
    std::fs::write(&file, "").unwrap();
    let error = SqliteStore::open(&file, Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::Folder { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn the_folder_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let mut store = folder.sqlite(Options::default());
    store.acquire(T, "test").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path), 0o700);
    let files: Vec<PathBuf> =
        std::fs::read_dir(&folder.path).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 4, "database, log, index of the log, lock: {files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600));
}

/// A commit that fails at its very end, here by a constraint that is checked only then.
#[test]
fn an_unsure_commit_halts_the_store() {
    let folder = Folder::new();
    let mut store = folder.sqlite(Options::default());
    let epoch = store.acquire(T, "test").unwrap();
    store
        .conn
        .execute_batch(
            "PRAGMA foreign_keys = ON; CREATE TEMP TABLE one (x INTEGER PRIMARY KEY);
             CREATE TEMP TABLE two (x REFERENCES one (x) DEFERRABLE INITIALLY DEFERRED);",
        )
        .unwrap();
    let error = store
        .write(|conn, _| {
            conn.execute("UPDATE lease SET holder = 'nobody'", []).map_err(super::failed)?;
            conn.execute("INSERT INTO two VALUES (1)", []).map_err(super::failed)
        })
        .unwrap_err();
    expect!["the store cannot say whether the write happened, open it again: the store cannot write: FOREIGN KEY constraint failed"].assert_eq(&error.to_string());
    let halted = CommitError::Write(WriteError::Halted);
    assert_eq!(commit(&mut store, epoch, vec![], Effects::default()).unwrap_err(), halted);
    assert_eq!(store.claim(T, epoch, time(1), time(2), 9).unwrap_err(), WriteError::Halted);
    assert_eq!(store.purge().unwrap_err(), WriteError::Halted);
    drop(store);
    let mut store = folder.sqlite(Options::default());
    assert_eq!(store.views().unwrap().head(T).unwrap().holder.as_deref(), Some("test"));
    commit(&mut store, epoch, vec![], Effects::default()).unwrap();
}

#[test]
fn a_full_disk_is_said_and_lived_through() {
    let folder = Folder::new();
    let mut store = folder.sqlite(Options { max_pages: Some(120), ..Options::default() });
    let epoch = store.acquire(T, "test").unwrap();
    let effects = Effects {
        records: vec![draft("case_opened", 1)],
        outbox_adds: vec![call(1, 1)],
        ..Effects::default()
    };
    commit(&mut store, epoch, vec![frame(1, b"one")], effects).unwrap();
    let big = |n: u64| frame(2, &noise(n, 100_000));
    let mut full = Vec::new();
    for n in 0..6 {
        let effects = Effects {
            state: vec![Change::put("case", format!("cas_{n}"), vec![1])],
            ..Effects::default()
        };
        full.push(commit(&mut store, epoch, vec![big(n)], effects));
    }
    let done = full.iter().filter(|result| result.is_ok()).count();
    assert!((1..6).contains(&done), "{done}");
    let error = full.pop().unwrap().unwrap_err();
    assert_eq!(error, CommitError::Write(WriteError::Full));
    expect!["the disk is full"].assert_eq(&error.to_string());
    assert_eq!(store.keep(T, epoch, &noise(9, 200_000)).unwrap_err(), WriteError::Full);
    // What fits is still written, and nothing of what did not.
    assert_eq!(store.claim(T, epoch, time(1), time(2), 9).unwrap(), [call(1, 1)]);
    let views = store.views().unwrap();
    assert_eq!(views.state(T, "case", None, 99).unwrap().len(), done);
    assert_eq!(audit(&*views, T, None).unwrap().frames, done as u64 + 1);
    drop((store, views));
    // With space again it goes on.
    let mut store = folder.sqlite(Options::default());
    let epoch = store.acquire(T, "test").unwrap();
    commit(&mut store, epoch, vec![big(9)], Effects::default()).unwrap();
    assert_eq!(audit(&*store.views().unwrap(), T, None).unwrap().frames, done as u64 + 2);
}

#[test]
fn upkeep_beside_the_writer() {
    let folder = Folder::new();
    let mut store = folder.sqlite(Options::default());
    let epoch = store.acquire(T, "test").unwrap();
    let mut maintainer = store.maintainer().unwrap();
    commit(&mut store, epoch, vec![frame(1, &noise(1, 500_000))], Effects::default()).unwrap();
    let first = maintainer.maintain().unwrap();
    assert!(first.log_bytes > 500_000 && first.moved_bytes == first.log_bytes, "{first:?}");
    // All of it moved and no reader in it: the next commit begins at the start of the log.
    commit(&mut store, epoch, vec![frame(1, b"small")], Effects::default()).unwrap();
    let second = maintainer.maintain().unwrap();
    assert!(second.log_bytes < 100_000, "{second:?}");
    assert_eq!(store.wal().restarts, 0);
}

#[test]
fn the_writer_restarts_a_log_beyond_its_limit() {
    let folder = Folder::new();
    let mut store = folder.sqlite(Options { wal_limit_bytes: 1 << 20, ..Options::default() });
    let epoch = store.acquire(T, "test").unwrap();
    let views = SqliteViews::open(&folder.path).unwrap();
    for n in 0..40 {
        commit(&mut store, epoch, vec![frame(1, &noise(n, 100_000))], Effects::default()).unwrap();
        views.head(T).unwrap();
    }
    let figures = store.wal();
    assert!(figures.restarts >= 2 && figures.refused == 0, "{figures:?}");
    let log = std::fs::metadata(folder.path.join("quell.db-wal")).unwrap().len();
    assert!(log < 2 << 20, "{log}");
    assert_eq!(audit(&views, T, None).unwrap().frames, 40);
}

/// A reader that keeps its moment makes the restart wait, but loses nothing.
#[test]
fn a_long_reader_only_delays() {
    let folder = Folder::new();
    let mut store = folder.sqlite(Options { wal_limit_bytes: 1 << 18, ..Options::default() });
    let epoch = store.acquire(T, "test").unwrap();
    store.conn.busy_timeout(std::time::Duration::from_millis(1)).unwrap();
    let reader = super::connect(&folder.path.join(DATABASE), false).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM lease;").unwrap();
    for n in 0..6 {
        commit(&mut store, epoch, vec![frame(1, &noise(n, 100_000))], Effects::default()).unwrap();
    }
    let held = store.wal();
    assert!(held.refused > 0 && held.restarts == 0, "{held:?}");
    reader.execute_batch("COMMIT").unwrap();
    commit(&mut store, epoch, vec![frame(1, b"x")], Effects::default()).unwrap();
    assert_eq!(store.wal().restarts, 1);
    assert_eq!(audit(&*store.views().unwrap(), T, None).unwrap().frames, 7);
}

/// What was erased is in no byte of the folder once it is purged.
#[test]
fn purged_bytes_are_gone() {
    let folder = Folder::new();
    let mut store = folder.sqlite(Options::default());
    let epoch = store.acquire(T, "test").unwrap();
    let secret = noise(77, 3000);
    let mut record = draft("case_opened", 1);
    record.body = br#"{"who":"person-to-be-forgotten@example.com"}"#.to_vec();
    let frames = vec![
        Frame { body: Body::pack(&secret).unwrap(), ..frame(1, b"") },
        frame(1, b"another person"),
    ];
    commit(&mut store, epoch, frames, Effects { records: vec![record], ..Effects::default() })
        .unwrap();
    assert!(store.purge().unwrap());
    let holds = |needle: &[u8]| {
        std::fs::read_dir(&folder.path).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(needle.len()).any(|window| window == needle)
        })
    };
    let needles: [&[u8]; 2] = [&secret[100..164], b"person-to-be-forgotten"];
    assert!(needles.iter().all(|needle| holds(needle)));
    let erasures = vec![Erasure::Frame { seq: 0 }, Erasure::Record { seq: 0 }];
    commit(&mut store, epoch, vec![], Effects { erasures, ..Effects::default() }).unwrap();
    assert!(store.purge().unwrap());
    assert!(needles.iter().all(|needle| !holds(needle)));
    assert!(holds(b"another person"));
}

/// A database of several pages with everything in it, closed.
fn furnished() -> (Folder, Vec<u8>) {
    let folder = Folder::new();
    let mut store = folder.sqlite(Options::default());
    let epoch = store.acquire(T, "test").unwrap();
    for n in 0..30_u32 {
        let effects = Effects {
            state: vec![Change::put("case", format!("cas_{n}"), noise(n.into(), 300))],
            records: vec![draft("case_opened", n.into())],
            outbox_adds: vec![call(n, n.into())],
            cursors: vec![("okta".into(), vec![1])],
            ..Effects::default()
        };
        commit(&mut store, epoch, vec![frame(n.into(), &noise(n.into(), 900))], effects).unwrap();
    }
    store.keep(T, epoch, &noise(1, 9000)).unwrap();
    store.checkpoint(T, epoch, time(99), &signer()).unwrap();
    drop(store);
    let bytes = std::fs::read(folder.path.join(DATABASE)).unwrap();
    (folder, bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Damaged databases give errors or what is still whole, never a panic.
    #[test]
    fn survives_a_damaged_database(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        static FURNISHED: std::sync::OnceLock<(Folder, Vec<u8>)> = std::sync::OnceLock::new();
        let mut bytes = FURNISHED.get_or_init(furnished).1.clone();
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        let folder = Folder::new();
        std::fs::create_dir(&folder.path).unwrap();
        std::fs::write(folder.path.join(DATABASE), &bytes).unwrap();
        if let Ok(mut store) = SqliteStore::open(&folder.path, Options::default()) {
            let views = store.views().unwrap();
            let _audited = audit(&*views, T, Some(signer().key.verifier()));
            let _frames = Frames::new(&*views, T, 0).count();
            let _rows = (
                views.head(T), views.state(T, "case", None, 99), views.outbox(T, 99),
                views.cursors(T), views.counts(T), views.checkpoint(T, None),
                views.blob(T, &quell_core::id::Digest::of(&noise(1, 9000))),
            );
            if let Ok(epoch) = store.acquire(T, "test") {
                let _orphans = store.orphans(T, epoch, time(1000));
                let _claimed = store.claim(T, epoch, time(1000), time(1001), 99);
                let effects = Effects { records: vec![draft("x", 1)], ..Effects::default() };
                let _committed = commit(&mut store, epoch, vec![frame(99, b"x")], effects);
                let _checkpoint = store.checkpoint(T, epoch, time(1000), &signer());
            }
        }
    }
}
