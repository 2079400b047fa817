// SPDX-License-Identifier: MIT OR Apache-2.0
//! The behaviour tests of `luo-conformance`, on the kernel that is running.
//!
//! Which implementation that is says the argument `on:`. How far the cases are
//! that go through kexec travels in the argument `log:`; a parameter that one of
//! them wants in the next kernel is there for that boot only.

use std::path::PathBuf;

use anyhow::{Context, Result};
use luo_conformance::results::AS_DECLARED;
use luo_conformance::{Implementation, Machine, Onward, Report, Vehicle, Verdict, drive};
use luo_lab_protocol::Outcome;

use crate::init::Guest;
use crate::{kexec, module, port};

/// The argument with the journey's log.
const LOG: &str = "log";

/// The argument with the names of the parameters to be taken back.
const LENT: &str = "lent";

/// The argument that is there if a kexec took place that had to be refused.
const STRAYED: &str = "strayed";

/// Runs all cases.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    // Before anybody opens the device: what a machine has left is for its handler.
    module::load_kvm_at_once()?;
    let on: Implementation = guest.args.text("on").context("on: what?")?.parse()?;
    drive(on, &Vm { guest }, &mut report)
}

/// The guest, as the suite sees it.
struct Vm<'a> {
    guest: &'a Guest,
}

impl Machine for Vm<'_> {
    fn refused_kexec(&self, case: &str) -> Result<luo_sys::Error> {
        // A colon separates an argument from its value.
        let case = case.replace("::", "/");
        kexec::load(self.guest, |_, args| args.set(STRAYED, case))?;
        Ok(kexec::jump())
    }

    fn module(&self, file: &str) -> Option<PathBuf> {
        module::path(file).ok().filter(|path| path.exists())
    }
}

impl Vehicle for Vm<'_> {
    fn log(&self) -> Option<String> {
        self.guest.args.text(LOG).map(str::to_owned)
    }

    fn strayed(&self) -> Option<String> {
        Some(self.guest.args.text(STRAYED)?.replace('/', "::"))
    }

    fn jump(&self, onward: &Onward) -> Result<luo_sys::Error> {
        kexec::load(self.guest, |line, args| {
            for name in self.guest.args.text(LENT).unwrap_or_default().split('/') {
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
}

/// A difference that was declared is as it should be, and told.
fn report(report: Report) {
    let (outcome, detail) = match report.verdict {
        Verdict::Passed => (Outcome::Passed, String::new()),
        Verdict::Differs(why) => (Outcome::Passed, format!("{AS_DECLARED}{why}")),
        Verdict::Skipped(why) => (Outcome::Skipped, why),
        Verdict::Failed(why) => (Outcome::Failed, why),
    };
    port::case(format!("conformance::{}", report.name), outcome, detail);
}
