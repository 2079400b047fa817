// SPDX-License-Identifier: MIT OR Apache-2.0
//! What cases assert.
//!
//! The errors are typed as far as a declared difference must recognise them.

use core::fmt;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Errno, SessionName};

/// A call that did not end as it must.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    /// It succeeded and had to be refused.
    #[error("success instead of {expected}")]
    Accepted {
        /// What it must be refused with.
        expected: Errno,
    },
    /// It was refused, but otherwise.
    #[error("refused, but not with {expected}")]
    Refused {
        /// What it must be refused with.
        expected: Errno,
        /// What it was refused with.
        #[source]
        seen: luo_sys::Error,
    },
}

/// Something that an implementation may lack as a whole is not there: a file in
/// sysfs, the lines of fdinfo.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not there")]
pub struct Absent(pub String);

/// Something that must be seen from outside is not: a notification, a call that waits.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unseen(pub &'static str);

/// Something that must outlive an update has not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// Asserts that something has outlived an update, and says what became of it if not.
///
/// # Errors
/// [`Lost`] if the values differ.
pub fn kept<T: PartialEq + fmt::Debug>(what: &str, seen: T, expected: T) -> Result<()> {
    if seen == expected {
        return Ok(());
    }
    let lost = format!("{what} is {seen:?} instead of {expected:?}");
    Err(Lost(lost).into())
}

/// Asserts that something is seen.
///
/// # Errors
/// [`Unseen`] if it is not.
pub fn seen(is: bool, otherwise: &'static str) -> Result<()> {
    if is {
        Ok(())
    } else {
        Err(Unseen(otherwise).into())
    }
}

/// Why a case could not run here; the error of a case that is skipped.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Skip(pub String);

/// Leaves a case as skipped.
pub fn skip(reason: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Skip(reason.into()))
}

/// Asserts that a call is refused with `errno`.
///
/// # Errors
/// If it succeeded, or was refused otherwise.
pub fn refused<T>(result: luo_sys::Result<T>, errno: Errno) -> Result<()> {
    match result {
        Ok(_) => Err(Mismatch::Accepted { expected: errno }.into()),
        Err(error) if error.errno() == errno => Ok(()),
        Err(seen) => Err(Mismatch::Refused {
            expected: errno,
            seen,
        }
        .into()),
    }
}

/// [`refused`] for what is no call of the orchestrator's.
///
/// # Errors
/// As [`refused`].
pub fn refused_file<T>(result: std::io::Result<T>, errno: Errno) -> Result<()> {
    match result {
        Ok(_) => Err(Mismatch::Accepted { expected: errno }.into()),
        Err(error) => same("the error", error.raw_os_error(), Some(errno.get())),
    }
}

/// Asserts that two values are the same, and says which they are if not.
///
/// # Errors
/// If they differ.
pub fn same<T: PartialEq + fmt::Debug>(what: &str, seen: T, expected: T) -> Result<()> {
    ensure!(
        seen == expected,
        "{what} is {seen:?} instead of {expected:?}"
    );
    Ok(())
}

/// A name that is known to be valid.
///
/// # Panics
/// If it is not.
#[must_use]
pub fn name(name: &str) -> SessionName {
    match SessionName::new(name) {
        Ok(name) => name,
        Err(error) => panic!("'{name}': {error}"),
    }
}

/// Opens the device: every case does it anew, so that none depends on another.
///
/// # Errors
/// As the kernel answers.
pub fn device() -> Result<Device> {
    Device::open().context("the device")
}
