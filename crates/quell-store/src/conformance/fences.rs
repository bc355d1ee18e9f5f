//! Store, tests only: only the holder of the lease writes.

use super::{Bench, Make, T, call, draft, frame, signer, time};
use crate::{Commit, CommitError, Effects, SequenceError, WriteError};

pub(crate) fn an_epoch_is_needed(make: &mut dyn Make) {
    let mut store = make.open();
    let commit = Commit { tenant: T.to_owned(), epoch: 1, ..Commit::default() };
    let nobody = CommitError::Write(WriteError::NoLease(T.to_owned()));
    assert_eq!(store.commit(&commit).unwrap_err(), nobody);
    assert_eq!(store.views().unwrap().head(T).unwrap().epoch, 0);
    assert_eq!(store.acquire(T, "first").unwrap(), 1);
    store.commit(&commit).unwrap();
    let early = Commit { epoch: 2, ..commit };
    assert!(store.commit(&early).is_err(), "an epoch that nobody took yet");
    let head = store.views().unwrap().head(T).unwrap();
    assert_eq!((head.epoch, head.holder.as_deref()), (1, Some("first")));
    assert!(store.acquire(T, "").is_err());
    assert!(store.acquire(T, &"x".repeat(129)).is_err());
}

pub(crate) fn a_deposed_epoch_writes_nothing(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    let effects = Effects {
        outbox_adds: vec![call(1, 1), call(2, 1)],
        records: vec![draft("case_opened", 1)],
        ..Effects::default()
    };
    bench.commit(vec![frame(1, b"one")], effects);
    let old = bench.epoch;
    let claimed = bench.store().claim(T, old, time(1), time(2), 1).unwrap();
    let digest = bench.store().keep(T, old, b"blob").unwrap();
    let new = bench.store().acquire(T, "other").unwrap();
    assert!(new > old);
    let fenced = WriteError::Fenced { tenant: T.to_owned(), epoch: old, current: new };
    let store = bench.store();
    let commit = Commit { tenant: T.to_owned(), epoch: old, ..Commit::default() };
    assert_eq!(store.commit(&commit).unwrap_err(), CommitError::Write(fenced.clone()));
    assert_eq!(store.claim(T, old, time(9), time(9), 9).unwrap_err(), fenced);
    assert_eq!(store.claim(T, old, time(0), time(9), 9).unwrap_err(), fenced, "none due");
    let keys = [crate::CallKey::of(&claimed[0])];
    assert_eq!(store.release(T, old, &keys).unwrap_err(), fenced);
    assert_eq!(store.keep(T, old, b"other").unwrap_err(), fenced);
    assert_eq!(store.discard(T, old, &digest).unwrap_err(), fenced);
    let tree = SequenceError::Write(fenced.clone());
    assert_eq!(store.integrate(T, old, 9).unwrap_err(), tree);
    assert_eq!(store.checkpoint(T, old, time(9), &signer()).unwrap_err(), tree);
    assert_eq!(store.orphans(T, new, time(1)).unwrap(), claimed);
    expect_test::expect!["epoch `1` is deposed: the lease of tenant `default` is at epoch `2`"]
        .assert_eq(&fenced.to_string());
    bench.epoch = new;
    bench.commit(vec![frame(1, b"two")], Effects::default());
    assert_eq!(bench.audit().frames, 2);
}
