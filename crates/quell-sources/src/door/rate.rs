//! Sources room: how fast somebody may send. A bucket of tokens; the clock is an argument.

use quell_core::time::{SECOND, Time};

/// Requests a second that one source may send in the long run, unless it is configured otherwise.
pub const REQUESTS_PER_SECOND: u32 = 1_000;
/// The highest rate that can be configured, requests a second.
pub const REQUESTS_PER_SECOND_MAX: u32 = 100_000;
/// After a pause a source may send what it may send in so many seconds at once.
pub const BURST_SECONDS: u32 = 5;

/// A bucket, kept as the time until which it is used up.
#[derive(Debug)]
pub struct Bucket {
    used_until: Time,
    /// Microseconds of waiting that one request costs.
    cost: i64,
}

impl Bucket {
    /// A bucket for a rate between 1 and [`REQUESTS_PER_SECOND_MAX`]; others count as the nearest.
    pub fn full(per_second: u32) -> Self {
        let per_second = per_second.clamp(1, REQUESTS_PER_SECOND_MAX);
        Self { used_until: Time(i64::MIN), cost: SECOND / i64::from(per_second) }
    }

    /// Takes one request.
    ///
    /// # Errors
    /// After how many seconds one is free.
    pub fn take(&mut self, now: Time) -> Result<(), u32> {
        let next = self.used_until.max(now).plus(self.cost);
        let over = next.since(now) - SECOND * i64::from(BURST_SECONDS);
        if over > 0 {
            return Err(u32::try_from(over / SECOND + 1).unwrap_or(u32::MAX));
        }
        self.used_until = next;
        Ok(())
    }

    /// True when nothing is used up: a new bucket would be the same.
    pub fn is_full(&self, now: Time) -> bool {
        self.used_until <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let check = |per_second: u32, rate: usize| {
            let mut bucket = Bucket::full(per_second);
            let now = Time(1_000 * SECOND);
            let burst = rate * BURST_SECONDS as usize;
            assert_eq!((0..burst + 5).filter(|_| bucket.take(now).is_ok()).count(), burst);
            assert_eq!(bucket.take(now), Err(if rate == 1 { 2 } else { 1 }));
            let later = now.plus(SECOND);
            assert_eq!((0..burst).filter(|_| bucket.take(later).is_ok()).count(), rate);
        };
        check(REQUESTS_PER_SECOND, 1_000);
        check(1, 1);
        check(0, 1);
        check(u32::MAX, 100_000);
    }
}
