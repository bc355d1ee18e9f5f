//! `quell decode --pack P FILE…`: what a pack makes of records, as NDJSON. Decides nothing.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use clap::Args;
use quell_core::signal::Provenance;
use quell_core::time::Time;
use quell_sources::limits::BODY_SIGNALS_MAX;
use quell_sources::{DecodeContext, Decoded, Pack};
use serde_json::json;
use serde_json::value::RawValue;

use super::say_json;
use crate::assemble::{self, Brain};
use crate::config::Place;
use crate::fault::Fault;

/// Print signals and rejects of files with a vendor's records.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quell decode --pack okta system-log.ndjson")]
pub(crate) struct Decode {
    /// The pack: its name, or a folder that holds `pack.yml`.
    #[arg(long)]
    pack: String,
    /// The source's name; the pack's when unset.
    #[arg(long)]
    source: Option<String>,
    /// The receive time, RFC 3339; by default far enough that no record lies in the future.
    #[arg(long)]
    now: Option<String>,
    /// Files with one record, an array, NDJSON or a vendor's page; `.gz` is unpacked.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// NDJSON is the only form; accepted for symmetry.
    #[arg(long)]
    json: bool,
}

impl Decode {
    pub(crate) fn run(&self, config: Option<&Path>) -> Result<(), Fault> {
        let brain = brain(config)?;
        let pack = find_pack(&brain, &self.pack)?;
        let now = match &self.now {
            Some(text) => parse_time(text)?,
            None => Time(i64::MAX / 4),
        };
        let source = self.source.as_deref().unwrap_or(pack.name());
        for file in &self.files {
            let body = read(file)?;
            let name = file.display().to_string();
            let parts = bodies(&body);
            let decoded = parts.iter().map(|part| decode(&pack, source, now, part));
            let decoded: Vec<Decoded> = decoded.collect::<Result<_, _>>()?;
            for fault in decoded.iter().filter_map(|decoded| decoded.fault.as_ref()) {
                say_json(&json!({ "file": name, "reject": fault }))?;
            }
            for (n, record) in decoded.iter().flat_map(|d| &d.records).enumerate() {
                for signal in &record.signals {
                    say_json(&json!({ "file": name, "record": n, "signal": signal }))?;
                }
                if let Some(reject) = &record.reject {
                    let event = &record.event_type;
                    say_json(&json!({
                        "file": name, "record": n, "event_type": event, "reject": reject,
                    }))?;
                }
            }
        }
        Ok(())
    }
}

/// The user's folder where there is one, else what Quell ships.
pub(crate) fn brain(config: Option<&Path>) -> Result<Brain, Fault> {
    let loaded =
        if Place::exists(config) { Brain::load(&Place::find(config)?) } else { Brain::shipped() };
    loaded.map_err(|problems| assemble::fault(&problems))
}

/// A pack by name, or from a folder.
pub(crate) fn find_pack(brain: &Brain, name: &str) -> Result<std::sync::Arc<Pack>, Fault> {
    if let Some(pack) = brain.packs.get(name) {
        return Ok(std::sync::Arc::clone(pack));
    }
    let file = Path::new(name).join("pack.yml");
    if file.exists() {
        let text = std::fs::read_to_string(&file).map_err(|e| Fault::file(&file, &e))?;
        let pack = Pack::load(&file.display().to_string(), &text);
        return pack.map(std::sync::Arc::new).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(|e| format!("\n  {e}")).collect();
            Fault::config(format!("the pack is not valid:{}", lines.concat()), "")
        });
    }
    let known: Vec<&str> = brain.packs.keys().map(String::as_str).collect();
    let near = quell_core::nearest(name, known.iter().copied());
    let help =
        near.map_or(format!("one of {}", known.join(", ")), |n| format!("did you mean `{n}`?"));
    Err(Fault::input(format!("there is no pack `{name}`"), help))
}

/// Decodes a body as read from a file.
pub(crate) fn decode(pack: &Pack, source: &str, now: Time, body: &[u8]) -> Result<Decoded, Fault> {
    let context = DecodeContext {
        tenant: "default",
        source,
        provenance: Provenance::File,
        now,
        provider: None,
        own_principals: &[],
        allowed_domains: &[],
    };
    let decoded = pack.decode(&context, body);
    if decoded.too_many {
        let what = format!("more than {BODY_SIGNALS_MAX} signals in {AT_ONCE} records");
        return Err(Fault::input(what, "split the file"));
    }
    Ok(decoded)
}

/// A file's bytes, unpacked where its name ends in `.gz`, at most 256 MiB.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    use std::io::Read;
    const MAX: u64 = 256 << 20;
    let file = std::fs::File::open(path).map_err(|e| Fault::file(path, &e))?;
    let mut bytes = Vec::new();
    let packed = path.extension().is_some_and(|e| e == "gz");
    let result = if packed {
        flate2::read::MultiGzDecoder::new(file).take(MAX + 1).read_to_end(&mut bytes)
    } else {
        file.take(MAX + 1).read_to_end(&mut bytes)
    };
    result.map_err(|e| Fault::file(path, &e))?;
    if bytes.len() as u64 > MAX {
        return Err(Fault::input(format!("`{}` is too long", path.display()), "at most 256 MiB"));
    }
    Ok(bytes)
}

/// A time the user gave.
pub(crate) fn parse_time(text: &str) -> Result<Time, Fault> {
    let moment = Time::parse(text);
    moment.map(|m| m.t).ok_or_else(|| {
        Fault::input(format!("`{text}` is no RFC 3339 time"), "e.g. 2026-11-25T12:00:00Z")
    })
}

/// Records of a list or of NDJSON that are decoded at once.
const AT_ONCE: usize = 2000;

/// A file's bytes as bodies that a door would take: a long list or long NDJSON in parts, everything
/// else whole.
pub(crate) fn bodies(bytes: &[u8]) -> Vec<Cow<'_, [u8]>> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        return lists(bytes).unwrap_or_else(|| vec![bytes.into()]);
    }
    let lines = || bytes.split_inclusive(|b| *b == b'\n');
    let object = |line: &[u8]| {
        let trimmed = line.trim_ascii();
        trimmed.is_empty() || trimmed.starts_with(b"{") && trimmed.ends_with(b"}")
    };
    if lines().take(AT_ONCE + 1).count() <= AT_ONCE || !lines().all(object) {
        return vec![bytes.into()];
    }
    let mut parts: Vec<Cow<'_, [u8]>> = Vec::new();
    let (mut start, mut end, mut count) = (0, 0, 0);
    for line in lines() {
        end += line.len();
        count += 1;
        if count == AT_ONCE {
            parts.extend(bytes.get(start..end).map(Cow::from));
            (start, count) = (end, 0);
        }
    }
    parts.extend(bytes.get(start..end).filter(|part| !part.is_empty()).map(Cow::from));
    parts
}

/// A long list as shorter ones; none when it is short, or no list.
fn lists(bytes: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
    let items: Vec<&RawValue> = serde_json::from_slice(bytes).ok()?;
    if items.len() <= AT_ONCE {
        return None;
    }
    let part = |items: &[&RawValue]| serde_json::to_vec(items).map(Cow::from).ok();
    items.chunks(AT_ONCE).map(part).collect()
}
