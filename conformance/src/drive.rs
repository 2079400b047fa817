// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole suite, on a machine that can jump.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::case::Machine;
use crate::implementation::Implementation;
use crate::journey::{Journey, Log, Next, Onward};
use crate::run::{Report, Verdict, run_here};

/// A machine that the suite runs on from kernel to kernel.
pub trait Vehicle: Machine {
    /// The log that the previous kernel's jump gave this one; `None` at the beginning.
    fn log(&self) -> Option<String>;

    /// The case in which the machine came here by a jump that had to be refused, as
    /// [`Machine::refused_kexec`] was told.
    fn strayed(&self) -> Option<String>;

    /// Jumps, and returns only if that was refused. The log is for the next kernel's
    /// [`Vehicle::log`], the parameters are for the next boot only.
    ///
    /// # Errors
    /// No kernel can be loaded.
    fn jump(&self, onward: &Onward) -> Result<luo_sys::Error>;
}

/// Runs what there is to run in this kernel, and jumps into the next; returns when
/// all cases have been reported.
///
/// # Errors
/// The machine has jumped although it had to refuse, or cannot go on.
pub fn drive(
    on: Implementation,
    vehicle: &dyn Vehicle,
    report: &mut dyn FnMut(Report),
) -> Result<()> {
    if let Some(name) = vehicle.strayed() {
        let verdict = Verdict::Failed("the machine jumped, which it had to refuse".to_owned());
        report(Report {
            name: name.clone(),
            verdict,
        });
        bail!("the machine jumped in {name}");
    }
    let machine = Passive(vehicle);
    let log = match vehicle.log() {
        Some(text) => text.parse()?,
        None => {
            run_here(on, &machine, &mut *report);
            Log::default()
        }
    };
    let mut journey = Journey::new(on, &machine, log);
    loop {
        let onward = match journey.proceed(report) {
            Next::Over => return Ok(()),
            Next::Kexec(onward) => onward,
        };
        let error = vehicle.jump(&onward)?;
        drop(onward);
        journey.refused(error, report);
    }
}

/// A vehicle as the cases see it.
struct Passive<'a>(&'a dyn Vehicle);

impl Machine for Passive<'_> {
    fn refused_kexec(&self, case: &str) -> Result<luo_sys::Error> {
        self.0.refused_kexec(case)
    }

    fn module(&self, file: &str) -> Option<PathBuf> {
        self.0.module(file)
    }
}
