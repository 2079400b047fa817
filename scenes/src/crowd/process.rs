// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processor time and the memory that a process has taken, as `/proc` tells.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Pid;

/// A process that is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process(pub(super) Pid);

impl Process {
    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0.as_raw_nonzero());
        fs::read_to_string(&path).with_context(|| path.clone())
    }

    /// Processor time of all its threads, those that have ended included. The kernel
    /// tells it in hundredths of a second.
    pub(super) fn time(self) -> Result<Duration> {
        let ticks = ticks(&self.read("stat")?).context("the times of a process")?;
        let a_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_secs(ticks) / u32::try_from(a_second)?)
    }

    /// How long its threads were ready to run while no processor was free for them, all
    /// together. None if the kernel does not count that.
    pub(super) fn waited(self) -> Result<Option<Duration>> {
        let path = format!("/proc/{}/task", self.0.as_raw_nonzero());
        let mut sum = Duration::ZERO;
        for thread in fs::read_dir(&path).with_context(|| path.clone())? {
            // It may have ended since; a kernel without the file has it for nobody.
            let text = fs::read_to_string(thread?.path().join("schedstat"));
            sum += waited(&text.unwrap_or_default()).unwrap_or_default();
        }
        Ok((sum > Duration::ZERO).then_some(sum))
    }

    /// Memory of it that is in RAM: KiB.
    pub(super) fn resident(self) -> Result<u64> {
        kib(&self.read("status")?, "VmRSS").context("VmRSS")
    }

    /// The most that was in RAM at a time: KiB.
    pub(super) fn peak(self) -> Result<u64> {
        kib(&self.read("status")?, "VmHWM").context("VmHWM")
    }
}

/// `utime` and `stime` of `/proc/PID/stat`.
fn ticks(stat: &str) -> Option<u64> {
    // The name is in parentheses, and may have some in it.
    let (_, rest) = stat.rsplit_once(')')?;
    // The state is field 3 and follows; these are fields 14 and 15.
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

/// The second number of a `schedstat`: nanoseconds on a queue of a processor.
fn waited(schedstat: &str) -> Option<Duration> {
    let number = schedstat.split_whitespace().nth(1)?;
    Some(Duration::from_nanos(number.parse().ok()?))
}

/// A field of `/proc/PID/status` that is in KiB.
fn kib(status: &str, field: &str) -> Option<u64> {
    status.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let number = value.trim().strip_suffix(" kB")?;
        (name == field).then(|| number.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 9 9 9 9 30 12 5 6 20 0 3 0 99";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (a) S 1 7"), None);
    }

    #[test]
    fn waiting_is_the_second_number() {
        assert_eq!(waited("5 1700 3\n"), Some(Duration::from_nanos(1700)));
        assert_eq!(waited("5"), None);
    }

    #[test]
    fn memory_is_found_by_its_whole_name() {
        let status = "Name:\tluod\nVmHWM:\t   21388 kB\nVmRSS:\t   20480 kB\nThreads:\t3\n";
        assert_eq!(kib(status, "VmRSS"), Some(20_480));
        assert_eq!(kib(status, "VmHWM"), Some(21_388));
        assert_eq!(kib(status, "VmR"), None);
        assert_eq!(kib(status, "Threads"), None);
    }
}
