// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Opening the device.

use crate::error::Error;
use crate::lock::Lock;
use crate::session::retry::retry_closed;
use crate::update::leave::after_finish;
use crate::update::takeover::take_over;

/// The outcome of an open of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// Sessions and files that this very open took over.
    pub taken_over: Option<(usize, usize)>,
    /// Closed sessions that could not be finished still.
    pub unfinished: usize,
}

/// To be called when the device is opened: takes over the sessions of the
/// previous kernel if that has not been done, and tries again to finish those
/// that were closed while a handler did not let go. `report` is told of each of
/// those that still cannot be finished.
///
/// # Errors
/// [`Error::Refused`]: `true` beside it if this very open found out, so that
/// the host says so once. [`Error::NoMemory`]: nothing is lost, open again.
pub fn open_device<H: Lock>(
    host: &H,
    report: impl FnMut(&Error),
) -> Result<OpenReport, (Error, bool)> {
    let taken_over = take_over(host)?;
    let unfinished = retry_closed(host, report);
    after_finish(host);
    Ok(OpenReport {
        taken_over,
        unfinished,
    })
}
