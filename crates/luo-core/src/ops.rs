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
//! | [`unpreserve_file`] | UNPRESERVE_FD, FD_UNPRESERVE |
//! | [`retrieve_file`] | RETRIEVE_FD |
//! | [`freeze_session`] | SESSION_FREEZE |
//! | [`finish_session`] | FINISH of a session |
//! | [`close_session`] | the last close of a session's descriptor, or of the device's |
//! | [`create_device_session`], [`register_file`] | FD_PRESERVE |
//! | [`restore_file`], [`put_back_file`] | FD_RESTORE |
//! | [`add_dependency`], [`drop_dependency`] | ADD_DEPENDENCY, DROP_DEPENDENCY |
//! | [`prepare`], [`freeze`], [`cancel`], [`finish_update`] | the events |
//! | [`list_files`] and its kin | the queries |
//! | [`admit`] | boot: a previous kernel left something |
//! | [`take_over`] | the sessions that the previous kernel left are wanted |
//! | [`do_rest`] | a user has finished one of the administrator's, or the last of all |
//! | [`catch_up`] | the first call on an open descriptor of the device |
//! | [`reboot`] | reboot by kexec |
//! | [`need_object`], [`need_file`], [`needed_file`] | a handler says, or gets, what its file needs |
//! | [`register_handler`], [`unregister_handler`] | file handlers, at any time |
//! | [`flb_get_incoming`] and its kin | drivers' access to FLBs |

pub use crate::graph::{MAX_DEPENDENCIES_PER_FILE, MAX_SEARCH};
pub use crate::participant::flb_life::{
    flb_get_incoming, flb_get_outgoing, flb_put_incoming, flb_put_outgoing,
};
pub use crate::participant::register::{register_handler, unregister_handler};
pub use crate::patience::{parse_patience, MOST_PATIENCE, PATIENCE};
pub use crate::query::lists::{
    list_arrived_files, list_dependencies, list_files, list_participants, list_sessions, Page,
    MAX_PAGE,
};
pub use crate::room::with_room;
pub use crate::session::dependency::{
    add_dependency, drop_dependency, Needed, MAX_DEPENDENCIES_PER_SESSION,
};
pub use crate::session::need::{need_file, need_object, needed_file};
pub use crate::session::open::{create_device_session, put_back_session, retrieve_session};
pub use crate::session::preserve::{preserve_file, unpreserve_file};
pub use crate::session::register::register_file;
pub use crate::session::retrieve::{put_back_file, restore_file, retrieve_file};
pub use crate::update::carry::Unclaimed;
pub use crate::update::catch_up::catch_up;
pub use crate::update::create::create_session;
pub use crate::update::early::freeze_session;
pub use crate::update::end::finish_update;
pub use crate::update::event::{cancel, freeze, prepare};
pub use crate::update::image::{Image, Legacy};
pub use crate::update::leave::{close_session, do_rest, finish_session};
pub use crate::update::loss::Obstacle;
pub use crate::update::reboot::{reboot, Policy};
pub use crate::update::takeover::{admit, take_over};
pub use crate::update::{Count, Report};
