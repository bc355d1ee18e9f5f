//! Sources room: reads the times of a record and keeps them apart. Never takes a clock's word for a
//! missing time.

use quell_core::signal::{RejectReason, Times};
use quell_core::time::{Moment, SECOND, Time};
use serde_json::Value;

use crate::body::BodyFault;
use crate::limits::{FUTURE_MAX, LATE_FROM};
use crate::pack::{Group, Path};

/// Times of one view of a record, with what was odd about them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) times: Times,
    /// A time had no zone and was read as UTC.
    pub(super) zoneless: bool,
    /// Seconds from the event to the verdict; 0 when the verdict came first.
    pub(super) late_s: i64,
}

impl Read {
    /// The verdict came later than an hour after the event.
    pub(super) fn is_late(&self) -> bool {
        self.times.judged.is_some_and(|judged| judged.since(self.times.happened.t) > LATE_FROM)
    }
}

/// Reads the times that a group names.
pub(super) fn read(
    group: &Group,
    record: &Value,
    without_zone: bool,
    now: Time,
) -> Result<Read, BodyFault> {
    let mut reader = Reader { without_zone, now, zoneless: false };
    let Some(happened) = reader.first(&group.happened, record)? else {
        let detail = "no time at which the event happened".to_owned();
        return Err(BodyFault::new(RejectReason::MissingMember, detail));
    };
    let judged = reader.first(&group.judged, record)?.map(|moment| moment.t);
    let written = reader.greatest(&group.written, record)?;
    let written = written.unwrap_or(happened.t);
    let late = judged.map_or(0, |judged| judged.since(happened.t));
    Ok(Read {
        times: Times { happened, judged, written },
        zoneless: reader.zoneless,
        late_s: late.max(0) / SECOND,
    })
}

/// Reads the time that a row names for its statement; none when the record does not tell it.
pub(super) fn stated(
    paths: &[Path],
    record: &Value,
    without_zone: bool,
    now: Time,
) -> Result<Option<Moment>, BodyFault> {
    Reader { without_zone, now, zoneless: false }.first(paths, record)
}

struct Reader {
    without_zone: bool,
    now: Time,
    zoneless: bool,
}

impl Reader {
    /// The time at the first path that leads to one.
    fn first(&mut self, paths: &[Path], record: &Value) -> Result<Option<Moment>, BodyFault> {
        let found = paths.iter().filter_map(|path| path.first(record)).find(|v| !v.is_null());
        found.map(|value| self.moment(value)).transpose()
    }

    /// The greatest time at any of the paths.
    fn greatest(&mut self, paths: &[Path], record: &Value) -> Result<Option<Time>, BodyFault> {
        let mut values = Vec::new();
        for path in paths {
            path.each(record, &mut |value| values.push(value));
        }
        let mut greatest = None;
        for value in values.into_iter().filter(|value| !value.is_null()) {
            greatest = greatest.max(Some(self.moment(value)?.t));
        }
        Ok(greatest)
    }

    fn moment(&mut self, value: &Value) -> Result<Moment, BodyFault> {
        let bad = || {
            let shown: String = value.to_string().chars().take(60).collect();
            BodyFault::new(RejectReason::BadTime, format!("`{shown}` is no time"))
        };
        let text = value.as_str().ok_or_else(bad)?.trim();
        let moment = match Time::parse(text) {
            Some(moment) => moment,
            None if self.without_zone && text.len() < 40 => {
                self.zoneless = true;
                Time::parse(&format!("{text}Z")).ok_or_else(bad)?
            }
            None => return Err(bad()),
        };
        if moment.t.since(self.now) > FUTURE_MAX {
            let detail = format!("`{}` is more than 5 minutes in the future", moment.t);
            return Err(BodyFault::new(RejectReason::FutureTime, detail));
        }
        Ok(moment)
    }
}
