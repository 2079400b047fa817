// SPDX-License-Identifier: MIT OR Apache-2.0
//! What came of a run of the suite, and whether that is all of it.

use core::fmt;
use core::str::FromStr;

use crate::run::{Report, Verdict, cases, full_name};

/// The words of verdicts at the beginning of a report's line.
const WORDS: [&str; 4] = ["passed", "differs", "skipped", "failed"];

impl Verdict {
    /// Its word in reports.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Passed => WORDS[0],
            Self::Differs(_) => WORDS[1],
            Self::Skipped(_) => WORDS[2],
            Self::Failed(_) => WORDS[3],
        }
    }

    /// The reason, unless it passed.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Differs(why) | Self::Skipped(why) | Self::Failed(why) => Some(why),
        }
    }
}

/// One line: the verdict's word, the name, and the reason behind a colon.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7} {}", self.verdict.word(), self.name)?;
        let reason = self.verdict.reason();
        reason.map_or(Ok(()), |why| write!(f, ": {}", why.replace('\n', " ")))
    }
}

/// A line that is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no report of a case")]
pub struct NoReport;

impl FromStr for Report {
    type Err = NoReport;

    fn from_str(line: &str) -> Result<Self, NoReport> {
        let (word, rest) = line.split_once(' ').ok_or(NoReport)?;
        let rest = rest.trim_start();
        let (name, why) = match rest.split_once(": ") {
            Some((name, why)) => (name, why.to_owned()),
            None => (rest, String::new()),
        };
        if name.contains(' ') || !name.contains("::") {
            return Err(NoReport);
        }
        let verdict = match WORDS.iter().position(|known| *known == word) {
            Some(0) => Verdict::Passed,
            Some(1) => Verdict::Differs(why),
            Some(2) => Verdict::Skipped(why),
            Some(3) => Verdict::Failed(why),
            _ => return Err(NoReport),
        };
        let name = name.to_owned();
        Ok(Self { name, verdict })
    }
}

/// What stands before the reason where a case that differs as declared is told as
/// one that passed.
pub const AS_DECLARED: &str = "differs as declared: ";

/// All reports of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// In the order in which the cases ended.
    pub reports: Vec<Report>,
}

impl Results {
    /// The reports among the lines of what a run has written.
    #[must_use]
    pub fn of_output(output: &str) -> Self {
        let reports = output.lines().filter_map(|line| line.parse().ok());
        Self {
            reports: reports.collect(),
        }
    }

    /// The verdict on a case.
    #[must_use]
    pub fn verdict(&self, name: &str) -> Option<&Verdict> {
        let report = self.reports.iter().find(|report| report.name == name);
        report.map(|report| &report.verdict)
    }

    /// How many cases there are of each kind: passed, differing as declared, skipped
    /// and failed.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, usize); 4] {
        WORDS.map(|word| {
            let is = |report: &&Report| report.verdict.word() == word;
            (word, self.reports.iter().filter(is).count())
        })
    }

    /// Why cases were skipped, a reason each.
    #[must_use]
    pub fn reasons_to_skip(&self) -> Vec<&str> {
        let mut reasons = Vec::new();
        for report in &self.reports {
            if let Verdict::Skipped(why) = &report.verdict {
                reasons.push(why.as_str());
            }
        }
        reasons
    }

    /// What is wrong with the run as a whole: cases that failed, were not reported,
    /// or were so more than once, or are in no table.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints: Vec<String> = self
            .reports
            .iter()
            .filter(|report| matches!(report.verdict, Verdict::Failed(_)))
            .map(ToString::to_string)
            .collect();
        let names: Vec<String> = cases()
            .map(|(topic, case)| full_name(topic, case))
            .collect();
        for name in &names {
            let times = self.reports.iter().filter(|report| report.name == *name);
            match times.count() {
                0 => complaints.push(format!("{name} was not run")),
                1 => {}
                n => complaints.push(format!("{name} was reported {n} times")),
            }
        }
        let unknown = |report: &&Report| !names.contains(&report.name);
        let unknown = self.reports.iter().filter(unknown);
        complaints.extend(unknown.map(|report| format!("there is no case {}", report.name)));
        complaints
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [passed, differing, skipped, failed] = self.counts().map(|(_, count)| count);
        write!(
            f,
            "{} cases: {passed} passed, {differing} differ as declared, \
             {skipped} skipped, {failed} failed",
            self.reports.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, verdict: Verdict) -> Report {
        let name = name.to_owned();
        Report { name, verdict }
    }

    #[test]
    fn a_report_is_a_line_and_back() {
        for verdict in [
            Verdict::Passed,
            Verdict::Differs("it: is so".into()),
            Verdict::Skipped("no driver".into()),
            Verdict::Failed("EBUSY: x".into()),
        ] {
            let report = report("topic::case", verdict);
            assert_eq!(report.to_string().parse(), Ok(report));
        }
        let broken = report("a::b", Verdict::Failed("one\ntwo".into())).to_string();
        assert_eq!(broken, "failed  a::b: one two");
        for noise in ["", "passed", "passed x", "passed a b::c", "well a::b"] {
            assert_eq!(noise.parse::<Report>(), Err(NoReport), "{noise}");
        }
    }

    #[test]
    fn what_is_missing_failed_or_unknown_is_told() {
        let all = || cases().map(|(topic, case)| report(&full_name(topic, case), Verdict::Passed));
        let whole = Results {
            reports: all().collect(),
        };
        assert!(whole.complaints().is_empty());
        let short = Results {
            reports: all().skip(1).collect(),
        };
        assert_eq!(short.complaints().len(), 1);
        let mut failed = whole.clone();
        failed.reports[0].verdict = Verdict::Failed("why".into());
        failed.reports.push(report("no::such", Verdict::Passed));
        failed.reports.push(whole.reports[1].clone());
        assert_eq!(failed.complaints().len(), 3);
        assert_eq!(failed.counts()[3], ("failed", 1));
    }
}
