//! Store, tests only: the files of a real store as a crash leaves them. Whatever part of the last
//! operation reached the disk, all of what was answered is there, and the rest is whole or absent.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;
use quell_core::id::Digest;

use super::tests::{Folder, noise};
use super::{DATABASE, Options, SqliteStore, SqliteViews};
use crate::audit::audit;
use crate::conformance::{T, call, draft, frame, signer, time};
use crate::views::{Frames, StateRows};
use crate::{
    CallKey, Change, Commit, Effects, Erasure, Journal as _, Lease as _, Ledger as _, Pick,
    Sequencer as _, Store as _, Views,
};

const LOG: &str = "quell.db-wal";

/// Sectors reach the disk in any order.
const SECTOR: usize = 512;

/// The header of the log is synced before anything else of it is written again.
const LOG_HEADER: usize = 32;

/// A limit of the log that a few commits reach.
const SMALL: u64 = 200_000;

/// One thing that a process does with its store.
#[derive(Debug, Clone)]
enum Step {
    Commit { frames: usize, bytes: usize, records: usize },
    Claim,
    Done,
    Checkpoint,
    Erase,
    Maintain,
    Purge,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_usize, 0..30_000_usize, 0..3_usize)
            .prop_map(|(frames, bytes, records)| Step::Commit { frames, bytes, records }),
        1 => Just(Step::Claim),
        1 => Just(Step::Done),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Erase),
        2 => Just(Step::Maintain),
        1 => Just(Step::Purge),
    ]
}

/// The files of a store.
#[derive(Clone, PartialEq)]
struct Files {
    database: Vec<u8>,
    log: Vec<u8>,
}

impl Files {
    fn read(folder: &Path) -> Self {
        let read = |name| fs::read(folder.join(name)).unwrap_or_default();
        Self { database: read(DATABASE), log: read(LOG) }
    }

    fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(DATABASE), &self.database).unwrap();
        fs::write(folder.join(LOG), &self.log).unwrap();
    }

    /// What may be on the disk when the process dies between `before` and `after`. A step that
    /// changes both files moves the log into the database and syncs that before it writes to the
    /// log again.
    fn torn(before: &Self, after: &Self, dice: &mut Dice) -> Self {
        let moving = before.database != after.database;
        if moving && (before.log == after.log || dice.below(2) == 0) {
            let database = mix(&before.database, &after.database, dice);
            return Self { database, log: before.log.clone() };
        }
        let database = after.database.clone();
        let header = |log: &[u8]| log.get(..LOG_HEADER).map(<[u8]>::to_vec);
        if header(&before.log) == header(&after.log) {
            return Self { database, log: mix(&before.log, &after.log, dice) };
        }
        // A log that was emptied or restarted: still the old one, or the new header and any part
        // of what follows.
        if dice.below(2) == 0 {
            return Self { database, log: before.log.clone() };
        }
        let Some(new) = header(&after.log) else {
            return Self { database, log: after.log.clone() };
        };
        let mut log = mix(&before.log, &after.log, dice);
        log.resize(log.len().max(LOG_HEADER), 0);
        log[..LOG_HEADER].copy_from_slice(&new);
        Self { database, log }
    }
}

/// Chance out of a seed.
struct Dice {
    state: u64,
    /// One sector in so many is written.
    written: u64,
}

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % sides
    }
}

/// Each sector as it was or as it became; a file that grows may end anywhere in between.
fn mix(before: &[u8], after: &[u8], dice: &mut Dice) -> Vec<u8> {
    let longest = before.len().max(after.len());
    let mut mixed = Vec::with_capacity(longest);
    for at in (0..longest).step_by(SECTOR) {
        let end = (at + SECTOR).min(longest);
        let written = dice.written;
        let pick = if dice.below(written) == 0 { after } else { before };
        let sector = pick.get(at..end.min(pick.len()));
        mixed.extend_from_slice(sector.unwrap_or_default());
        mixed.resize(end, 0);
    }
    if before.len() < after.len() && dice.below(2) == 0 {
        let grown = u64::try_from(after.len() - before.len()).unwrap();
        mixed.truncate(before.len() + usize::try_from(dice.below(grown + 1)).unwrap());
    }
    mixed
}

/// Everything that a reader sees, in short.
fn seen(views: &dyn Views) -> Digest {
    let frames: Vec<_> = Frames::new(views, T, 0).map(Result::unwrap).collect();
    let rows: Vec<_> = StateRows::new(views, T, "case").map(Result::unwrap).collect();
    let records = views.records(T, Pick::All, 0, 10_000).unwrap();
    let text = format!(
        "{frames:?} {rows:?} {records:?} {:?} {:?} {:?} {:?}",
        views.head(T).map(|head| (head.next_frame, head.next_record)),
        views.outbox(T, 10_000),
        views.tree_size(T),
        views.checkpoint(T, None),
    );
    Digest::of(text.as_bytes())
}

/// A process at work.
struct Process {
    store: SqliteStore,
    epoch: u64,
    count: u32,
}

impl Process {
    fn start(folder: &Path, wal_limit_bytes: u64) -> Self {
        let options = Options { wal_limit_bytes, ..Options::default() };
        let mut store = SqliteStore::open(folder, options).unwrap();
        let epoch = store.acquire(T, "test").unwrap();
        let count = u32::try_from(store.views().unwrap().head(T).unwrap().next_frame).unwrap();
        Self { store, epoch, count }
    }

    fn commit(&mut self, frames: usize, bytes: usize, records: usize) {
        self.count += 1;
        let n = self.count;
        let body = noise(n.into(), bytes);
        let at = i64::from(n);
        let effects = Effects {
            state: vec![Change::put("case", format!("cas_{}", n % 7), body.clone())],
            records: (0..records).map(|_| draft("case_opened", n.into())).collect(),
            outbox_adds: vec![call(1000 + n, at)],
            ..Effects::default()
        };
        let frames = (0..frames).map(|_| frame(at, &body)).collect();
        self.effect(frames, effects);
    }

    fn effect(&mut self, frames: Vec<crate::Frame>, effects: Effects) {
        let commit = Commit { tenant: T.to_owned(), epoch: self.epoch, frames, effects };
        self.store.commit(&commit).unwrap();
    }

    /// True while the tree lacks a record.
    fn behind(&self) -> bool {
        let views = self.store.views().unwrap();
        views.tree_size(T).unwrap() < views.head(T).unwrap().next_record
    }

    fn step(&mut self, step: &Step) {
        let epoch = self.epoch;
        match *step {
            Step::Commit { frames, bytes, records } => self.commit(frames, bytes, records),
            Step::Claim => {
                self.store.claim(T, epoch, time(1000), time(2000), 3).unwrap();
            }
            Step::Done => {
                let rows = self.store.views().unwrap().outbox(T, 2).unwrap();
                let outbox_dones = rows.iter().map(|row| CallKey::of(&row.call)).collect();
                self.effect(vec![], Effects { outbox_dones, ..Effects::default() });
            }
            // One transaction a step, so that there is nothing in between.
            Step::Checkpoint if self.behind() => {
                self.store.integrate(T, epoch, 4096).unwrap();
            }
            Step::Checkpoint => {
                self.store.checkpoint(T, epoch, time(1000), &signer()).unwrap();
            }
            Step::Erase => {
                let head = self.store.views().unwrap().head(T).unwrap();
                let record = head.next_record.checked_sub(1).map(|seq| Erasure::Record { seq });
                let frame = head.next_frame.checked_sub(1).map(|seq| Erasure::Frame { seq });
                let erasures = record.into_iter().chain(frame).collect();
                self.effect(vec![], Effects { erasures, ..Effects::default() });
            }
            Step::Maintain => {
                self.store.maintainer().unwrap().maintain().unwrap();
            }
            Step::Purge => {
                self.store.purge().unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_reached_the_disk(
        steps in proptest::collection::vec(steps(), 1..14),
        seed in any::<u64>(),
    ) {
        let folder = Folder::new();
        let mut process = Process::start(&folder.path, SMALL);
        let mut dice = Dice { state: seed | 1, written: 2 };
        for step in &steps {
            let (before, was) = (Files::read(&folder.path), seen(&*process.store.views().unwrap()));
            process.step(step);
            let (after, is) = (Files::read(&folder.path), seen(&*process.store.views().unwrap()));
            // One time as all of it, twice as some of it, with few or many sectors written.
            for round in 0..3_u64 {
                dice.written = if round == 1 { 2 } else { 1 + dice.below(20) };
                let files = match round {
                    0 => after.clone(),
                    _ => Files::torn(&before, &after, &mut dice),
                };
                let crashed = Folder::new();
                files.write(&crashed.path);
                // An auditor may come before the next process.
                let found = seen(&SqliteViews::open(&crashed.path).unwrap());
                prop_assert!(found == is || (round > 0 && found == was), "{step:?} is torn");
                if round < 2 {
                    continue;
                }
                let mut next = Process::start(&crashed.path, SMALL);
                let views = next.store.views().unwrap();
                prop_assert_eq!(seen(&*views), found);
                audit(&*views, T, Some(signer().key.verifier())).unwrap();
                next.count = 1000;
                next.commit(1, 100, 1);
                next.step(&Step::Checkpoint);
                audit(&*views, T, Some(signer().key.verifier())).unwrap();
            }
        }
    }
}

/// Copies of the files while commits run: whatever was answered before the copy is in it.
#[test]
fn whatever_moment_it_dies() {
    const COMMITS: u64 = 150;
    let folder = Folder::new();
    let mut process = Process::start(&folder.path, u64::MAX);
    process.commit(0, 10, 0);
    let answered = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let mut copies = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..COMMITS {
                let bytes = usize::try_from(n * 7919 % 20_000).unwrap();
                process.commit(1, bytes, 1);
                answered.store(n + 1, Ordering::SeqCst);
            }
            over.store(true, Ordering::SeqCst);
        });
        while !over.load(Ordering::SeqCst) {
            let least = answered.load(Ordering::SeqCst);
            let files = Files::read(&folder.path);
            let most = answered.load(Ordering::SeqCst) + 1;
            let crashed = Folder::new();
            files.write(&crashed.path);
            let views = SqliteViews::open(&crashed.path).unwrap();
            let audited = audit(&views, T, None).unwrap();
            assert!((least..=most).contains(&audited.frames), "{least} {most} {audited:?}");
            assert_eq!(audited.frames, audited.records);
            copies += 1;
        }
    });
    assert!(copies > 0);
}
