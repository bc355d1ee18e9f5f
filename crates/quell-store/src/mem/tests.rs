//! Store, tests only: the suite in memory, and every fault of every write.

use super::{Fault, MemDisk, Write};
use crate::audit::audit;
use crate::conformance::{Make, T, call, conformance, draft, frame, signer, time};
use crate::{CallKey, Change, Commit, Effects, Erasure, SeededSalts, Store, WriteError};

mod suite {
    use super::*;
    conformance!(Disk(MemDisk::new(), 0));
}

struct Disk(MemDisk, u64);

impl Make for Disk {
    fn open(&mut self) -> Box<dyn Store> {
        self.1 += 1;
        Box::new(self.0.open(Box::new(SeededSalts::new(self.1))))
    }
}

/// Everything that can be seen, as text.
fn seen(disk: &MemDisk) -> String {
    let views = disk.views();
    let views: &dyn crate::Views = &views;
    let blob = quell_core::id::Digest::of(b"blob");
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        views.head(T),
        views.state(T, "case", None, 10),
        views.records(T, crate::Pick::All, 0, 10),
        views.outbox(T, 10),
        views.blob(T, &blob),
        views.tree_size(T),
        views.checkpoint(T, None),
    )
}

/// Does one write of each kind on a store that has something for each of them.
fn write(store: &mut dyn Store, epoch: u64, write: Write) -> Result<(), WriteError> {
    let unwrap = |error: crate::CommitError| match error {
        crate::CommitError::Write(error) => error,
        other => panic!("{other}"),
    };
    let untree = |error: crate::SequenceError| match error {
        crate::SequenceError::Write(error) => error,
        other => panic!("{other}"),
    };
    let unlease = |error: crate::LeaseError| match error {
        crate::LeaseError::Write(error) => error,
        other => panic!("{other}"),
    };
    match write {
        Write::Commit => {
            let effects = Effects {
                state: vec![Change::put("case", "cas_2".into(), vec![2])],
                records: vec![draft("case_opened", 2)],
                erasures: vec![Erasure::Record { seq: 0 }],
                ..Effects::default()
            };
            let frames = vec![frame(2, b"two")];
            let commit = Commit { tenant: T.to_owned(), epoch, frames, effects };
            store.commit(&commit).map(|_| ()).map_err(unwrap)
        }
        Write::Claim => store.claim(T, epoch, time(9), time(99), 9).map(|_| ()),
        Write::Release => store.release(T, epoch, &[CallKey::of(&call(1, 1))]),
        Write::Keep => store.keep(T, epoch, b"other").map(|_| ()),
        Write::Discard => store.discard(T, epoch, &quell_core::id::Digest::of(b"blob")),
        Write::Integrate => store.integrate(T, epoch, 9).map(|_| ()).map_err(untree),
        Write::Checkpoint => {
            store.checkpoint(T, epoch, time(9), &signer()).map(|_| ()).map_err(untree)
        }
        Write::Acquire => store.acquire(T, "other").map(|_| ()).map_err(unlease),
    }
}

const WRITES: [Write; 8] = [
    Write::Commit,
    Write::Claim,
    Write::Release,
    Write::Keep,
    Write::Discard,
    Write::Integrate,
    Write::Checkpoint,
    Write::Acquire,
];

/// A disk with one of everything, call 1 claimed and call 2 waiting.
fn furnished() -> (MemDisk, Box<dyn Store>, u64) {
    let disk = MemDisk::new();
    let mut store: Box<dyn Store> = Box::new(disk.open(Box::new(SeededSalts::new(0))));
    let epoch = store.acquire(T, "test").unwrap();
    let effects = Effects {
        records: vec![draft("case_opened", 1)],
        outbox_adds: vec![call(1, 1), call(2, 2)],
        ..Effects::default()
    };
    let frames = vec![frame(1, b"one")];
    store.commit(&Commit { tenant: T.to_owned(), epoch, frames, effects }).unwrap();
    store.claim(T, epoch, time(1), time(99), 1).unwrap();
    store.keep(T, epoch, b"blob").unwrap();
    (disk, store, epoch)
}

fn once(wanted: Write, fault: Fault) -> super::Faults {
    let mut left = Some(fault);
    Box::new(
        move |write| if write == wanted { left.take().unwrap_or_default() } else { Fault::None },
    )
}

/// For each write: it fails and did not happen, it fails and did happen, the disk is full.
#[test]
fn every_write_fails_in_every_way() {
    for wanted in WRITES {
        for fault in [Fault::Full, Fault::Lost, Fault::Kept] {
            let (disk, mut store, epoch) = furnished();
            // A checkpoint integrates first, which is not its own write.
            if wanted == Write::Checkpoint {
                store.integrate(T, epoch, 9).unwrap();
            }
            let before = seen(&disk);
            disk.set_faults(Some(once(wanted, fault)));
            let error = write(&mut *store, epoch, wanted).unwrap_err();
            let after = seen(&disk);
            let label = format!("{wanted:?} {fault:?}");
            match fault {
                Fault::Full => assert_eq!(error, WriteError::Full, "{label}"),
                _ => assert!(matches!(error, WriteError::Unsure(_)), "{label}"),
            }
            // Neither the other blob nor who holds the claim shows in what is seen.
            if fault == Fault::Kept && wanted != Write::Keep {
                assert_ne!(after, before, "{label}");
            }
            if fault != Fault::Kept {
                assert_eq!(after, before, "{label}");
            }
            audit(&disk.views(), T, None).unwrap();
            let again = write(&mut *store, epoch, wanted);
            match fault {
                Fault::Full => assert_eq!(again, Ok(()), "{label}: goes on"),
                _ => assert_eq!(again, Err(WriteError::Halted), "{label}: halts"),
            }
            // The next process finds a whole store and goes on.
            let mut next: Box<dyn Store> = Box::new(disk.open(Box::new(SeededSalts::new(1))));
            let epoch = next.acquire(T, "next").unwrap();
            write(&mut *next, epoch, Write::Commit).unwrap();
            audit(&disk.views(), T, None).unwrap();
            assert!(write(&mut *store, epoch, wanted).is_err(), "{label}: the dead process");
        }
    }
}
