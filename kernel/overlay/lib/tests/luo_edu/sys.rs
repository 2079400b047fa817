// SPDX-License-Identifier: GPL-2.0-only

//! What is unsafe, as safe wrappers.

pub(crate) mod irq;
