// SPDX-License-Identifier: MIT OR Apache-2.0
//! Something that has run, as it is told of.

use std::time::Duration;

/// The parts of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Cargo's: formats, lints, tests.
    Checks,
    /// Fuzz targets.
    Fuzz,
    /// Scenarios in virtual machines, and whatever has to be built for them and was not
    /// yet.
    Machines,
    /// Measurements.
    Benchmarks,
}

impl Stage {
    pub(super) const ALL: [Self; 4] = [Self::Checks, Self::Fuzz, Self::Machines, Self::Benchmarks];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Checks => "Checks",
            Self::Fuzz => "Fuzz",
            Self::Machines => "Machines",
            Self::Benchmarks => "Benchmarks",
        }
    }
}

/// Something with a name that has run.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) stage: Stage,
    pub(super) name: String,
    pub(super) took: Duration,
    /// How it went, in a few words.
    pub(super) result: String,
}

/// A time as `3 min 05 s`.
pub(super) fn minutes(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds:02} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        let shown = |seconds| minutes(Duration::from_millis(seconds));
        assert_eq!(shown(59_400), "59 s");
        assert_eq!(shown(59_600), "1 min 00 s");
        assert_eq!(shown(725_000), "12 min 05 s");
    }
}
