// SPDX-License-Identifier: GPL-2.0-only
//! The file handlers that are written in Rust, one file each.

use luo_core::AnyKind;

use crate::handler::Handler;
use crate::host::Linux;
use crate::sys::handler_table::HandlerTable;

#[cfg(CONFIG_EVENTFD)]
mod eventfd;
#[cfg(CONFIG_LIVEUPDATE_KVM_RUST)]
mod guest_memfd;
#[cfg(CONFIG_LIVEUPDATE_KVM_RUST)]
mod kvm;
#[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
pub(crate) mod memfd;
mod pipe;
#[cfg(CONFIG_TIMERFD)]
mod timerfd;

/// All of them, in the order in which they are asked whether they know a file.
static ALL: &[&dyn AnyKind<Linux>] = &[
    #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
    &memfd::MAINLINES,
    #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
    &memfd::IN_RUNS,
    #[cfg(all(CONFIG_LIVEUPDATE_MEMFD_RUST, CONFIG_HUGETLBFS))]
    &memfd::HUGE,
    #[cfg(CONFIG_EVENTFD)]
    &eventfd::EVENTFDS,
    #[cfg(CONFIG_TIMERFD)]
    &timerfd::TIMERS,
    &pipe::PIPES,
];

/// All of them, to be registered at boot.
pub(crate) fn all() -> impl Iterator<Item = &'static dyn AnyKind<Linux>> {
    ALL.iter().copied()
}

/// Those of KVM's files, to be registered when KVM is there.
#[cfg(CONFIG_LIVEUPDATE_KVM_RUST)]
pub(crate) fn of_kvm() -> impl Iterator<Item = &'static dyn AnyKind<Linux>> + Clone {
    let all: [&'static dyn AnyKind<Linux>; 2] = [&kvm::MACHINES, &guest_memfd::MEMORY];
    all.into_iter()
}

/// The one that C code knows by a table, which is there for objects that files share.
pub(crate) fn of_table(_table: &HandlerTable) -> Option<Handler> {
    #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
    return memfd::of_table(_table);
    #[cfg(not(CONFIG_LIVEUPDATE_MEMFD_RUST))]
    None
}

/// The table that C code knows one by, if it knows it.
pub(crate) fn table_of(_compatible: &str) -> Option<HandlerTable> {
    #[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
    return memfd::table_of(_compatible);
    #[cfg(not(CONFIG_LIVEUPDATE_MEMFD_RUST))]
    None
}
