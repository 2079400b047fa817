// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cases and what they assert.

use core::fmt;

use anyhow::{Result, bail, ensure};
use luo_sys::{Device, Errno, SessionName};
use luo_vm_protocol::Outcome;

use crate::port;

/// The cases of one scenario.
pub(crate) struct Suite {
    scenario: &'static str,
}

/// Why a case could not run here; the error of a case that is skipped.
#[derive(Debug)]
struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Leaves a case as skipped.
pub(crate) fn skip(reason: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Skip(reason.into()))
}

impl Suite {
    /// The cases of `scenario`.
    pub(crate) const fn new(scenario: &'static str) -> Self {
        Self { scenario }
    }

    /// Runs a case and reports it. Its failure does not end the scenario.
    pub(crate) fn case(&self, name: impl fmt::Display, body: impl FnOnce() -> Result<()>) {
        let (outcome, detail) = match body() {
            Ok(()) => (Outcome::Passed, String::new()),
            Err(error) => match error.downcast_ref::<Skip>() {
                Some(Skip(reason)) => (Outcome::Skipped, reason.clone()),
                None => (Outcome::Failed, format!("{error:#}")),
            },
        };
        port::case(format!("{}::{name}", self.scenario), outcome, detail);
    }
}

/// Asserts that a call is refused with `errno`.
///
/// # Errors
/// If it succeeded, or was refused otherwise.
pub(crate) fn refused<T>(result: luo_sys::Result<T>, errno: Errno) -> Result<()> {
    match result {
        Ok(_) => bail!("success instead of {errno}"),
        Err(error) => {
            ensure!(error.errno() == errno, "{error} instead of {errno}");
            Ok(())
        }
    }
}

/// Asserts that two values are the same, and says which they are if not.
///
/// # Errors
/// If they differ.
pub(crate) fn same<T: PartialEq + fmt::Debug>(what: &str, seen: T, expected: T) -> Result<()> {
    ensure!(
        seen == expected,
        "{what} is {seen:?} instead of {expected:?}"
    );
    Ok(())
}

/// A name that is known to be valid.
pub(crate) fn name(name: &str) -> SessionName {
    match SessionName::new(name) {
        Ok(name) => name,
        Err(error) => panic!("'{name}': {error}"),
    }
}

/// Opens the device: every case does it anew, so that none depends on another.
///
/// # Errors
/// As the kernel answers.
pub(crate) fn device() -> Result<Device> {
    Ok(Device::open()?)
}
