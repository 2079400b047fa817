// SPDX-License-Identifier: MIT OR Apache-2.0
//! Peers can make the agent log as often as they like. It does so often enough to be
//! noticed, and says how much it left out.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Lines in a window.
const LINES: u32 = 20;

/// How long a window is.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts lines.
#[derive(Debug)]
pub(crate) struct Quiet {
    began: Cell<Instant>,
    lines: Cell<u32>,
    left_out: Cell<u64>,
}

impl Default for Quiet {
    fn default() -> Self {
        Self {
            began: Cell::new(Instant::now()),
            lines: Cell::new(0),
            left_out: Cell::new(0),
        }
    }
}

impl Quiet {
    /// Logs a warning, unless there were too many of late.
    pub(crate) fn warn(&self, text: &str) {
        if let Some(left_out) = self.may(Instant::now()) {
            if left_out > 0 {
                tracing::warn!("{left_out} warnings about peers were left out");
            }
            tracing::warn!("{text}");
        }
    }

    /// Whether a line may be logged now; how many were not since the last one.
    fn may(&self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.began.get()) >= WINDOW {
            self.began.set(now);
            self.lines.set(0);
        }
        if self.lines.get() >= LINES {
            self.left_out.set(self.left_out.get().saturating_add(1));
            return None;
        }
        self.lines.set(self.lines.get() + 1);
        Some(self.left_out.replace(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_number() {
        let quiet = Quiet::default();
        let now = Instant::now();
        let logged = (0..1000).filter(|_| quiet.may(now).is_some()).count();
        assert_eq!(logged, 20);
        assert_eq!(quiet.may(now + WINDOW), Some(980));
        assert_eq!(quiet.may(now + WINDOW), Some(0));
    }
}
