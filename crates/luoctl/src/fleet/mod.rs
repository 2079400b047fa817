// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine as one of a fleet: it takes a slot before an update, and gives it back when the
//! update is completed and the machine is healthy. luod talks to nobody outside of the machine,
//! so this is done here.
//!
//! ```text
//!            take                 update                    health, soak
//!   (nothing) ---> slot is noted --------> jump, next kernel ----------> given back, (nothing)
//!                        |  refused, vetoed, cancelled                        ^
//!                        `---------------------------------------------------'
//! ```
//!
//! The note is on the disk before the server is asked, so a slot that was given is never
//! forgotten, whatever is lost meanwhile. Whoever is at it holds a lock, which ends with its
//! process and with its machine.
//!
//! | file | concern |
//! |---|---|
//! | [`settings`] | `[fleet]` of luod's configuration, as the client takes it |
//! | [`came`] | what came of the update that a slot was taken for |
//! | [`store`] | the note on the disk, and the lock |
//! | [`health`] | runs the health command, and counts for how long it says yes |
//! | [`take`] | takes a slot |
//! | [`keep`] | gives it back |

pub mod came;
pub mod health;
pub mod keep;
pub mod settings;
pub mod store;
pub mod take;
