//! Store: what commits cost on this disk. Prints rates and latencies beside those of the bare
//! disk; asserts nothing. `cargo bench -p quell-store -- [seconds] [folder]`.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use quell_core::id::Digest;
use quell_core::time::Time;
use quell_store::{
    Body, Change, Commit, Effects, Frame, Journal as _, Lease as _, Options, OuterKey, RecordDraft,
    SqliteStore,
};

type Failure = Box<dyn std::error::Error>;

/// Signals of one intake batch.
const BATCH: u64 = 1000;

/// Bytes of one record with its decoded signal, as an audit log writes it.
const RECORD_BYTES: usize = 1500;

fn main() -> Result<(), Failure> {
    // Tests of all targets start benches too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let seconds = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let above = arguments.next().unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").to_owned());
    let folder = tempfile::tempdir_in(above)?;
    let length = Duration::from_secs(seconds);
    disk(folder.path(), 4096)?;
    disk(folder.path(), 512 << 10)?;
    let raw = batch(0);
    let (packing, packed) = timed(|| Body::pack(&raw));
    println!(
        "batch of {BATCH}: {} bytes, packed to {} in {:.2} ms (any core)",
        raw.len(),
        packed?.stored_bytes(),
        millis(packing)
    );
    for encrypted in [false, true] {
        let run = |label: &str, parts, before| {
            let label = format!("{label}, {}", if encrypted { "encrypted" } else { "in clear" });
            run(folder.path(), &label, length, parts, before, encrypted)
        };
        run("batches of 1000, packed before", 1, true)?;
        run("batches of 1000, packed by the writer", 1, false)?;
        run("single signals, one commit each", 1000, true)?;
    }
    Ok(())
}

/// Appends and syncs, as the bare disk does it.
fn disk(folder: &Path, bytes: usize) -> Result<(), Failure> {
    let mut file = File::create(folder.join("bare"))?;
    let block = vec![0x5a_u8; bytes];
    let mut times = Vec::new();
    for _ in 0..300 {
        let (time, synced) = timed(|| -> io::Result<()> {
            file.write_all(&block)?;
            file.sync_data()
        });
        synced?;
        times.push(time);
    }
    println!("disk, append of {bytes} bytes and fdatasync: {}", spread(&mut times));
    Ok(())
}

/// Commits for `length` after a second of warm-up, with upkeep on a thread beside.
fn run(
    folder: &Path,
    label: &str,
    length: Duration,
    parts: u64,
    before: bool,
    encrypted: bool,
) -> Result<(), Failure> {
    let folder = folder.join(label);
    let key = encrypted.then(|| OuterKey::parse(&"07".repeat(32))).transpose()?;
    let mut store = SqliteStore::open(&folder, Options { key, ..Options::default() })?;
    let epoch = store.acquire("default", "bench")?;
    let mut maintainer = store.maintainer()?;
    let raws: Vec<Vec<u8>> = (0..8).map(|n| slice(&batch(n), parts)).collect();
    let bodies: Vec<Body> = raws.iter().map(|raw| Body::pack(raw)).collect::<Result<_, _>>()?;
    let (sender, tick) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while tick.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
                let _maintained = maintainer.maintain();
            }
        });
        let result = (|| {
            let warm = Instant::now() + Duration::from_secs(1);
            let mut n = 0;
            while Instant::now() < warm {
                commit(&mut store, epoch, n, &bodies, &raws, before)?;
                n += 1;
            }
            let (began, first) = (Instant::now(), n);
            let mut times = Vec::new();
            while began.elapsed() < length {
                let (time, done) = timed(|| commit(&mut store, epoch, n, &bodies, &raws, before));
                done?;
                times.push(time);
                n += 1;
            }
            let seconds = began.elapsed().as_secs_f64();
            report(label, (n - first) * BATCH / parts, seconds, &mut times, &store, &folder)
        })();
        drop(sender);
        result
    })
}

fn report(
    label: &str,
    signals: u64,
    seconds: f64,
    times: &mut [Duration],
    store: &SqliteStore,
    folder: &Path,
) -> Result<(), Failure> {
    let mut bytes = 0;
    for file in std::fs::read_dir(folder)? {
        bytes += file?.metadata()?.len();
    }
    println!(
        "{label}: {:.0} signals/s; commit {}; log {:?}; {bytes} bytes on disk",
        f64::from(u32::try_from(signals)?) / seconds,
        spread(times),
        store.wal(),
    );
    Ok(())
}

/// One batch: a frame, and with it one finding's worth of rows and one evidence record.
fn commit(
    store: &mut SqliteStore,
    epoch: u64,
    n: u64,
    bodies: &[Body],
    raws: &[Vec<u8>],
    packed_before: bool,
) -> Result<(), Failure> {
    let place = usize::try_from(n)? % bodies.len();
    let body = match (packed_before, bodies.get(place), raws.get(place)) {
        (true, Some(body), _) => body.clone(),
        (false, _, Some(raw)) => Body::pack(raw)?,
        _ => return Err("no body".into()),
    };
    let at = Time(1_767_225_600_000_000 + i64::try_from(n)?);
    let frame =
        Frame { kind: 1, at, pack_digest: Digest([1; 32]), rules_digest: Digest([2; 32]), body };
    let records = if n.is_multiple_of(u64::try_from(bodies.len())?) { 1 } else { 0 };
    let effects = Effects {
        state: (0..records)
            .map(|_| Change::put("finding", format!("fnd_{n}"), vec![7; 600]))
            .collect(),
        records: (0..records)
            .map(|_| RecordDraft {
                record_type: "finding_raised".to_owned(),
                at,
                body: format!(r#"{{"finding":"fnd_{n}"}}"#).into_bytes(),
                refs: vec![format!("fnd_{n}")],
            })
            .collect(),
        ..Effects::default()
    };
    let commit = Commit { tenant: "default".to_owned(), epoch, frames: vec![frame], effects };
    store.commit(&commit)?;
    Ok(())
}

/// Records as an audit log writes them: the same members with other values.
fn batch(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut out = Vec::new();
    for _ in 0..BATCH {
        let start = out.len();
        out.extend_from_slice(b"{\"actor\":{\"alternateId\":\"");
        let mut member = 0;
        while out.len() - start < RECORD_BYTES {
            let line = format!(
                "user{}@example.com\",\"type\":\"User\",\"displayName\":\"Person {}\",\
                 \"id{member}\":\"{:016x}{:016x}\",\"outcome\":{{\"result\":\"SUCCESS\"}},\
                 \"client\":\"",
                next() % 5000,
                next() % 5000,
                next(),
                next(),
            );
            out.extend_from_slice(line.as_bytes());
            member += 1;
        }
        out.extend_from_slice(b"\"}\n");
    }
    out
}

/// The first of `parts` equal parts.
fn slice(raw: &[u8], parts: u64) -> Vec<u8> {
    let parts = usize::try_from(parts).unwrap_or(1).max(1);
    raw.get(..raw.len() / parts).unwrap_or_default().to_vec()
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let began = Instant::now();
    let result = work();
    (began.elapsed(), result)
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at =
        |share: usize| times.get((times.len() * share / 1000).min(times.len().saturating_sub(1)));
    let show = |share| at(share).map_or(0.0, |time| millis(*time));
    format!("p50 {:.2} p99 {:.2} max {:.2} ms", show(500), show(990), show(1000))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
