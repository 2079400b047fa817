// SPDX-License-Identifier: MIT OR Apache-2.0
//! The behaviour tests of `luo-conformance`, on the kernel that is running.
//!
//! Which implementation that is says the argument `on:`. How far the cases are
//! that go through kexec travels in the argument `log:`; a parameter that one of
//! them wants in the next kernel is there for that boot only.

use anyhow::{Context, Result, bail};
use luo_conformance::{Implementation, Journey, Log, Machine, Next, Report, Verdict};
use luo_vm_protocol::Outcome;

use crate::init::Guest;
use crate::{kexec, port};

/// The argument with the journey's log.
const LOG: &str = "log";

/// The argument with the names of the parameters to be taken back.
const LENT: &str = "lent";

/// The argument that is there if a kexec took place that had to be refused.
const STRAYED: &str = "strayed";

/// Runs all cases.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    if let Some(case) = guest.args.text(STRAYED) {
        bail!("the machine jumped in {}", case.replace('-', "::"));
    }
    let on: Implementation = guest.args.text("on").context("on: what?")?.parse()?;
    let machine = Vm { guest };
    let log = match guest.args.text(LOG) {
        Some(text) => text.parse()?,
        None => {
            luo_conformance::run::run_here(on, &machine, report);
            Log::default()
        }
    };
    let mut journey = Journey::new(on, &machine, log);
    loop {
        let onward = match journey.proceed(&mut report) {
            Next::Over => return Ok(()),
            Next::Kexec(onward) => onward,
        };
        let error = jump(guest, &onward)?;
        drop(onward);
        journey.refused(error, &mut report);
    }
}

/// The guest, as the cases see it.
struct Vm<'a> {
    guest: &'a Guest,
}

impl Machine for Vm<'_> {
    fn refused_kexec(&self, case: &str) -> Result<luo_sys::Error> {
        // A colon separates an argument from its value.
        let case = case.replace("::", "-");
        kexec::load(self.guest, |_, args| args.set(STRAYED, case))?;
        Ok(kexec::jump())
    }
}

/// Jumps, and returns only if that was refused.
fn jump(guest: &Guest, onward: &luo_conformance::journey::Onward) -> Result<luo_sys::Error> {
    kexec::load(guest, |line, args| {
        for name in guest.args.text(LENT).unwrap_or_default().split('/') {
            line.unset(name);
        }
        let names: Vec<&str> = onward.parameters.iter().map(|&(name, _)| name).collect();
        args.set(LENT, names.join("/"));
        for (name, value) in &onward.parameters {
            line.set(name, value);
        }
        args.set(LOG, &onward.log);
    })?;
    Ok(kexec::jump())
}

/// A difference that was declared is as it should be, and told.
fn report(report: Report) {
    let (outcome, detail) = match report.verdict {
        Verdict::Passed => (Outcome::Passed, String::new()),
        Verdict::Differs(why) => (Outcome::Passed, format!("differs as declared: {why}")),
        Verdict::Skipped(why) => (Outcome::Skipped, why),
        Verdict::Failed(why) => (Outcome::Failed, why),
    };
    port::case(format!("conformance::{}", report.name), outcome, detail);
}
