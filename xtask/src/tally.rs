// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many cases passed, and which failed.

use luo_lab::judge::Case;
use luo_lab_protocol::Outcome;

/// What a check has counted, and the failures by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Cases that passed.
    pub(crate) passed: u64,
    /// Cases that were skipped.
    pub(crate) skipped: u64,
    /// Cases that failed.
    pub(crate) failures: Vec<Case>,
}

impl Tally {
    /// Counts a case.
    pub(crate) fn add(&mut self, case: Case) {
        match case.outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Skipped => self.skipped += 1,
            Outcome::Failed => self.failures.push(case),
        }
    }

    /// Counts what another has counted.
    pub(crate) fn merge(&mut self, other: Self) {
        self.passed += other.passed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
    }

    /// The plain closing line.
    #[must_use]
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failures.len(),
            self.skipped
        )
    }

    /// Whether all is well. Nothing at all is not well.
    #[must_use]
    pub(crate) fn is_good(&self) -> bool {
        self.failures.is_empty() && self.passed > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_not_good() {
        assert!(!Tally::default().is_good());
        assert_eq!(Tally::default().summary(), "0 passed, 0 failed, 0 skipped");
    }
}
