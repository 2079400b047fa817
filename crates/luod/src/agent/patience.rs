// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long workloads are waited for. They can do nothing while luod stands still (it is stopped,
//! or the machine has no memory or no processor for it), so that does not count.

use std::time::Duration;

use super::Agent;

/// The time is counted in pieces of this length. One that takes twice as long or more says that
/// luod stood still.
const TICK: Duration = Duration::from_millis(250);

/// How much time is left at least once luod goes on after it stood still: those who wait for
/// it find out by and by that it answers again.
const AFTER_A_STALL: Duration = Duration::from_secs(5);

impl Agent {
    /// Waits until something is so that comes about only with a change of the state, as long as
    /// workloads have for it. `left_now` is told how much time is left after luod stood still.
    pub(super) async fn wait_patiently(
        &self,
        patience: Duration,
        is_so: impl Fn(&Self) -> bool,
        left_now: impl Fn(Duration),
    ) {
        let mut left = patience;
        while !left.is_zero() {
            let tick = left.min(TICK);
            let begun = tokio::time::Instant::now();
            tokio::select! {
                biased;
                () = self.until(&is_so) => return,
                () = tokio::time::sleep(tick) => {}
            }
            let took = begun.elapsed();
            if took < tick.saturating_add(TICK) {
                left = left.saturating_sub(took);
                continue;
            }
            left = left.saturating_sub(tick);
            left = left.max(patience.min(AFTER_A_STALL));
            tracing::warn!(
                "luod stood still for {:.1} s while workloads are waited for: they have {:.1} s \
                 from here on",
                took.saturating_sub(tick).as_secs_f64(),
                left.as_secs_f64()
            );
            left_now(left);
        }
    }
}
