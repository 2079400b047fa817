// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs cases that stay in one kernel, and judges all of them.

use std::cell::{OnceCell, RefCell};

use anyhow::{Context as _, Result, bail};
use luo_sys::{Device, State};

use crate::case::{Case, Context, Course, Machine, Topic};
use crate::check::Skip;
use crate::difference::Differs;
use crate::implementation::Implementation;
use crate::topics::TOPICS;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it must.
    Passed,
    /// Otherwise, as was declared; the reason.
    Differs(String),
    /// It could not run here; the reason.
    Skipped(String),
    /// Neither as it must nor as was declared.
    Failed(String),
}

/// A case that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// `topic::case`.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
}

/// The full name of a case.
#[must_use]
pub fn full_name(topic: &Topic, case: &Case) -> String {
    format!("{}::{}", topic.name, case.name)
}

/// All cases of a kind, with their topic.
pub(crate) fn cases() -> impl Iterator<Item = (&'static Topic, &'static Case)> {
    let of = |topic: &'static Topic| topic.cases.iter().map(move |case| (topic, case));
    TOPICS.iter().flat_map(of)
}

/// Runs every case that needs only this kernel.
pub fn run_here(on: Implementation, machine: &dyn Machine, mut report: impl FnMut(Report)) {
    for (topic, case) in cases() {
        let Course::Here(step) = case.course else {
            continue;
        };
        let name = full_name(topic, case);
        let (notes, device) = (RefCell::default(), OnceCell::new());
        let mut context = Context::new(on, &name, machine, &notes, &device);
        let mut result = step(&mut context);
        drop(context);
        drop(device);
        let settled = settle(on);
        // What it left behind counts only if nothing worse happened.
        if result.is_ok() {
            result = settled;
        }
        let verdict = judge(result, case.difference(on));
        report(Report { name, verdict });
    }
}

/// What a result means, given what was declared.
pub(crate) fn judge(result: Result<()>, declared: Option<&Differs>) -> Verdict {
    match (result, declared) {
        (Ok(()), None) => Verdict::Passed,
        (Ok(()), Some(differs)) => Verdict::Failed(format!(
            "no difference was seen, but one is declared: {differs}"
        )),
        (Err(error), declared) => match (error.downcast_ref::<Skip>(), declared) {
            (Some(Skip(why)), _) => Verdict::Skipped(why.clone()),
            (None, Some(differs)) if differs.expect.is(&error) => {
                Verdict::Differs(differs.expect.reason().to_owned())
            }
            (None, Some(differs)) => {
                Verdict::Failed(format!("{error:#}; declared is something else: {differs}"))
            }
            (None, None) => Verdict::Failed(format!("{error:#}")),
        },
    }
}

/// Brings the machine back to normal, so that no case spoils the next.
///
/// # Errors
/// If it was not there, or cannot be brought there.
pub(crate) fn settle(on: Implementation) -> Result<()> {
    if !on.has_events() {
        return Ok(());
    }
    let device = Device::open().context("the device, after the case")?;
    let state = device.state()?;
    match state {
        State::Normal => return Ok(()),
        State::Prepared | State::Frozen => device.cancel()?,
        State::Updated => device.finish_update()?,
    }
    bail!("the case left the machine {state}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{refused, skip};
    use crate::difference::Expect;
    use luo_sys::Errno;

    const DECLARED: Differs = Differs {
        on: Implementation::CKernel,
        expect: Expect::Accepts("it is lenient"),
    };

    fn accepted() -> Result<()> {
        refused(Ok(()), Errno::EINVAL)
    }

    #[test]
    fn an_undeclared_difference_fails() {
        assert!(matches!(judge(accepted(), None), Verdict::Failed(_)));
    }

    #[test]
    fn a_declared_one_is_no_failure() {
        let verdict = judge(accepted(), Some(&DECLARED));
        assert_eq!(verdict, Verdict::Differs("it is lenient".into()));
    }

    #[test]
    fn a_stale_declaration_fails() {
        assert!(matches!(judge(Ok(()), Some(&DECLARED)), Verdict::Failed(_)));
    }

    #[test]
    fn a_difference_of_another_kind_fails() {
        let result = Err(anyhow::anyhow!("contents differ"));
        assert!(matches!(judge(result, Some(&DECLARED)), Verdict::Failed(_)));
    }

    #[test]
    fn who_cannot_run_is_skipped() {
        let verdict = judge(Err(skip("no forge")), Some(&DECLARED));
        assert_eq!(verdict, Verdict::Skipped("no forge".into()));
    }
}
