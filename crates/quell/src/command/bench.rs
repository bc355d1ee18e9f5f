//! `quell bench`: the whole program under generated load, with full durability. Prints figures
//! and asserts nothing.

mod load;
mod provider;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{say, say_json};
use crate::fault::Fault;

/// Measure signals per second, bytes per signal, and time from a signal to the provider request.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell bench --seconds 10 --warmup 2")]
pub(crate) struct Bench {
    /// Seconds measured, for each of the two parts.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Seconds of warm-up before.
    #[arg(long, default_value_t = 10)]
    warmup: u64,
    /// Records in one body of the first part.
    #[arg(long, default_value_t = 1000)]
    batch: usize,
    /// Signals per second of the second part, sent one by one at their intended times.
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// In the second part one signal in so many asks for an order.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    order_every: u32,
    /// Bodies on their way at once in the first part.
    #[arg(long, default_value_t = 4)]
    in_flight: usize,
    /// People in the directory.
    #[arg(long, default_value_t = 10_000)]
    people: usize,
    /// The folder of the store; a temporary one when unset.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// The figures.
#[derive(Debug, Default, Serialize)]
struct Figures {
    cores: usize,
    seconds: u64,
    signals_per_second: f64,
    signals: u64,
    bytes_per_signal: f64,
    raw_bytes_per_signal: f64,
    orders_in_throughput: u64,
    rate: u64,
    order_every: u32,
    orders: usize,
    to_request_ms: Percentiles,
    to_first_call_ms: Percentiles,
    late_sends: u64,
    fdatasync_ms: Percentiles,
}

/// p50, p99 and maximum, milliseconds.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Percentiles {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Percentiles {
    /// Of microseconds.
    fn of(mut micros: Vec<i64>) -> Self {
        micros.sort_unstable();
        let at = |part: usize| {
            let index = (micros.len().saturating_sub(1) * part).div_ceil(1000);
            let value = micros.get(index).copied().unwrap_or_default();
            i32::try_from(value).map_or(0.0, f64::from) / 1000.0
        };
        Self { p50: at(500), p99: at(990), max: at(1000) }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms", self.p50, self.p99, self.max)
    }
}

impl Bench {
    pub(crate) fn run(&self) -> Result<(), Fault> {
        let temporary = tempfile::tempdir().map_err(|e| Fault::store(&e))?;
        let folder = self.dir.clone().unwrap_or_else(|| temporary.path().to_path_buf());
        std::fs::create_dir_all(&folder).map_err(|e| Fault::file(&folder, &e))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Fault::store(&e))?;
        let mut figures = Figures {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            seconds: self.seconds,
            rate: self.rate,
            order_every: self.order_every,
            fdatasync_ms: disk(&folder)?,
            ..Figures::default()
        };
        runtime.block_on(async {
            let rig = load::Rig::set(&folder, self.people).await?;
            let (warm, measured) =
                (Duration::from_secs(self.warmup), Duration::from_secs(self.seconds));
            let flood = rig.flood(self.batch, self.in_flight, warm, measured).await?;
            let signals = u32::try_from(flood.signals).map_or(0.0, f64::from);
            figures.signals = flood.signals;
            figures.signals_per_second = signals / measured.as_secs_f64();
            figures.bytes_per_signal = ratio(flood.stored_bytes, flood.signals);
            figures.raw_bytes_per_signal = ratio(flood.raw_bytes, flood.signals);
            figures.orders_in_throughput = flood.orders;
            let drip = rig.drip(self.rate, self.order_every, warm, measured).await?;
            figures.orders = drip.to_request.len();
            figures.to_request_ms = Percentiles::of(drip.to_request);
            figures.to_first_call_ms = Percentiles::of(drip.to_first_call);
            figures.late_sends = drip.late;
            rig.stop().await;
            Ok::<(), Fault>(())
        })?;
        if self.json { say_json(&figures) } else { print(&figures) }
    }
}

fn ratio(of: u64, by: u64) -> f64 {
    let float = |n: u64| u32::try_from(n / 1024).map_or(0.0, f64::from) * 1024.0;
    if by == 0 { 0.0 } else { float(of) / float(by.max(1024)) }
}

fn print(figures: &Figures) -> Result<(), Fault> {
    say(&format!("cores                {}", figures.cores))?;
    say(&format!("disk fdatasync       {}", figures.fdatasync_ms))?;
    say(&format!(
        "throughput           {:.0} signals per second over {} s ({} signals, {} orders)",
        figures.signals_per_second, figures.seconds, figures.signals, figures.orders_in_throughput
    ))?;
    say(&format!(
        "stored               {:.0} bytes per signal (records as received: {:.0})",
        figures.bytes_per_signal, figures.raw_bytes_per_signal
    ))?;
    say(&format!(
        "signal to request    {} ({} orders at {} signals per second, one in {})",
        figures.to_request_ms, figures.orders, figures.rate, figures.order_every
    ))?;
    say(&format!("signal to first call {}", figures.to_first_call_ms))?;
    say(&format!("sends behind time    {}", figures.late_sends))
}

/// What the disk itself takes for a 4 KiB append with fdatasync.
fn disk(folder: &Path) -> Result<Percentiles, Fault> {
    use std::io::Write;
    let path = folder.join("fdatasync.probe");
    let mut file = std::fs::File::create(&path).map_err(|e| Fault::file(&path, &e))?;
    let clock = crate::start::clock();
    let mut times = Vec::new();
    for _ in 0..500 {
        let before = clock();
        file.write_all(&[7; 4096])
            .and_then(|()| file.sync_data())
            .map_err(|e| Fault::file(&path, &e))?;
        times.push(clock().since(before));
    }
    drop(file);
    std::fs::remove_file(&path).map_err(|e| Fault::file(&path, &e))?;
    Ok(Percentiles::of(times))
}
