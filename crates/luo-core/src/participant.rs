// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Who takes part in an update beside files: handlers, FLBs and subsystems.

pub(crate) mod flb;
pub(crate) mod flb_life;
pub(crate) mod handler;
pub(crate) mod register;
pub(crate) mod subsystem;
pub(crate) mod subsystem_calls;
