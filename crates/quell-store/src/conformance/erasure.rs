//! Store, tests only: what is erased is gone, and what was proved stays proved.

use super::{Bench, Make, T, frame, signer, time};
use crate::frame::Content;
use crate::views::Tree;
use crate::{CommitError, Effects, Erasure, Pick, Refusal};

fn erasing(erasures: Vec<Erasure>) -> Effects {
    Effects { erasures, ..Effects::default() }
}

pub(crate) fn erased_records_keep_the_proof(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.records(4, false);
    let epoch = bench.epoch;
    let before = bench.store().checkpoint(T, epoch, time(9), &signer()).unwrap();
    let erasures = vec![Erasure::Record { seq: 2 }, Erasure::Record { seq: 2 }];
    bench.commit(vec![frame(1, b"erase")], erasing(erasures));
    bench.commit(vec![], erasing(vec![Erasure::Record { seq: 2 }]));
    bench.records(1, false);
    bench.reopen();
    let views = bench.views();
    let bodies: Vec<bool> =
        views.records(T, Pick::All, 0, 9).unwrap().iter().map(|r| r.body.is_some()).collect();
    assert_eq!(bodies, [true, true, false, true, true]);
    assert_eq!(views.records(T, Pick::Ref("cas_2"), 0, 9).unwrap().len(), 1);
    assert_eq!(Tree::new(&*views, T).root(4).unwrap(), before.root);
    let audited = bench.audit();
    assert_eq!((audited.records, audited.erased_records, audited.leaves), (5, 1, 4));
}

pub(crate) fn erased_frames_keep_their_number(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    let bodies: [&[u8]; 3] = [b"one", &[b'x'; 9000], b"three"];
    bench.commit(bodies.iter().map(|body| frame(1, body)).collect(), Effects::default());
    bench.commit(vec![frame(2, b"four")], Effects::default());
    bench.commit(vec![frame(3, b"erase")], erasing(vec![Erasure::Frame { seq: 1 }]));
    bench.commit(vec![], erasing(vec![Erasure::Frame { seq: 1 }, Erasure::Frame { seq: 3 }]));
    bench.reopen();
    let views = bench.views();
    let group = views.group(T, 0).unwrap().unwrap();
    assert_eq!(group[0].content, Content::Kept(b"one".to_vec()));
    assert_eq!(group[1].content, Content::Erased { raw_bytes: 9000 });
    assert_eq!((group[1].seq, group[1].kind, group[1].at), (1, 7, time(1)));
    assert_eq!(group[2].content, Content::Kept(b"three".to_vec()));
    let audited = bench.audit();
    assert_eq!((audited.frames, audited.erased_frames), (5, 2));
}

pub(crate) fn refuses_to_erase_nothing(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.records(1, false);
    for (erasure, part) in
        [(Erasure::Record { seq: 1 }, "record"), (Erasure::Frame { seq: 0 }, "frame")]
    {
        let error = bench.try_commit(vec![], erasing(vec![erasure])).unwrap_err();
        let CommitError::Refused(Refusal::NothingToErase { part: found, .. }) = error else {
            panic!("{error}");
        };
        assert_eq!(found, part);
    }
    // A commit may erase what it writes itself.
    bench.commit(vec![frame(1, b"secret")], erasing(vec![Erasure::Frame { seq: 0 }]));
    assert_eq!(bench.audit().erased_frames, 1);
}
