//! Precision: of the cases that people closed, how many were true, by source and kind. It knows no
//! policy; what it may change is said where authority is asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::signal::Kind;
use crate::time::{DAY, Time};

/// How far back closed cases count, in days.
pub const WINDOW_DAYS: i64 = 90;
/// Under how many closed cases nothing is said.
pub const CASES_MIN: u32 = 20;

/// Cases closed on one day that cite one source and kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Closed as true.
    #[serde(rename = "true")]
    pub right: u32,
    /// Closed as false.
    #[serde(rename = "false")]
    pub wrong: u32,
}

/// What the closed cases of [`WINDOW_DAYS`] say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Measured {
    /// true / (true + false), 0 to 100, cut off.
    pub percent: u8,
    /// true + false.
    pub cases: u32,
}

/// Tallies by source and kind, then by day since 1970-01-01 UTC.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Precision {
    days: BTreeMap<(String, String), BTreeMap<i64, Tally>>,
}

/// Between the parts of a row's key.
const BETWEEN: char = '\u{1f}';

impl Precision {
    /// Counts one case closed at this time; gives the row's key and the new tally.
    pub fn count(&mut self, source: &str, kind: Kind, at: Time, right: bool) -> (String, Tally) {
        let day = day(at);
        let of = self.days.entry((source.to_owned(), kind.name().to_owned())).or_default();
        let tally = of.entry(day).or_default();
        let number = if right { &mut tally.right } else { &mut tally.wrong };
        *number = number.saturating_add(1);
        (key(source, kind.name(), day), *tally)
    }

    /// Takes a row of the store; a key that is none is passed over.
    pub fn load(&mut self, key: &str, tally: Tally) {
        let mut parts = key.split(BETWEEN);
        if let (Some(source), Some(kind), Some(Ok(day)), None) =
            (parts.next(), parts.next(), parts.next().map(str::parse), parts.next())
        {
            let of = self.days.entry((source.to_owned(), kind.to_owned())).or_default();
            of.insert(day, tally);
        }
    }

    /// Drops days that no longer count; gives the keys of their rows.
    pub fn forget(&mut self, at: Time) -> Vec<String> {
        let oldest = day(at) - WINDOW_DAYS;
        let mut gone = Vec::new();
        for ((source, kind), days) in &mut self.days {
            let kept = days.split_off(&oldest);
            gone.extend(std::mem::replace(days, kept).into_keys().map(|d| key(source, kind, d)));
        }
        self.days.retain(|_, days| !days.is_empty());
        gone
    }

    /// What is known of a source's signals of one kind; nothing under [`CASES_MIN`] cases.
    pub fn of(&self, source: &str, kind: Kind, at: Time) -> Option<Measured> {
        self.measure(&(source.to_owned(), kind.name().to_owned()), at)
            .filter(|measured| measured.cases >= CASES_MIN)
    }

    /// Every source and kind with closed cases, sorted, however few.
    pub fn all(&self, at: Time) -> impl Iterator<Item = (&str, &str, Measured)> {
        let all = self.days.keys();
        all.filter_map(move |pair| Some((&*pair.0, &*pair.1, self.measure(pair, at)?)))
    }

    fn measure(&self, pair: &(String, String), at: Time) -> Option<Measured> {
        let days = self.days.get(pair)?.range(day(at) - WINDOW_DAYS..);
        let (right, wrong) = days.fold((0_u32, 0_u32), |(right, wrong), (_, tally)| {
            (right.saturating_add(tally.right), wrong.saturating_add(tally.wrong))
        });
        let cases = right.checked_add(wrong).filter(|cases| *cases > 0)?;
        let percent = u64::from(right) * 100 / u64::from(cases);
        Some(Measured { percent: u8::try_from(percent).unwrap_or(100), cases })
    }
}

fn day(at: Time) -> i64 {
    at.0.div_euclid(DAY)
}

fn key(source: &str, kind: &str, day: i64) -> String {
    format!("{source}{BETWEEN}{kind}{BETWEEN}{day}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_of_few_cases_and_old_ones_go() {
        let mut precision = Precision::default();
        let at = Time(1000 * DAY);
        let mut rows = BTreeMap::new();
        for n in 0..20 {
            assert_eq!(precision.of("okta", Kind::RiskChanged, at), None, "after {n}");
            let day = at.plus(-i64::from(n) * 4 * DAY);
            let (key, tally) = precision.count("okta", Kind::RiskChanged, day, n % 4 != 0);
            rows.insert(key, tally);
        }
        let known = Measured { percent: 75, cases: 20 };
        assert_eq!(precision.of("okta", Kind::RiskChanged, at), Some(known));
        assert_eq!(precision.of("okta", Kind::SignIn, at), None);
        let mut loaded = Precision::default();
        rows.iter().for_each(|(key, tally)| loaded.load(key, *tally));
        assert_eq!(loaded, precision);
        // 76 days after the first the ones before day 90 no longer count
        let later = at.plus(16 * DAY);
        assert_eq!(precision.of("okta", Kind::RiskChanged, later), None);
        let gone = precision.forget(later);
        assert_eq!(gone.len(), 1);
        assert!(rows.contains_key(&gone[0]));
        assert_eq!(precision.all(later).next().unwrap().2.cases, 19);
    }
}
