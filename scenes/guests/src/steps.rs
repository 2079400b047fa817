// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a luo-qemu was done with each of its steps, on the host's clock that goes on over a kexec: a
//! line of its log for each, where a scene wants to know where the time goes.

use luo_monitor::point::Point;

/// Has a luo-qemu note its steps, if it is set.
pub(crate) const NOTED: &str = "LUO_QEMU_STEPS_NOTED";

/// What a line begins with.
const MARK: &str = "step ";

/// Notes that a step is done.
pub(crate) fn note(point: Point) {
    if std::env::var_os(NOTED).is_some()
        && let Some(ticks) = luo_sys::clock::ticks()
    {
        eprintln!("{MARK}{} {ticks:016x}", point.word());
    }
}

/// The steps of a log, in order, by their words and the counter.
pub(crate) fn read(log: &str) -> Vec<(&str, u64)> {
    let steps = log.lines().filter_map(|line| {
        let (word, ticks) = line.strip_prefix(MARK)?.split_once(' ')?;
        Some((word, u64::from_str_radix(ticks, 16).ok()?))
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_found_among_other_lines() {
        let log =
            "luo-qemu: vm: started\nstep stopped 00000000000000ff\nstep odd\nstep saved 0100\n";
        assert_eq!(read(log), [("stopped", 255), ("saved", 256)]);
    }
}
