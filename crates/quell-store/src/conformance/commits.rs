//! Store, tests only: a commit is all or nothing and stays.

use std::collections::BTreeMap;

use expect_test::expect;

use super::{Bench, Make, T, call, draft, frame, time};
use crate::frame::Content;
use crate::{
    Change, Commit, Committed, Effects, Notice, Pick, Views, WatchChange, WatchEntry, WriteError,
};

fn everything(at: i64) -> Effects {
    Effects {
        state: vec![
            Change::put("case", "cas_1".into(), b"open".to_vec()),
            Change::put("order", "ord_1".into(), vec![]),
        ],
        records: vec![draft("case_opened", 1), draft("order_permitted", 2)],
        outbox_adds: vec![call(1, at), call(2, at + 10)],
        outbox_dones: vec![],
        watch: vec![WatchChange::Put(entry("sender", "a@example.com", Some(100)))],
        notice_puts: vec![Notice { id: "n1".into(), due: time(at), body: b"page".to_vec() }],
        notice_dones: vec![],
        cursors: vec![("okta".into(), b"cursor".to_vec())],
        erasures: vec![],
    }
}

fn entry(kind: &str, value: &str, until: Option<i64>) -> WatchEntry {
    WatchEntry {
        kind: kind.into(),
        value: value.into(),
        until: until.map(time),
        body: b"why".to_vec(),
    }
}

fn tables(views: &dyn Views) -> BTreeMap<&'static str, String> {
    let head = views.head(T).unwrap();
    let state = |table| views.state(T, table, None, 10).unwrap();
    BTreeMap::from([
        ("frames", head.next_frame.to_string()),
        ("records", head.next_record.to_string()),
        ("case", format!("{:?}", state("case"))),
        ("order", format!("{:?}", state("order"))),
        ("outbox", views.outbox(T, 10).unwrap().len().to_string()),
        ("watch", format!("{:?}", views.watch(T, time(0), None, 10).unwrap().len())),
        ("notices", format!("{:?}", views.notices(T, time(1000), 10).unwrap())),
        ("cursors", format!("{:?}", views.cursors(T).unwrap())),
    ])
}

pub(crate) fn writes_all_of_a_commit(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    let frames = vec![frame(1, b"small"), frame(1, &[b'x'; 5000]), frame(2, b"")];
    let committed = bench.commit(frames, everything(3));
    assert_eq!(committed, Committed { journal_seq: 0, frames: 3, first_record_seq: 0, records: 2 });
    expect![[r#"
        {
            "case": "[(\"cas_1\", [111, 112, 101, 110])]",
            "cursors": "[(\"okta\", [99, 117, 114, 115, 111, 114])]",
            "frames": "3",
            "notices": "[Notice { id: \"n1\", due: 2026-01-01T00:00:03.000000Z, body: [112, 97, 103, 101] }]",
            "order": "[(\"ord_1\", [])]",
            "outbox": "2",
            "records": "2",
            "watch": "1",
        }
    "#]].assert_debug_eq(&tables(&*bench.views()));
    let views = bench.views();
    let group = views.group(T, 1).unwrap().unwrap();
    assert_eq!(group.iter().map(|frame| frame.seq).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(group[1].content, Content::Kept(vec![b'x'; 5000]));
    assert_eq!((group[1].kind, group[1].at), (7, time(1)));
    assert_eq!(views.outbox(T, 10).unwrap()[0].call, call(1, 3));
    assert_eq!(views.next_due(T).unwrap(), Some(time(3)));
    let record = &views.records(T, Pick::All, 1, 1).unwrap()[0];
    assert_eq!(record.body.as_ref().unwrap().1, br#"{"n":2}"#);
}

pub(crate) fn keeps_everything_over_a_restart(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.commit(vec![frame(1, b"one")], everything(3));
    let before = tables(&*bench.views());
    bench.reopen();
    assert_eq!(tables(&*bench.views()), before);
    assert_eq!(bench.views().outbox(T, 10).unwrap()[1].call, call(2, 13));
}

pub(crate) fn numbers_go_on(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.commit(vec![frame(1, b"one"), frame(1, b"two")], Effects::default());
    let nothing = bench.commit(vec![], Effects::default());
    assert_eq!((nothing.journal_seq, nothing.frames), (2, 0));
    bench.reopen();
    let effects = Effects { records: vec![draft("case_opened", 0)], ..Effects::default() };
    let third = bench.commit(vec![frame(1, b"three")], effects);
    assert_eq!((third.journal_seq, third.first_record_seq), (2, 0));
    bench.records(2, true);
    assert_eq!(bench.audit().records, 3);
    assert_eq!(bench.audit().frames, 3);
}

pub(crate) fn chains_records(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.records(3, false);
    bench.reopen();
    bench.records(2, true);
    let records = bench.views().records(T, Pick::All, 0, 10).unwrap();
    assert_eq!(records[0].prev, [0; 32]);
    for pair in records.windows(2) {
        assert_eq!(pair[1].prev, pair[0].leaf);
        assert_eq!(pair[1].record().unwrap().leaf_hash(), pair[1].leaf);
        // The same body twice has two salts.
        assert_ne!(pair[0].body.as_ref().unwrap().0, pair[1].body.as_ref().unwrap().0);
    }
    assert_eq!(bench.audit().records, 5);
}

pub(crate) fn refuses_time_that_goes_back(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.commit(vec![frame(5, b"one")], Effects::default());
    bench.commit(vec![frame(5, b"same time")], Effects::default());
    let across = bench.try_commit(vec![frame(4, b"two")], Effects::default()).unwrap_err();
    expect![[r#"time went back: a frame of `2026-01-01T00:00:04.000000Z` cannot follow one of `2026-01-01T00:00:05.000000Z`"#]]
        .assert_eq(&across.to_string());
    let within = vec![frame(7, b"three"), frame(6, b"four")];
    assert!(bench.try_commit(within, Effects::default()).is_err());
    bench.reopen();
    assert!(bench.try_commit(vec![frame(4, b"two")], Effects::default()).is_err());
    assert_eq!(bench.audit().frames, 2);
}

pub(crate) fn a_refused_commit_leaves_nothing(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.commit(vec![frame(1, b"one")], everything(3));
    let before = tables(&*bench.views());
    let again = Effects { outbox_adds: vec![call(3, 1), call(1, 1)], ..everything(5) };
    let error = bench.try_commit(vec![frame(2, b"two")], again).unwrap_err();
    assert!(error.nothing_happened());
    assert!(error.to_string().starts_with("attempt 1 of `execute` of order `ord_"), "{error}");
    assert_eq!(tables(&*bench.views()), before);
    // And the store goes on.
    bench.commit(vec![frame(2, b"two")], Effects::default());
    assert_eq!(bench.audit().frames, 2);
}

pub(crate) fn refuses_what_cannot_be_stored(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    let mut seen = String::new();
    let mut refused = |effects: Effects| {
        let error = bench.try_commit(vec![frame(1, b"one")], effects).unwrap_err();
        assert!(error.nothing_happened());
        seen.push_str(&error.to_string());
        seen.push('\n');
    };
    let records = |record| Effects { records: vec![record], ..Effects::default() };
    let change = |change| Effects { state: vec![change], ..Effects::default() };
    let mut record = draft("case_opened", 0);
    record.body = br#"{"b":1, "a":2}"#.to_vec();
    refused(records(record));
    refused(records(draft("Case Opened", 0)));
    refused(change(Change::put("", "key".into(), vec![])));
    refused(change(Change::put("case", String::new(), vec![])));
    refused(change(Change::put("case", "k".repeat(4097), vec![])));
    refused(change(Change::put("case", "key".into(), vec![0; (4 << 20) + 1])));
    refused(Effects { outbox_adds: vec![call(1, 1), call(1, 2)], ..Effects::default() });
    refused(Effects { cursors: vec![(String::new(), vec![])], ..Effects::default() });
    expect![[r#"
        the body of a `case_opened` record cannot be stored: not in canonical form from byte 2 on
        a record cannot be stored: the record type `Case Opened` is not 1 to 64 of `a-z`, `0-9`, `_` and `.`
        a table name is 1 to 128 bytes, not 0
        a state key is 1 to 4096 bytes, not 0
        a state key is 1 to 4096 bytes, not 4097
        a state value is 0 to 4194304 bytes, not 4194305
        attempt 1 of `execute` of order `ord_j3efi4dojzvgrstuu5n6om6kzq` was in the outbox before
        a source name is 1 to 128 bytes, not 0
    "#]].assert_eq(&seen);
    assert_eq!(bench.audit().frames, 0);
}

pub(crate) fn the_last_change_of_a_row_counts(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    let put = |key: &str, value: &str| Change::put("case", key.into(), value.into());
    let delete = |key: &str| Change::delete("case", key.into());
    let state = vec![put("a", "1"), put("b", "1"), delete("a"), put("b", "2"), delete("c")];
    bench.commit(vec![], Effects { state, ..Effects::default() });
    let state = vec![put("a", "3"), delete("b"), put("b", "4"), put("c", "5"), delete("c")];
    bench.commit(vec![], Effects { state, ..Effects::default() });
    let rows = bench.views().state(T, "case", None, 10).unwrap();
    assert_eq!(rows, [("a".into(), b"3".to_vec()), ("b".into(), b"4".to_vec())]);
    assert_eq!(bench.views().state_row(T, "case", "a").unwrap(), Some(b"3".to_vec()));
    assert_eq!(bench.views().state_row(T, "case", "c").unwrap(), None);
}

pub(crate) fn tenants_are_apart(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.commit(vec![frame(9, b"one")], everything(3));
    let epoch = bench.store().acquire("other", "test").unwrap();
    let commit = Commit {
        tenant: "other".to_owned(),
        epoch,
        frames: vec![frame(1, b"earlier")],
        effects: everything(3),
    };
    let committed = bench.store().commit(&commit).unwrap();
    assert_eq!((committed.journal_seq, committed.first_record_seq), (0, 0));
    let views = bench.views();
    assert_eq!(views.records("other", Pick::All, 0, 1).unwrap()[0].prev, [0; 32]);
    assert_eq!(views.head(T).unwrap().next_frame, 1);
    assert!(views.group("third", 0).unwrap().is_none());
    crate::audit::audit(&*views, "other", None).unwrap();
    let bad = Commit { tenant: "a\nb".to_owned(), ..commit };
    assert!(matches!(
        bench.store().commit(&bad).unwrap_err(),
        crate::CommitError::Write(WriteError::NoLease(_))
    ));
    assert!(bench.store().acquire("a\nb", "test").is_err());
}

pub(crate) fn replaces_watch_entries_and_notices(make: &mut dyn Make) {
    let mut bench = Bench::new(make);
    bench.commit(vec![], everything(3));
    let watch = vec![
        WatchChange::Remove { kind: "sender".into(), value: "a@example.com".into() },
        WatchChange::Put(entry("sender", "a@example.com", None)),
        WatchChange::Put(entry("domain", "example.org", Some(50))),
        WatchChange::Put(entry("url", "https://example.org/x", Some(50))),
        WatchChange::Remove { kind: "url".into(), value: "https://example.org/x".into() },
    ];
    let later = Notice { id: "n1".into(), due: time(60), body: b"again".to_vec() };
    let second = Notice { id: "n2".into(), due: time(1), body: b"second".to_vec() };
    let notice_puts = vec![later, second];
    bench.commit(vec![], Effects { watch, notice_puts, ..Effects::default() });
    let views = bench.views();
    let values = |now, after| -> Vec<String> {
        let entries = views.watch(T, time(now), after, 10).unwrap();
        entries.into_iter().map(|entry| entry.value).collect()
    };
    assert_eq!(values(49, None), ["example.org", "a@example.com"]);
    assert_eq!(values(49, Some(("domain", "example.org"))), ["a@example.com"]);
    assert_eq!(values(50, None), ["a@example.com"]);
    let ids = |now| -> Vec<String> {
        let notices = views.notices(T, time(now), 10).unwrap();
        notices.into_iter().map(|notice| notice.id).collect()
    };
    assert_eq!(
        (ids(0), ids(59), ids(60)),
        (vec![], vec!["n2".into()], vec!["n2".into(), "n1".into()])
    );
    let notice_dones = vec!["n2".to_owned(), "unknown".to_owned()];
    bench.commit(vec![], Effects { notice_dones, ..Effects::default() });
    assert_eq!(bench.views().counts(T).unwrap().notices, 1);
}
