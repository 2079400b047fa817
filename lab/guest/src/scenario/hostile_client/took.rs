// SPDX-License-Identifier: MIT OR Apache-2.0
//! Times that calls of the administrator's take.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use luo_sys::{Device, scheduling};

/// Calls that are timed.
pub(super) const CALLS: usize = 200;

/// Between two of those.
const PAUSE: Duration = Duration::from_millis(2);

/// How long calls of the administrator's take.
pub(super) struct Took {
    pub(super) half: Duration,
    pub(super) longest: Duration,
}

impl Took {
    /// A call that wants the lock once.
    pub(super) fn now(device: &Device) -> Result<Self> {
        Self::of(CALLS, || Ok(device.info().map(drop)?))
    }

    /// Calls of a thread that always has a processor, so that it waits for locks alone.
    pub(super) fn of(times: usize, call: impl Fn() -> Result<()> + Sync) -> Result<Self> {
        let timed = || -> Result<Vec<Duration>> {
            scheduling::set(scheduling::Policy::First)?;
            let one = |_| {
                std::thread::sleep(PAUSE);
                let begun = Instant::now();
                call()?;
                Ok(begun.elapsed())
            };
            (0..times).map(one).collect()
        };
        let took = std::thread::scope(|scope| scope.spawn(timed).join());
        let mut took = took.map_err(|_| anyhow!("the thread has ended"))??;
        took.sort_unstable();
        let half = took.get(times / 2).copied().unwrap_or_default();
        let longest = took.last().copied().unwrap_or_default();
        Ok(Self { half, longest })
    }
}
