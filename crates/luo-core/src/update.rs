// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Operations that move the whole machine, or may end an update.
//!
//! Which event is legal when is decided by the table in `crate::update_state`.
//!
//! | file | what it does |
//! |---|---|
//! | `event` | PREPARE, FREEZE, CANCEL |
//! | `end` | FINISH, and the end of an update by itself |
//! | `reboot` | what the reboot system call does before a kexec |
//! | `transition` | the steps of PREPARE, FREEZE, CANCEL and the reboot, and their undoing |
//! | `freeze` | the steps that freeze |
//! | `early` | one session is frozen before the others |
//! | `files` | the steps for one file |
//! | `image` | the image that a reboot jumps into may take nothing over |
//! | `loss` | a file that cannot go with a reboot is lost alone |
//! | `carry` | sessions that nobody has claimed go on to the next kernel |
//! | `carried` | which sessions those are, and where their files go to |
//! | `takeover` | reading what the previous kernel left |
//! | `catch_up` | what comes before the first call on an open descriptor |
//! | `create` | making a session, also in the place of one that an update keeps |
//! | `leave` | finishing and closing a session |
//! | `report` | what a transition did, as a log says it |

mod carried;
pub(crate) mod carry;
pub(crate) mod catch_up;
pub(crate) mod create;
pub(crate) mod early;
pub(crate) mod end;
pub(crate) mod event;
pub(crate) mod files;
mod freeze;
pub(crate) mod image;
pub(crate) mod leave;
pub(crate) mod loss;
pub(crate) mod reboot;
mod report;
pub(crate) mod takeover;
mod transition;

pub use report::{Count, Report};
