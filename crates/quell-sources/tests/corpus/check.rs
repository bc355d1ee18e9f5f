//! Sources room, tests: decodes the corpus by a shipped pack and counts what came of it.

use std::collections::{BTreeMap, BTreeSet};

use quell_core::id::Digest;
use quell_core::signal::{Provenance, RejectReason};
use quell_core::time::Time;
use quell_sources::{DecodeContext, EMBEDDED, Pack};

use super::expected::{Expected, Line};
use super::unwrap::Item;

/// How the records of one event type came out.
#[derive(Default)]
struct Count {
    records: usize,
    signals: usize,
    rejects: usize,
    wrong: usize,
}

/// Decodes every record and holds it against its line.
///
/// Of the records that must give a signal at least 95 % give the expected one; every reject is the
/// expected one. Prints a table.
pub(crate) fn check(name: &str, items: &[Item], text: &str) {
    let (_, pack) = EMBEDDED.iter().find(|(pack, _)| *pack == name).unwrap();
    let pack = Pack::load(name, pack).unwrap();
    let expected = Expected::read(text);
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    let (mut wanted, mut given, mut wrong) = (0, 0, Vec::new());
    for item in items {
        let line = expected.get(&item.locator).unwrap();
        if line.left_out {
            continue;
        }
        let got = decode(&pack, item, line);
        let count = counts.entry(line.event_type.as_str()).or_default();
        count.records += 1;
        let rejected = got.parse::<RejectReason>().is_ok();
        if rejected {
            count.rejects += 1
        } else {
            count.signals += 1
        }
        let must_signal = line.result.parse::<RejectReason>().is_err();
        wanted += usize::from(must_signal);
        if got == line.result {
            given += usize::from(must_signal);
        } else {
            count.wrong += 1;
            wrong.push(format!("{}: expected {}, got {got}", item.locator, line.result));
        }
    }
    print_table(name, &counts, wanted, given);
    assert!(given * 100 >= wanted * 95, "{given} of {wanted}:\n{}", wrong.join("\n"));
    let rejects = wrong.iter().filter(|w| !w.ends_with("unlisted_event")).count();
    assert!(wrong.is_empty() || rejects == 0, "{}", wrong.join("\n"));
}

/// The kinds that a record gives, joined by `+`, or the reason of its reject.
fn decode(pack: &Pack, item: &Item, line: &Line) -> String {
    let now = Time::parse("2026-12-31T00:00:00Z").unwrap().t;
    let ctx = DecodeContext {
        tenant: "default",
        source: pack.name(),
        provenance: Provenance::File,
        now,
        provider: None,
        own_principals: &[],
        allowed_domains: &[],
    };
    let body = item.body();
    let decoded = pack.decode(&ctx, &body);
    assert_eq!(decoded.records.len(), 1, "{}", item.locator);
    let record = &decoded.records[0];
    assert_eq!(body[record.raw.clone()], item.raw, "{}", item.locator);
    assert_eq!(record.digest, Digest::of(&item.raw), "{}", item.locator);
    if line.event_type != "-" {
        assert_eq!(record.event_type.as_deref(), Some(line.event_type.as_str()));
    }
    match &record.reject {
        Some(reject) => {
            assert!(record.signals.is_empty(), "{}", item.locator);
            reject.reason.to_string()
        }
        None => {
            let kinds: BTreeSet<&str> = record.signals.iter().map(|s| s.kind.name()).collect();
            kinds.into_iter().collect::<Vec<_>>().join("+")
        }
    }
}

fn print_table(name: &str, counts: &BTreeMap<&str, Count>, wanted: usize, given: usize) {
    println!("{name}: {:50} records signals rejects wrong", "event type");
    for (event_type, count) in counts {
        let Count { records, signals, rejects, wrong } = count;
        println!("{name}: {event_type:50} {records:7} {signals:7} {rejects:7} {wrong:5}");
    }
    println!("{name}: expected signals {wanted}, given {given}");
}
