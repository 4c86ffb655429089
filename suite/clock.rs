//! The one source of time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Where a run gets its time from.
///
/// On a cluster it is the wall clock. On the embedded reference the run and the reference share one clock that may run
/// faster than the wall, so that an interval of a minute costs a second there.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Timestamp,
    started: Instant,
    scale: f64,
}

impl Clock {
    /// The wall clock, started now.
    pub fn wall() -> Self {
        Self::scaled(1.0)
    }

    /// A clock that starts at the wall's time and then runs `scale` times as fast. A scale that is not positive is taken for 1.
    pub fn scaled(scale: f64) -> Self {
        let scale = if scale.is_finite() && scale > 0.0 {
            scale
        } else {
            1.0
        };
        Self {
            origin: Timestamp::now(),
            started: Instant::now(),
            scale,
        }
    }

    /// A clock that reads `origin` now and runs with the wall.
    pub fn at(origin: Timestamp) -> Self {
        Self {
            origin,
            started: Instant::now(),
            scale: 1.0,
        }
    }

    /// A clock as fast as this one that starts now.
    #[must_use]
    pub fn restarted(&self) -> Self {
        Self::scaled(self.scale)
    }

    /// The same clock as somebody reads it whose time of day is wrong by so much.
    #[must_use]
    pub fn skewed(&self, by: SignedDuration) -> Self {
        Self {
            origin: self.origin.checked_add(by).unwrap_or(self.origin),
            ..*self
        }
    }

    /// How many of this clock's seconds go into one of the wall's.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The time at which this clock was started.
    pub fn origin(&self) -> Timestamp {
        self.origin
    }

    /// The clock's time since its start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed().mul_f64(self.scale)
    }

    /// Whole milliseconds of the clock's time since its start.
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The clock's time of day.
    pub fn now(&self) -> Timestamp {
        self.origin
            .checked_add(self.elapsed())
            .unwrap_or(Timestamp::MAX)
    }

    /// Lets `duration` of the clock's time pass.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.to_wall(duration)).await;
    }

    /// How long a `duration` of this clock takes on the wall.
    pub fn to_wall(&self, duration: Duration) -> Duration {
        duration.div_f64(self.scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_clock_runs_ahead_of_the_wall() {
        let clock = Clock::scaled(1000.0);
        std::thread::sleep(Duration::from_millis(5));
        assert!(clock.elapsed() >= Duration::from_secs(5));
        assert_eq!(
            clock.to_wall(Duration::from_secs(1)),
            Duration::from_millis(1)
        );
    }

    #[test]
    fn a_senseless_scale_is_the_wall() {
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!((Clock::scaled(scale).scale() - 1.0).abs() < f64::EPSILON);
        }
    }
}
