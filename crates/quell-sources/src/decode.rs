//! Sources room: turns a body into signals and rejects by a pack. Pure: no I/O, no clock; `now` is
//! an argument. Never guesses: what the pack does not list is a reject with its reason.

mod record;
mod signals;
mod times;
mod value;

use std::ops::Range;

use quell_core::id::Digest;
use quell_core::signal::{Provenance, Reject, RejectReason, Signal};
use quell_core::time::Time;

use crate::body::{self, BodyFault, Part};
use crate::limits::{BODY_SIGNALS_MAX, DEPTH_MAX, DETAIL_CHARS_MAX, RECORD_BYTES_MAX};
use crate::pack::Pack;
use record::Record;

/// What a decoder must know besides the bytes.
#[derive(Debug, Clone, Copy)]
pub struct DecodeContext<'a> {
    /// The tenant; first field of every id.
    pub tenant: &'a str,
    /// The configured source's name.
    pub source: &'a str,
    /// How the source proved who it is.
    pub provenance: Provenance,
    /// The receive time; only what lies more than 5 minutes after it is refused.
    pub now: Time,
    /// The identity provider of this source, where it is not the pack's own name for it.
    pub provider: Option<&'a str>,
    /// The provider's ids of Quell's own principals and tokens: what they did has `self`.
    pub own_principals: &'a [String],
    /// The mail domains that the source may speak for, in lower case; empty means any.
    pub allowed_domains: &'a [String],
}

/// What a body gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// One result for each record, in the order of the body.
    pub records: Vec<DecodedRecord>,
    /// Why the body as a whole could not be read; there are no records then, and a door answers
    /// 400 and keeps this one reject.
    pub fault: Option<Reject>,
    /// The body gives more than [`BODY_SIGNALS_MAX`] signals: nothing of it was decoded. A door
    /// answers 413 and stores nothing, a poller asks for fewer records.
    pub too_many: bool,
}

/// What one record gave: signals, or a reject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedRecord {
    /// Where the record stands in the body.
    pub raw: Range<usize>,
    /// The digest of those bytes.
    pub digest: Digest,
    /// The event type that the pack saw, as the vendor names it, at most 240 characters.
    pub event_type: Option<String>,
    /// In the order of kind and ordinal.
    pub signals: Vec<Signal>,
    /// Why there are no signals.
    pub reject: Option<Reject>,
}

impl Pack {
    /// Decodes a body: an array of events, or one object or NDJSON, where each object is an event
    /// or an answer that holds events in the pack's lists.
    ///
    /// Each record stands for itself: neither its neighbours nor their order change its signals.
    pub fn decode(&self, ctx: &DecodeContext<'_>, body: &[u8]) -> Decoded {
        match body::split(body, &self.lists) {
            Ok(parts) => {
                let mut records = Vec::with_capacity(parts.len());
                let mut signals = 0_usize;
                for part in &parts {
                    let record = self.decode_part(ctx, body, part);
                    signals = signals.saturating_add(record.signals.len());
                    if signals > BODY_SIGNALS_MAX {
                        return Decoded { records: Vec::new(), fault: None, too_many: true };
                    }
                    records.push(record);
                }
                Decoded { records, fault: None, too_many: false }
            }
            Err(fault) => {
                let fault = reject(ctx, &fault, Digest::of(body));
                Decoded { records: Vec::new(), fault: Some(fault), too_many: false }
            }
        }
    }

    fn decode_part(&self, ctx: &DecodeContext<'_>, body: &[u8], part: &Part<'_>) -> DecodedRecord {
        let digest = Digest::of(part.raw.as_bytes());
        let mut event_type = None;
        let result = read(self, part, &mut event_type)
            .and_then(|record| signals::signals(self, ctx, record, digest));
        let (signals, reject) = match result {
            Ok(signals) => (signals, None),
            Err(fault) => (Vec::new(), Some(reject(ctx, &fault, digest))),
        };
        let raw = body::range(body, part.raw);
        DecodedRecord { raw, digest, event_type, signals, reject }
    }
}

/// Parses one record and finds what the pack says about its type.
fn read<'p>(
    pack: &'p Pack,
    part: &Part<'_>,
    event_type: &mut Option<String>,
) -> Result<Record<'p>, BodyFault> {
    let too_large = |detail: String| BodyFault::new(RejectReason::TooLarge, detail);
    if part.raw.len() > RECORD_BYTES_MAX {
        return Err(too_large(format!("a record over the limit of {RECORD_BYTES_MAX} bytes")));
    }
    if body::is_deeper_than(part.raw, DEPTH_MAX) {
        return Err(too_large(format!("nesting over the limit of {DEPTH_MAX} levels")));
    }
    let value = serde_json::from_str(part.raw)
        .map_err(|error| BodyFault::new(RejectReason::Unparsable, body::json_fault(&error)))?;
    let mut record = Record::new(pack, value, part.list)?;
    let unlisted = |detail: String| BodyFault::new(RejectReason::UnlistedEvent, detail);
    let Some(named) = record.event_type(pack) else {
        return Err(unlisted("no event type that the pack knows".to_owned()));
    };
    let shown = clean(&named);
    let group = pack.group(&named);
    let result = match group {
        Some(group) => {
            record.enter(pack, group);
            Ok(record)
        }
        None => Err(unlisted(format!("event type `{shown}` is not listed in the pack"))),
    };
    *event_type = Some(shown);
    result
}

fn reject(ctx: &DecodeContext<'_>, fault: &BodyFault, record: Digest) -> Reject {
    let detail = clean(&fault.detail);
    Reject { source: ctx.source.to_owned(), reason: fault.reason, detail, record }
}

/// A stranger's text for people: no control or format characters, bounded.
fn clean(text: &str) -> String {
    if text.len() <= DETAIL_CHARS_MAX && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return text.to_owned();
    }
    let invisible = |c: &char| match *c {
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => true,
        '\u{2060}'..='\u{2069}' | '\u{feff}' => true,
        c => c.is_control(),
    };
    text.chars().filter(|c| !invisible(c)).take(DETAIL_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
