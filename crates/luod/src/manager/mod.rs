// SPDX-License-Identifier: MIT OR Apache-2.0
//! The service manager: systemd, or the small one of `luod supervise`.

pub mod shutdown;
pub mod store;
pub mod supervise;
