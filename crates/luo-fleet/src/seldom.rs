// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines of the log that others could make as many of as they like, or that a fault would repeat
//! several times a second.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Says when a line may be written.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    /// When the last one was, and how many were left out since.
    last: Mutex<Option<(Instant, u64)>>,
}

impl Seldom {
    /// One line in so long a time.
    #[must_use]
    pub const fn new(every: Duration) -> Self {
        Self {
            every,
            last: Mutex::new(None),
        }
    }

    /// Whether a line may be written now; then, how many were left out before it.
    pub fn may(&self, now: Instant) -> Option<u64> {
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        match &mut *last {
            Some((at, left_out)) if now.saturating_duration_since(*at) < self.every => {
                *left_out = left_out.saturating_add(1);
                None
            }
            before => {
                let left_out = before.map_or(0, |(_, left_out)| left_out);
                *before = Some((now, 0));
                Some(left_out)
            }
        }
    }

    /// The next line may be written, whenever it comes: it is about something new.
    pub fn again(&self) {
        *self
            .last
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_at_once_and_then_one_in_a_while_with_the_number_of_the_others() {
        let seldom = Seldom::new(Duration::from_secs(10));
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(seldom.may(at(0)), Some(0));
        assert_eq!((seldom.may(at(1)), seldom.may(at(9))), (None, None));
        assert_eq!(seldom.may(at(10)), Some(2));
        assert_eq!(seldom.may(at(11)), None);
        seldom.again();
        assert_eq!(seldom.may(at(12)), Some(0));
    }
}
