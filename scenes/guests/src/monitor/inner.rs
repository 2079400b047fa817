// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a Linux guest of luo-vmm runs as its init: it fills memory, and reads all of it again and
//! again, and says a line for each piece:
//!
//! ```text
//! tick NUMBER BOOT TIME GAP TICKS SUM
//! ```
//!
//! BOOT is the kernel's boot id, TIME its monotonic clock in microseconds, GAP the longest step of
//! that clock from one look at it to the next since the last line, TICKS the same of the
//! processor's counter, and SUM says `good` if the memory is what was written.

use std::fs;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, mount};

/// The argument that makes a process this one.
pub const ARGUMENT: &str = "inner";

/// Words of memory, in pieces.
const WORDS: usize = 12 << 20;
const PIECES: usize = 24;

/// Words between two looks at the clocks.
const STRIDE: usize = 4096;

/// A word of the memory, in its round.
const fn word(at: usize, round: u64) -> u64 {
    (at as u64 ^ round << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Looks at both clocks.
struct Watch {
    began: Instant,
    last: (Duration, u64),
    gaps: (Duration, u64),
}

impl Watch {
    fn look(&mut self) {
        let now = (self.began.elapsed(), luo_vmm::vcpu::host().unwrap_or(0));
        let steps = (
            now.0.saturating_sub(self.last.0),
            now.1.saturating_sub(self.last.1),
        );
        self.gaps = (self.gaps.0.max(steps.0), self.gaps.1.max(steps.1));
        self.last = now;
    }
}

/// Runs for ever.
///
/// # Errors
/// The machine is not as it has to be.
pub fn run() -> Result<()> {
    // A kernel that mounts nothing has left that to init.
    let _ = mount("proc", "/proc", "proc", MountFlags::empty(), None);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("boot id")?;
    let mut memory: Vec<u64> = (0..WORDS).map(|at| word(at, 0)).collect();
    let mut watch = Watch {
        began: Instant::now(),
        last: (Duration::ZERO, luo_vmm::vcpu::host()?),
        gaps: (Duration::ZERO, 0),
    };
    let mut number = 0u64;
    for round in 0.. {
        for (piece, words) in memory.chunks_mut(WORDS / PIECES).enumerate() {
            let from = piece * (WORDS / PIECES);
            let mut is_good = true;
            for (stride, words) in words.chunks_mut(STRIDE).enumerate() {
                let from = from + stride * STRIDE;
                for (at, value) in (from..).zip(words) {
                    is_good &= *value == word(at, round);
                    *value = word(at, round + 1);
                }
                watch.look();
            }
            number += 1;
            let sum = if is_good { "good" } else { "bad" };
            let (gap, ticks) = std::mem::take(&mut watch.gaps);
            let line = format!(
                "tick {number} {} {} {} {ticks} {sum}\n",
                boot.trim(),
                watch.last.0.as_micros(),
                gap.as_micros(),
            );
            io::stdout().write_all(line.as_bytes())?;
        }
    }
    Ok(())
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The kernel's boot id.
    pub boot: String,
    /// Its monotonic clock, microseconds.
    pub time: u64,
    /// The longest step of that clock.
    pub gap: u64,
    /// The same in ticks of the processor's counter.
    pub ticks: u64,
}

/// Reads what a guest has said: each line follows from the one before, memory is good, its boot
/// is the same, and its time does not go back. The kernel's own lines are passed over.
///
/// # Errors
/// A line is not so.
pub fn read(text: &str) -> Result<Vec<Line>> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let said = whole.lines().map(str::trim_end);
    let said = said.filter(|line| line.starts_with("tick "));
    let mut lines: Vec<Line> = Vec::new();
    for (text, number) in said.zip(1..) {
        let line = line(text, number).with_context(|| format!("the guest said: {text}"))?;
        if let Some(last) = lines.last() {
            ensure!(line.boot == last.boot, "another boot: {text}");
            ensure!(line.time >= last.time, "its time went back: {text}");
        }
        lines.push(line);
    }
    Ok(lines)
}

fn line(text: &str, number: u64) -> Option<Line> {
    let mut parts = text.split(' ');
    let is_next = parts.next()? == "tick" && parts.next()?.parse() == Ok(number);
    let boot = parts.next()?.to_owned();
    let mut next = || parts.next()?.parse().ok();
    let (time, gap, ticks) = (next()?, next()?, next()?);
    (is_next && parts.next()? == "good").then_some(Line {
        boot,
        time,
        gap,
        ticks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_is_read_and_what_does_not_follow_is_found() {
        let first = "tick 1 b0 100 10 1000 good\r\n";
        let second = "tick 2 b0 200 20 2000 good\r\n";
        let lines = read(&format!("Linux\n{first}[ 1.0] a line\n{second}tick 3")).unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            (lines[1].time, lines[1].gap, lines[1].ticks),
            (200, 20, 2000)
        );
        for wrong in [
            second.to_owned(),
            format!("{first}{first}"),
            format!("{first}tick 2 b1 200 20 2000 good\n"),
            format!("{first}tick 2 b0 99 20 2000 good\n"),
            format!("{first}tick 2 b0 200 20 2000 bad\n"),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }
}
