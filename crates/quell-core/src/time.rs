//! Time as a value: signed microseconds UTC with a precision. There is no clock in this room.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// Microseconds in an hour.
pub const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day.
pub const DAY: i64 = 24 * HOUR;

/// A point in time: signed 64-bit microseconds since 1970-01-01T00:00:00Z.
///
/// Text form: RFC 3339 with six digits and `Z`. It has years 0000 to 9999: what lies beyond is
/// written as the first or the last time that it has, so that what is written can be read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub i64);

/// The first time that has a text form: the start of the year 0000.
const FIRST: Time = Time(-62_167_219_200_000_000);
/// The last one: the end of the year 9999.
const LAST: Time = Time(253_402_300_799_999_999);

impl Time {
    /// Later by `micros`; saturates.
    pub fn plus(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds since `earlier`; negative when `earlier` is later; saturates.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339 with any number of fraction digits (those past six are cut) and any
    /// offset written `Z`, `+hh:mm` or `+hhmm`. The precision follows the digits written.
    pub fn parse(text: &str) -> Option<Moment> {
        parse(text)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.clamp(FIRST.0, LAST.0);
        let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        let (secs, micros) = (rest / SECOND, rest % SECOND);
        let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        let moment = parse(&text);
        moment.map(|m| m.t).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

impl<C> minicbor::Encode<C> for Time {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.i64(self.0)?;
        Ok(())
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Time {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.i64().map(Self)
    }
}

/// How exactly a time is known: it lies in [t, t + precision).
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    Serialize,
    Deserialize,
    Default,
    Encode,
    Decode,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Precision {
    /// Whole seconds.
    #[n(0)]
    Second,
    /// Milliseconds.
    #[n(1)]
    Milli,
    /// Microseconds.
    #[n(2)]
    #[default]
    Micro,
}

impl Precision {
    /// Length in microseconds.
    pub fn micros(self) -> i64 {
        match self {
            Self::Second => SECOND,
            Self::Milli => 1_000,
            Self::Micro => 1,
        }
    }
}

/// A time with its precision.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
    Serialize,
    Deserialize,
    Default,
    Encode,
    Decode,
)]
pub struct Moment {
    /// The start of the interval; windows, anchors and revisions use it.
    #[n(0)]
    pub t: Time,
    /// The length of the interval.
    #[n(1)]
    pub precision: Precision,
}

impl Moment {
    /// True when `self` may have happened before `later`: overlapping intervals count as in
    /// order.
    pub fn may_precede(self, later: Self) -> bool {
        self.t.0 < later.t.0.saturating_add(later.precision.micros())
    }
}

/// Days since 1970-01-01 to a proleptic Gregorian date (Howard Hinnant, "chrono-compatible
/// low-level date algorithms").
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month, doy - (153 * mp + 2) / 5 + 1)
}

/// The inverse of [`civil_from_days`].
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = year - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = if month > 2 { month - 3 } else { month + 9 };
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + (153 * mp + 2) / 5 + day - 1;
    era * 146_097 + doe - 719_468
}

fn parse(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes().get(..text.len().min(41))?;
    let number = |from: usize, len: usize| -> Option<i64> {
        let digits = bytes.get(from..from + len)?;
        digits
            .iter()
            .try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let is = |at: usize, what: &[u8]| bytes.get(at).is_some_and(|b| what.contains(b));
    let shape = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !shape || day < 1 || day > last || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let (mut micros, mut digits) = (0_i64, 0_u32);
    if is(at, b".,") {
        at += 1;
        while let Some(digit) = number(at, 1) {
            if digits < 6 {
                micros = micros * 10 + digit;
            }
            (digits, at) = (digits + 1, at + 1);
        }
        if digits == 0 {
            return None;
        }
    }
    micros *= 10_i64.pow(6_u32.saturating_sub(digits));
    let offset = if is(at, b"Zz") {
        at += 1;
        0
    } else {
        let sign = if is(at, b"+") {
            1
        } else if is(at, b"-") {
            -1
        } else {
            return None;
        };
        let colon = usize::from(is(at + 3, b":"));
        let (hours, minutes) = (number(at + 1, 2)?, number(at + 3 + colon, 2)?);
        at += 5 + colon;
        if hours > 23 || minutes > 59 {
            return None;
        }
        sign * (hours * HOUR + minutes * MINUTE)
    };
    if at != bytes.len() {
        return None;
    }
    let secs = hour * 3600 + minute * 60 + second.min(59);
    let t = days_from_civil(year, month, day) * DAY + secs * SECOND + micros - offset;
    let precision = match digits {
        0 => Precision::Second,
        1..=3 => Precision::Milli,
        _ => Precision::Micro,
    };
    Some(Moment { t: Time(t), precision })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_vendors_write() {
        let check = |text: &str, want: &str| {
            let got = Time::parse(text).map(|m| format!("{} {:?}", m.t, m.precision));
            assert_eq!(got.unwrap_or_else(|| "none".into()), want, "{text}");
        };
        check("2026-03-21T20:39:37.000Z", "2026-03-21T20:39:37.000000Z Milli");
        check("2026-03-21T20:39:37Z", "2026-03-21T20:39:37.000000Z Second");
        check("2026-03-21T20:39:37.1234567Z", "2026-03-21T20:39:37.123456Z Micro");
        check("2026-03-21T22:39:37+0200", "2026-03-21T20:39:37.000000Z Second");
        check("2026-02-29T00:00:00Z", "none");
        check("2024-02-29T00:00:00-01:30", "2024-02-29T01:30:00.000000Z Second");
        check("2026-03-21", "none");
        check("2026-03-21T20:39:37", "none");
        check("2026-13-21T20:39:37Z", "none");
    }

    proptest! {
        #[test]
        fn text_form_round_trips(micros in -62_135_596_800_000_000_i64..253_402_300_799_000_000) {
            let text = Time(micros).to_string();
            prop_assert_eq!(Time::parse(&text).map(|m| m.t), Some(Time(micros)));
        }

        #[test]
        fn what_is_written_can_be_read(micros in any::<i64>()) {
            let read = Time::parse(&Time(micros).to_string()).map(|m| m.t);
            prop_assert_eq!(read, Some(Time(micros.clamp(FIRST.0, LAST.0))));
        }

        #[test]
        fn never_panics(text in "\\PC{0,45}") {
            let _moment = Time::parse(&text);
        }
    }
}
