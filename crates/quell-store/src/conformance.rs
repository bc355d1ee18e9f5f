//! Store, tests only: what every implementation must do, as functions over any of them. Knows no
//! implementation.

pub(crate) mod calls;
pub(crate) mod commits;
pub(crate) mod erasure;
pub(crate) mod fences;
pub(crate) mod reading;
pub(crate) mod tree;

use quell_core::action::Action;
use quell_core::id::{CaseId, Digest, FindingId, OrderId, SignalId};
use quell_core::identity::Account;
use quell_core::order::{Call, Verb};
use quell_core::time::Time;
use quell_evidence::note::SignerKey;

use crate::audit::{Audited, audit};
use crate::{Body, Commit, Effects, Frame, KeySigner, RecordDraft, Store};

/// The tenant of most tests.
pub(crate) const T: &str = "default";

/// Opens one and the same store again and again; what was opened before must be dropped.
pub(crate) trait Make {
    fn open(&mut self) -> Box<dyn Store>;
}

/// Declares a test for each function of the suite.
macro_rules! conformance {
    ($make:expr) => {
        $crate::conformance::conformance!($make =>
            commits: writes_all_of_a_commit, keeps_everything_over_a_restart,
                numbers_go_on, chains_records, refuses_time_that_goes_back,
                a_refused_commit_leaves_nothing, refuses_what_cannot_be_stored,
                the_last_change_of_a_row_counts, tenants_are_apart,
                replaces_watch_entries_and_notices;
            calls: claims_what_is_due, never_gives_a_call_twice, orphans_are_found,
                released_calls_come_again, done_calls_are_gone_for_ever;
            fences: an_epoch_is_needed, a_deposed_epoch_writes_nothing;
            reading: walks_frames_from_anywhere, finds_records, pages_state, keeps_blobs,
                reads_beside_the_writer;
            tree: grows_in_order, signs_only_what_grew, proves_inclusion_and_consistency,
                serves_tiles_and_entries, exports_a_bundle_that_verifies,
                keeps_its_origin, measures_the_merge_delay;
            erasure: erased_records_keep_the_proof, erased_frames_keep_their_number,
                refuses_to_erase_nothing;
        );
    };
    ($make:expr => $($module:ident: $($test:ident),*;)*) => {
        $($(
            #[test]
            fn $test() {
                $crate::conformance::$module::$test(&mut $make);
            }
        )*)*
    };
}
pub(crate) use conformance;

/// A store, the epoch that holds its lease, and the next time.
pub(crate) struct Bench<'m> {
    make: &'m mut dyn Make,
    store: Option<Box<dyn Store>>,
    pub(crate) epoch: u64,
}

impl<'m> Bench<'m> {
    pub(crate) fn new(make: &'m mut dyn Make) -> Self {
        let mut bench = Self { make, store: None, epoch: 0 };
        bench.reopen();
        bench
    }

    /// Closes the store, opens it again and takes the lease.
    pub(crate) fn reopen(&mut self) {
        self.store = None;
        let mut store = self.make.open();
        self.epoch = store.acquire(T, "test").unwrap();
        self.store = Some(store);
    }

    pub(crate) fn store(&mut self) -> &mut dyn Store {
        self.store.as_mut().unwrap().as_mut()
    }

    pub(crate) fn views(&mut self) -> Box<dyn crate::Views + Send> {
        self.store().views().unwrap()
    }

    pub(crate) fn audit(&mut self) -> Audited {
        audit(&*self.views(), T, Some(signer().key.verifier())).unwrap()
    }

    pub(crate) fn commit(&mut self, frames: Vec<Frame>, effects: Effects) -> crate::Committed {
        self.try_commit(frames, effects).unwrap()
    }

    pub(crate) fn try_commit(
        &mut self,
        frames: Vec<Frame>,
        effects: Effects,
    ) -> Result<crate::Committed, crate::CommitError> {
        let commit = Commit { tenant: T.to_owned(), epoch: self.epoch, frames, effects };
        self.store().commit(&commit)
    }

    /// Commits `count` records, one to a commit where `apart`.
    pub(crate) fn records(&mut self, count: u64, apart: bool) {
        let all: Vec<RecordDraft> = (0..count).map(|n| draft("case_opened", n)).collect();
        let size = if apart { 1 } else { all.len().max(1) };
        for records in all.chunks(size) {
            self.commit(vec![], Effects { records: records.to_vec(), ..Effects::default() });
        }
    }
}

pub(crate) fn time(seconds: i64) -> Time {
    Time(1_767_225_600_000_000).plus(seconds * 1_000_000)
}

pub(crate) fn frame(seconds: i64, body: &[u8]) -> Frame {
    Frame {
        kind: 7,
        at: time(seconds),
        pack_digest: Digest::of(b"pack"),
        rules_digest: Digest::of(b"rules"),
        body: Body::pack(body).unwrap(),
    }
}

pub(crate) fn draft(record_type: &str, n: u64) -> RecordDraft {
    RecordDraft {
        record_type: record_type.to_owned(),
        at: time(i64::try_from(n).unwrap()),
        body: format!(r#"{{"n":{n}}}"#).into_bytes(),
        refs: vec![format!("cas_{}", n % 3)],
    }
}

pub(crate) fn order(n: u32) -> OrderId {
    let signal = SignalId::of(T, "okta", "record", "sign_in", n);
    let finding = FindingId::of(T, "rule", "group", signal);
    OrderId::of(T, CaseId::of(T, "idn", finding), "end_sessions", "okta:00u1", 0)
}

pub(crate) fn call(n: u32, due: i64) -> Call {
    Call {
        order: order(n),
        verb: Verb::Execute,
        attempt: 1,
        due: time(due),
        action: Action::EndSessions,
        account: Account { provider: "okta".to_owned(), id: format!("00u{n}"), login: None },
        snapshot: Some(r#"{"status":"ACTIVE"}"#.to_owned()),
        acknowledged_at: None,
        sent_at: Some(time(due)),
    }
}

pub(crate) fn signer() -> KeySigner {
    let key = SignerKey::from_seed("quell.example.org/default", &[7; 32]).unwrap();
    KeySigner { origin: "quell.example.org/default".to_owned(), key }
}
