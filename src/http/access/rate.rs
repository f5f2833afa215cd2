//! How often: a bucket a key that fills again with time (the generic cell rate algorithm of the crate `governor`).

use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Keys that are remembered before those with a full bucket are forgotten.
const KEYS: usize = 10_000;

/// Counts by key; without a limit, everything passes.
pub struct Rate<K: Hash + Eq + Clone> {
    limiter: Option<DefaultKeyedRateLimiter<K>>,
    clock: DefaultClock,
}

impl<K: Hash + Eq + Clone> Rate<K> {
    /// Lets so many a second pass, as many again at once; any number for 0.
    #[must_use]
    pub fn a_second(most: u32) -> Self {
        // Whoever was quiet for two seconds may ask for two seconds' worth.
        let burst = NonZeroU32::new(most.saturating_mul(2));
        Self::of(
            NonZeroU32::new(most)
                .zip(burst)
                .map(|(rate, burst)| Quota::per_second(rate).allow_burst(burst)),
        )
    }

    /// Lets so many a minute pass.
    #[must_use]
    pub fn a_minute(most: u32) -> Self {
        Self::of(NonZeroU32::new(most).map(Quota::per_minute))
    }

    fn of(quota: Option<Quota>) -> Self {
        Self {
            limiter: quota.map(RateLimiter::keyed),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one of a key.
    ///
    /// # Errors
    /// It is one too many: gives how long to wait.
    pub fn check(&self, key: &K) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        if limiter.len() > KEYS {
            limiter.retain_recent();
        }
        limiter
            .check_key(key)
            .map_err(|early| early.wait_time_from(self.clock.now()))
    }
}

impl<K: Hash + Eq + Clone> std::fmt::Debug for Rate<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rate")
            .field("limited", &self.limiter.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_bucket_of_its_own() {
        let rate = Rate::a_minute(3);
        for _ in 0..3 {
            assert_eq!(rate.check(&"a"), Ok(()));
        }
        let wait = rate.check(&"a").unwrap_err();
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_secs(20),
            "{wait:?}"
        );
        assert_eq!(rate.check(&"b"), Ok(()));
    }

    #[test]
    fn without_a_limit_everything_passes() {
        let rate = Rate::a_second(0);
        assert!((0..100_000).all(|_| rate.check(&1).is_ok()));
    }
}
