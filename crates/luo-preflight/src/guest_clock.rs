// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the clocks of KVM guests go on as they went.
//!
//! A kernel measures the TSC anew, and early measurements are wrong by a thousandth at times. A
//! guest keeps the frequency that it knows. Where KVM cannot scale the TSC, it takes another
//! frequency than the host's within 250 parts in a million only; beyond that the guest's clocks
//! leap. `tsc_early_khz=` has the next kernel begin with the number of the guests, and so of the KVM that
//! started them: [`handed_on`].

use std::ops::RangeInclusive;

use luo_varlink::Check;

use crate::check::{ok, warning};
use crate::command_line::parameters;

/// The name of the check, and of the parameter.
pub const NAME: &str = "guest-clock";
const PARAMETER: &str = "tsc_early_khz";

/// Where luo-qemu notes the frequency of the guests' TSC, below the root.
pub const NOTE: &str = "run/luo-qemu/tsc_khz";

/// The facts of the running machine that guests' clocks depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// KVM is there.
    pub has_kvm: bool,
    /// The kernel's own clock is the TSC.
    pub is_tsc: bool,
    /// KVM can give a guest another frequency than the host's.
    pub scales: bool,
    /// The processor says its frequency, and nothing is measured.
    pub is_known: bool,
    /// The frequency of the guests' TSC in kHz, where luo-qemu has noted it.
    pub guests_khz: Option<u64>,
}

/// Frequencies of a TSC in kHz that can be.
const POSSIBLE: RangeInclusive<u64> = 100_000..=100_000_000;

/// Reads the note of luo-qemu's.
#[must_use]
pub fn parse_note(text: &str) -> Option<u64> {
    let khz = text.trim().parse().ok();
    khz.filter(|khz| POSSIBLE.contains(khz))
}

/// The number in a command line, if the kernel takes it.
fn number(line: &str) -> Option<u64> {
    let mut words = parameters(line).into_iter();
    let given = words.rfind(|(name, _)| *name == PARAMETER);
    let number = given.and_then(|(_, value)| value?.parse::<u64>().ok());
    number.filter(|&khz| khz > 0)
}

/// A command line with the number of the guests, if their clocks depend on it and the line says nothing
/// of it.
#[must_use]
pub fn handed_on(clock: Clock, line: &str) -> String {
    let says = parameters(line).iter().any(|(name, _)| *name == PARAMETER);
    match clock.guests_khz.filter(|_| clock.may_leap() && !says) {
        // It comes first, for words behind `--` are not the kernel's.
        Some(khz) => format!("{PARAMETER}={khz} {line}").trim_end().to_owned(),
        None => line.to_owned(),
    }
}

impl Clock {
    /// Adds what the first processor in `/proc/cpuinfo` says of itself.
    #[must_use]
    pub fn with_processor(self, cpuinfo: &str) -> Self {
        let words = |key: &str| {
            let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
            let line = lines.find(|(name, _)| name.trim_end() == key);
            line.map_or("", |(_, words)| words).split_whitespace()
        };
        let has = |key, word| words(key).any(|found| found == word);
        Self {
            // AMD's name for it, and Intel's.
            scales: has("flags", "tsc_scale") || has("vmx flags", "tsc_scaling"),
            is_known: has("flags", "tsc_known_freq"),
            ..self
        }
    }

    /// KVM is there, and takes whatever this kernel has measured for the frequency of the TSC.
    const fn may_leap(self) -> bool {
        self.has_kvm && self.is_tsc && !self.scales && !self.is_known
    }
}

/// The check, where there is something to be said.
#[must_use]
pub fn check(clock: Clock, line: &str) -> Option<Check> {
    if !clock.may_leap() {
        return None;
    }
    Some(match number(line) {
        Some(khz) => ok(
            NAME,
            format!("the next kernel begins with a TSC of {khz} kHz, so guests' clocks go on"),
        ),
        None => warning(
            NAME,
            "the next kernel measures the TSC anew, and KVM cannot scale it here: the clocks of \
             guests leap if the measure is another one",
            "give the next kernel tsc_early_khz= with the guests' number, which luo-qemu says when \
             it starts one, and load KVM once the clock source has settled; luod does so by itself where \
             luo-qemu has noted it (guest_clock in luod.toml)",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use luo_varlink::CheckStatus;

    const CPUINFO: &str =
        "processor\t: 0\nflags\t\t: fpu tsc svm constant_tsc\nvmx flags\t: vnmi\n";

    fn clock(cpuinfo: &str) -> Clock {
        let clock = Clock {
            has_kvm: true,
            is_tsc: true,
            ..Clock::default()
        };
        clock.with_processor(cpuinfo)
    }

    #[test]
    fn a_clock_that_may_leap_is_warned_of_unless_the_number_is_handed_on() {
        let status = |line| check(clock(CPUINFO), line).map(|check| check.status);
        assert_eq!(status("quiet"), Some(CheckStatus::Warning));
        assert_eq!(status("tsc_early_khz=0"), Some(CheckStatus::Warning));
        assert_eq!(status("tsc_early_khz=fast"), Some(CheckStatus::Warning));
        assert_eq!(status("quiet tsc_early_khz=2400000"), Some(CheckStatus::Ok));
    }

    #[test]
    fn the_guests_number_is_handed_on_where_clocks_may_leap_and_nothing_is_said_of_it() {
        let clock = Clock {
            guests_khz: Some(2_400_000),
            ..clock(CPUINFO)
        };
        let line = handed_on(clock, "quiet -- tsc_early_khz=1");
        assert_eq!(line, "tsc_early_khz=2400000 quiet -- tsc_early_khz=1");
        assert_eq!(check(clock, &line).unwrap().status, CheckStatus::Ok);
        assert_eq!(handed_on(clock, ""), "tsc_early_khz=2400000");
        for said in ["tsc_early_khz=2400001", "quiet tsc_early_khz=0"] {
            assert_eq!(handed_on(clock, said), said);
        }
        let unnoted = Clock {
            guests_khz: None,
            ..clock
        };
        let scales = Clock {
            scales: true,
            ..clock
        };
        for clock in [unnoted, scales, Clock::default()] {
            assert_eq!(handed_on(clock, "quiet"), "quiet");
        }
    }

    #[test]
    fn a_note_that_cannot_be_is_none() {
        assert_eq!(parse_note("2400000\n"), Some(2_400_000));
        for wrong in [
            "",
            "fast",
            "0",
            "99999",
            "100000001",
            "2400000 2400001",
            "-1",
        ] {
            assert_eq!(parse_note(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nothing_is_said_where_no_clock_can_leap() {
        for flags in ["fpu tsc_scale", "fpu tsc_known_freq"] {
            assert_eq!(check(clock(&format!("flags : {flags}\n")), ""), None);
        }
        assert_eq!(check(clock("vmx flags : vnmi tsc_scaling\n"), ""), None);
        let no_kvm = Clock {
            has_kvm: false,
            ..clock(CPUINFO)
        };
        assert_eq!(check(no_kvm, ""), None);
        let other = Clock {
            is_tsc: false,
            ..clock(CPUINFO)
        };
        assert_eq!(check(other, ""), None);
    }
}
