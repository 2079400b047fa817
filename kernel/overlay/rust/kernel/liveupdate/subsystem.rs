// SPDX-License-Identifier: GPL-2.0-only

//! Taking part in live updates without having files.
//!
//! A subsystem hears of each update and may call it off. It can leave one number, usually an
//! address of memory that it hands over, for itself in the next kernel.

use crate::prelude::*;

/// A subsystem that takes part in live updates.
///
/// Called in the order of registration, [`cancel`](Self::cancel) in the reverse. All may sleep.
/// None may register a subsystem or drop a [`Registration`](super::Registration): that waits for
/// the end of the transition that they are a part of.
///
/// # Examples
///
/// ```
/// use kernel::liveupdate::{Registration, Subsystem};
///
/// struct Clock;
///
/// #[vtable]
/// impl Subsystem for Clock {
///     fn prepare(&self) -> Result<u64> {
///         Ok(0x10)
///     }
///
///     fn freeze(&self, data: u64) -> Result<u64> {
///         Ok(data + 1)
///     }
/// }
///
/// /// Takes part until the result is dropped.
/// fn take_part() -> Result<Registration<Clock>> {
///     Registration::register(c"clock-v1", Clock)
/// }
/// ```
#[vtable]
pub trait Subsystem: Send + Sync {
    /// An update is being prepared, after all files. The answer is what this subsystem in the next
    /// kernel is to find.
    ///
    /// # Errors
    ///
    /// An error calls the update off: everybody else's part is undone. Undo what this call did
    /// before returning it.
    fn prepare(&self) -> Result<u64>;

    /// The last look before the kexec, after all files. The answer replaces that of
    /// [`prepare`](Self::prepare), which is `data`.
    ///
    /// # Errors
    ///
    /// An error calls the update off; [`cancel`](Self::cancel) follows.
    fn freeze(&self, data: u64) -> Result<u64> {
        Ok(data)
    }

    /// The update is called off. Undoes [`prepare`](Self::prepare), and [`freeze`](Self::freeze)
    /// if there was one; `data` is what they answered.
    fn cancel(&self, _data: u64) {}

    /// The update is over. `data` is what the previous kernel's [`freeze`](Self::freeze) answered;
    /// without it, this is not called.
    fn finish(&self, _data: u64) {}
}
