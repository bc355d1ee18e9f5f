//! Store, tests only: what was written is found again from every side.

use quell_core::id::Digest;

use super::{Bench, Make, T, draft, frame};
use crate::views::{Frames, Records, StateRows};
use crate::{Change, Effects, Pick, WriteError};

pub(crate) fn walks_frames_from_anywhere(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    for n in 0..4_u8 {
        let frames = (0..n).map(|i| frame(i64::from(n), &[n, i])).collect();
        bench.commit(frames, Effects::default());
    }
    let views = bench.views();
    for from in 0..8 {
        let seqs: Vec<u64> =
            Frames::new(&*views, T, from).map(|frame| frame.unwrap().seq).collect();
        assert_eq!(seqs, (from..6).collect::<Vec<_>>());
    }
}

pub(crate) fn finds_records(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    let kinds = ["case_opened", "order_permitted"];
    for n in 0..600_u64 {
        let mut record = draft(kinds[usize::from(n % 2 == 1)], n);
        record.refs.push("idn_x".to_owned());
        record.refs.push("idn_x".to_owned());
        bench.commit(vec![], Effects { records: vec![record], ..Effects::default() });
    }
    let views = bench.views();
    let seqs = |pick, from| -> Vec<u64> {
        Records::new(&*views, T, pick, from).map(|record| record.unwrap().seq).collect()
    };
    assert_eq!(seqs(Pick::All, 10), (10..600).collect::<Vec<_>>());
    assert_eq!(seqs(Pick::Type("order_permitted"), 0).len(), 300);
    assert_eq!(seqs(Pick::Type("order_permitted"), 590), [591, 593, 595, 597, 599]);
    assert_eq!(seqs(Pick::Ref("cas_1"), 590), [592, 595, 598]);
    assert_eq!(seqs(Pick::Ref("idn_x"), 0).len(), 600);
    assert!(seqs(Pick::Ref("cas_9"), 0).is_empty());
    assert!(seqs(Pick::Type("unknown"), 0).is_empty());
    assert_eq!(views.records(T, Pick::All, 0, 3).unwrap().len(), 3);
}

pub(crate) fn pages_state(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    let state = (0..700).rev().map(|n| Change::put("finding", format!("fnd_{n:03}"), vec![1]));
    bench.commit(vec![], Effects { state: state.collect(), ..Effects::default() });
    let other = vec![Change::put("finding2", "fnd_000".into(), vec![2])];
    bench.commit(vec![], Effects { state: other, ..Effects::default() });
    let views = bench.views();
    let keys: Vec<String> =
        StateRows::new(&*views, T, "finding").map(|row| row.unwrap().0).collect();
    assert_eq!(keys, (0..700).map(|n| format!("fnd_{n:03}")).collect::<Vec<_>>());
    assert_eq!(StateRows::new(&*views, T, "nothing").count(), 0);
}

pub(crate) fn keeps_blobs(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    let epoch = bench.epoch;
    let blobs: Vec<Vec<u8>> = vec![vec![], b"policy".to_vec(), vec![7; 100_000]];
    for bytes in &blobs {
        let digest = bench.store().keep(T, epoch, bytes).unwrap();
        assert_eq!(digest, Digest::of(bytes));
        assert_eq!(bench.store().keep(T, epoch, bytes).unwrap(), digest);
    }
    bench.reopen();
    let views = bench.views();
    for bytes in &blobs {
        assert_eq!(views.blob(T, &Digest::of(bytes)).unwrap().as_ref(), Some(bytes));
        assert_eq!(views.blob("other", &Digest::of(bytes)).unwrap(), None);
    }
    let epoch = bench.epoch;
    bench.store().discard(T, epoch, &Digest::of(b"policy")).unwrap();
    bench.store().discard(T, epoch, &Digest::of(b"never kept")).unwrap();
    assert_eq!(bench.views().blob(T, &Digest::of(b"policy")).unwrap(), None);
    let long = vec![0; crate::store::MAX_BLOB_BYTES + 1];
    let error = bench.store().keep(T, epoch, &long).unwrap_err();
    assert!(matches!(error, WriteError::Failed(_)), "{error}");
}

pub(crate) fn reads_beside_the_writer(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    let views = bench.views();
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut seen = Vec::new();
            while seen.last().is_none_or(|last| *last < 50) {
                seen.push(views.head(T).unwrap().next_frame);
            }
            seen
        });
        for n in 0..50 {
            bench.commit(vec![frame(n, b"one")], Effects::default());
        }
        reader.join().unwrap()
    });
    assert!(seen.is_sorted());
}
