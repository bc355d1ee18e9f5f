//! Sources room: how fast one source may send. A bucket of tokens; the clock is an argument.

use quell_core::time::{SECOND, Time};

/// Requests a second that one source may send in the long run.
pub const REQUESTS_PER_SECOND: u32 = 200;
/// Requests that it may send at once after a pause.
pub const REQUESTS_BURST: u32 = 1_000;

/// Microseconds of waiting that one request costs.
const COST: i64 = SECOND / REQUESTS_PER_SECOND as i64;

/// A bucket, kept as the time until which it is used up.
#[derive(Debug)]
pub(super) struct Bucket {
    used_until: Time,
}

impl Bucket {
    pub(super) fn full() -> Self {
        Self { used_until: Time(i64::MIN) }
    }

    /// Takes one request, or says after how many seconds one is free.
    pub(super) fn take(&mut self, now: Time) -> Result<(), u32> {
        let next = self.used_until.max(now).plus(COST);
        let ahead = next.since(now);
        if ahead > COST * i64::from(REQUESTS_BURST) {
            let over = ahead - COST * i64::from(REQUESTS_BURST);
            return Err(u32::try_from(over / SECOND + 1).unwrap_or(u32::MAX));
        }
        self.used_until = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::full();
        let now = Time(1_000 * SECOND);
        let taken = (0..REQUESTS_BURST + 5).filter(|_| bucket.take(now).is_ok()).count();
        assert_eq!(taken, REQUESTS_BURST as usize);
        assert_eq!(bucket.take(now), Err(1));
        let later = now.plus(SECOND);
        let taken = (0..REQUESTS_BURST).filter(|_| bucket.take(later).is_ok()).count();
        assert_eq!(taken, REQUESTS_PER_SECOND as usize);
    }
}
