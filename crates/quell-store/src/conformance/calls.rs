//! Store, tests only: a call leaves the outbox at most once, and never without a trace.

use quell_core::order::{Call, Verb};

use super::{Bench, Make, T, call, order, time};
use crate::{CallKey, CommitError, Effects, Refusal};

fn with(calls: Vec<Call>) -> Effects {
    Effects { outbox_adds: calls, ..Effects::default() }
}

fn claim(bench: &mut Bench<'_>, now: i64, limit: usize) -> Vec<Call> {
    let epoch = bench.epoch;
    bench.store().claim(T, epoch, time(now), time(now + 60), limit).unwrap()
}

fn orphans(bench: &mut Bench<'_>, now: i64) -> Vec<Call> {
    let epoch = bench.epoch;
    bench.store().orphans(T, epoch, time(now)).unwrap()
}

pub(crate) fn claims_what_is_due(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.commit(vec![], with(vec![call(1, 30), call(2, 10), call(3, 20)]));
    assert_eq!(claim(&mut bench, 9, 10), []);
    assert_eq!(bench.views().next_due(T).unwrap(), Some(time(10)));
    assert_eq!(claim(&mut bench, 20, 1), [call(2, 10)]);
    assert_eq!(claim(&mut bench, 30, 10), [call(3, 20), call(1, 30)]);
    assert_eq!(bench.views().next_due(T).unwrap(), None);
    let counts = bench.views().counts(T).unwrap();
    assert_eq!((counts.outbox_waiting, counts.outbox_claimed), (0, 3));
}

pub(crate) fn never_gives_a_call_twice(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.commit(vec![], with(vec![call(1, 1)]));
    assert_eq!(claim(&mut bench, 1, 10).len(), 1);
    assert_eq!(claim(&mut bench, 1000, 10), []);
    bench.reopen();
    assert_eq!(claim(&mut bench, 1000, 10), []);
}

pub(crate) fn orphans_are_found(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.commit(vec![], with(vec![call(1, 1), call(2, 2), call(3, 3)]));
    assert_eq!(claim(&mut bench, 2, 10).len(), 2);
    assert_eq!(orphans(&mut bench, 62), []);
    assert_eq!(orphans(&mut bench, 63), [call(1, 1), call(2, 2)], "past their time");
    bench.reopen();
    assert_eq!(orphans(&mut bench, 2), [call(1, 1), call(2, 2)], "of the dead process");
    let outbox_dones = vec![CallKey::of(&call(1, 1))];
    bench.commit(vec![], Effects { outbox_dones, ..Effects::default() });
    assert_eq!(orphans(&mut bench, 2), [call(2, 2)]);
    bench.reopen();
    assert_eq!(orphans(&mut bench, 2), [call(2, 2)], "until it is done");
    assert_eq!(claim(&mut bench, 3, 10), [call(3, 3)]);
}

pub(crate) fn released_calls_come_again(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.commit(vec![], with(vec![call(1, 1), call(2, 1), call(3, 90)]));
    let claimed = claim(&mut bench, 1, 10);
    let keys: Vec<CallKey> = claimed.iter().map(CallKey::of).collect();
    let unclaimed = CallKey::of(&call(3, 90));
    let epoch = bench.epoch;
    bench.store().release(T, epoch, &[keys[0], unclaimed]).unwrap();
    assert_eq!(claim(&mut bench, 1, 10), [claimed[0].clone()]);
    // What an earlier epoch claimed may have been sent: it is not put back.
    bench.reopen();
    let epoch = bench.epoch;
    bench.store().release(T, epoch, &keys).unwrap();
    assert_eq!(claim(&mut bench, 1, 10), []);
    assert_eq!(orphans(&mut bench, 1).len(), 2);
}

pub(crate) fn done_calls_are_gone_for_ever(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.commit(vec![], with(vec![call(1, 1), call(2, 1)]));
    claim(&mut bench, 1, 1);
    let outbox_dones = vec![
        CallKey::of(&call(1, 1)),
        CallKey::of(&call(2, 1)),
        CallKey { order: order(9), verb: Verb::Probe, attempt: 1 },
    ];
    let dones = Effects { outbox_dones, ..Effects::default() };
    bench.commit(vec![], dones.clone());
    bench.commit(vec![], dones);
    assert_eq!(bench.views().outbox(T, 10).unwrap(), []);
    bench.reopen();
    assert_eq!(claim(&mut bench, 100, 10), []);
    assert_eq!(orphans(&mut bench, 1000), []);
    // The same attempt is refused for ever; the next one is another call.
    let again = bench.try_commit(vec![], with(vec![call(1, 1)])).unwrap_err();
    assert!(matches!(again, CommitError::Refused(Refusal::CallAgain { .. })));
    let next = Call { attempt: 2, ..call(1, 1) };
    bench.commit(vec![], with(vec![next.clone()]));
    assert_eq!(claim(&mut bench, 1, 10), [next]);
}
