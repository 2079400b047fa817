// SPDX-License-Identifier: MIT OR Apache-2.0
//! What all guests have: a name, and time.

use std::time::Duration;

/// How long a guest may take to count on. Its firmware takes seconds on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(400);

/// Of the agent, where QEMU emulates a machine that is emulated itself.
pub(crate) const DEADLINES: &str = "prepare_deadline = 300\nfreeze_deadline = 30\nkernel_deadline = 600\n\
                         restore_deadline = 600";

/// The name of the guest.
pub const GUEST: &str = "vm";
