// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the demonstration runs.

use anyhow::Result;

/// The machine the service runs on, and who watches.
pub trait Stage {
    /// A point in time; the names are those of [`crate::service`].
    fn mark(&self, name: &str);
    /// A sentence for people.
    fn progress(&self, text: String);
    /// Something that must hold.
    fn case(&self, name: &str, outcome: Result<()>);
    /// Loads the next kernel.
    ///
    /// # Errors
    /// If it is refused.
    fn load_next(&self) -> Result<()>;
    /// Waits until those who watch have seen everything.
    ///
    /// # Errors
    /// If that cannot be.
    fn settle(&self) -> Result<()>;
    /// Jumps; there is no success to return.
    fn jump(&self) -> luo_sys::Error;
}
