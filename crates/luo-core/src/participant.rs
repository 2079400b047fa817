// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! File handlers, FLBs and subsystems: the participants in an update that are registered
//! by drivers.

pub(crate) mod flb;
pub(crate) mod flb_life;
pub(crate) mod handler;
pub(crate) mod register;
pub(crate) mod subsystem;
pub(crate) mod subsystem_calls;
