//! Sources room, bench: what decoding one record costs, for each shipped pack, in bodies of 1,000
//! records made from the samples. Prints; asserts nothing about time.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]
#![expect(clippy::expect_used, reason = "a bench may stop")]

use std::hint::black_box;
use std::time::Instant;

use quell_core::signal::Provenance;
use quell_core::time::Time;
use quell_sources::{DecodeContext, EMBEDDED, Pack};
use serde_json::Value;

/// Records of one body.
const RECORDS: usize = 1_000;
/// Bodies decoded for one figure.
const BODIES: u32 = 20;
/// Figures, of which the best and the middle one are shown.
const ROUNDS: usize = 9;

fn main() {
    let okta = include_str!("../../../packs/okta/samples/sign-in.ndjson");
    let tap = include_str!("../../../packs/proofpoint_tap/samples/forwarded.ndjson");
    bench("okta", okta, false);
    bench("okta", okta, true);
    bench("proofpoint_tap", tap, false);
    bench("proofpoint_tap", tap, true);
}

fn bench(name: &str, samples: &str, as_lines: bool) {
    let text = EMBEDDED.iter().find(|(pack, _)| *pack == name).map(|(_, text)| *text);
    let pack = Pack::load(name, text.expect("a shipped pack")).expect("a pack that loads");
    let ctx = DecodeContext {
        tenant: "default",
        source: name,
        provenance: Provenance::Polled,
        now: Time::parse("2026-12-31T00:00:00Z").expect("a time").t,
        provider: None,
        own_principals: &["00Town".to_owned()],
        allowed_domains: &[],
    };
    let records: Vec<String> = samples.lines().cycle().take(RECORDS).map(compact).collect();
    let body = if as_lines { records.join("\n") } else { format!("[{}]", records.join(",")) };
    let parse = time(|| {
        for record in &records {
            black_box(serde_json::from_str::<Value>(black_box(record)).is_ok());
        }
    });
    let signals: usize =
        pack.decode(&ctx, body.as_bytes()).records.iter().map(|r| r.signals.len()).sum();
    let decode = time(|| {
        black_box(pack.decode(&ctx, black_box(body.as_bytes())));
    });
    println!(
        "{name} {}: {} bytes and {:.1} signals a record; {:.1} us best, {:.1} us median, of which \
         parsing alone {:.1} us",
        if as_lines { "ndjson" } else { "array" },
        body.len() / RECORDS,
        signals as f64 / 1_000.0,
        decode.0,
        decode.1,
        parse.0,
    );
}

/// Microseconds a record, best and median.
fn time(mut decode: impl FnMut()) -> (f64, f64) {
    let mut figures: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..BODIES).for_each(|_| decode());
            start.elapsed().as_secs_f64() * 1e6 / f64::from(BODIES) / 1_000.0
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    let at = |place: usize| figures.get(place).copied().unwrap_or_default();
    (at(0), at(ROUNDS / 2))
}

/// Without the spaces that the sample has.
fn compact(record: &str) -> String {
    serde_json::from_str::<Value>(record).map_or_else(|_| record.to_owned(), |v| v.to_string())
}
