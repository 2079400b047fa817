// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The operations: what a host calls for each request it gets.
//!
//! Each function is a whole transaction. It begins in the engine under the
//! host's lock, runs the host's callbacks without it, and commits or undoes.
//!
//! | operation | of the interface |
//! |---|---|
//! | [`create_session`] | CREATE_SESSION |
//! | [`retrieve_session`], [`put_back_session`] | RETRIEVE_SESSION |
//! | [`preserve_file`] | PRESERVE_FD |
//! | [`retrieve_file`] | RETRIEVE_FD |
//! | [`finish_session`] | FINISH |
//! | [`close_session`] | the last close of a session's descriptor |
//! | [`admit`] | boot: a previous kernel left something |
//! | [`open_device`] | open of the device |
//! | [`freeze`], [`unfreeze`] | reboot by kexec, and its failure |
//! | [`flb_get_incoming`] and its kin | drivers' access to FLBs |

mod finish;
mod flb;
mod freeze;
mod preserve;
mod retrieve;
mod session;
mod takeover;

pub use finish::finish_session;
pub use flb::{flb_get_incoming, flb_get_outgoing, flb_put_incoming, flb_put_outgoing};
pub use freeze::{freeze, unfreeze, FreezeError, FreezeReport};
pub use preserve::preserve_file;
pub use retrieve::retrieve_file;
pub use session::{close_session, create_session, put_back_session, retrieve_session};
pub use takeover::{admit, open_device, OpenReport};
