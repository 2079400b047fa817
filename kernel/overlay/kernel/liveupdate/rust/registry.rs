// SPDX-License-Identifier: GPL-2.0-only
//! File handlers, FLBs and subsystems of others, under the names they gave; and what those
//! handlers ask for while they are called.

use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use luo_abi::handover::COMPAT_LENGTH;
use luo_core::{ops, AnyKind, Compat, Lock, Subject};

use crate::errno;
use crate::handler::Handler;
use crate::handlers;
use crate::host::{linux, Linux};
use crate::say::Say;
use crate::sys::exports;
use crate::sys::flb::{FlbObject, FlbTable};
use crate::sys::handler_table::HandlerTable;
use crate::sys::lent::Lent;
use crate::sys::module::Owner;
use crate::sys::subsystem::SubsystemTable;

impl From<&HandlerTable> for Handler {
    /// The handler that C code means by a table: perhaps one of ours, which has no callbacks
    /// there.
    fn from(table: &HandlerTable) -> Self {
        handlers::of_table(table).unwrap_or_else(|| Self::Table(table.clone()))
    }
}

/// See `liveupdate_register_file_handler()`.
pub(crate) fn register_handler(handler: &HandlerTable) -> Result {
    let linux = linux().ok_or(EOPNOTSUPP)?;
    if !handler.is_complete() {
        return Err(EINVAL);
    }
    let name = parse(&handler.name())?;
    register(linux, name, &Handler::Table(handler.clone()))
}

fn register(linux: &Linux, name: Compat, handler: &Handler) -> Result {
    ops::register_handler(linux, name, handler).map_err(|why| {
        pr_err!("handler {} is not registered: {}\n", Say(name), Say(why));
        errno::of_operation(why)
    })
}

/// Registers a handler that is written in Rust.
fn register_kind(linux: &Linux, kind: &'static dyn AnyKind<Linux>, owner: Owner) -> Result {
    let mut room = [0; COMPAT_LENGTH];
    luo_abi::bytes::copy(&mut room, kind.compatible().as_bytes());
    register(linux, parse(&room)?, &Handler::Kind(kind, owner))
}

/// Registers the handlers that are written in Rust, for files of what is built in.
pub(crate) fn register_own(linux: &Linux) -> Result {
    for kind in handlers::all() {
        register_kind(linux, kind, Owner::BUILT_IN)?;
        if let Some(table) = handlers::table_of(kind.compatible()) {
            exports::tell_test(&table);
        }
    }
    Ok(())
}

/// Registers handlers that are written in Rust for the files of a module: all of them or none.
#[cfg(CONFIG_LIVEUPDATE_KVM_RUST)]
pub(crate) fn register_all(
    kinds: impl Iterator<Item = &'static dyn AnyKind<Linux>> + Clone,
    owner: Owner,
) -> Result {
    let linux = linux().ok_or(EOPNOTSUPP)?;
    for (done, kind) in kinds.clone().enumerate() {
        register_kind(linux, kind, owner)
            .inspect_err(|_| unregister_all(kinds.clone().take(done)))?;
    }
    Ok(())
}

/// Undoes [`register_all`].
#[cfg(CONFIG_LIVEUPDATE_KVM_RUST)]
pub(crate) fn unregister_all(kinds: impl Iterator<Item = &'static dyn AnyKind<Linux>>) {
    for kind in kinds {
        unregister(&Handler::Kind(kind, Owner::BUILT_IN));
    }
}

/// See `liveupdate_unregister_file_handler()`.
pub(crate) fn unregister_handler(handler: &HandlerTable) {
    unregister(&Handler::Table(handler.clone()));
}

fn unregister(handler: &Handler) {
    if let Some(linux) = linux() {
        let gone = ops::unregister_handler(linux, handler);
        if let Err(why) = gone {
            pr_warn!("unregistering a handler: {}\n", Say(why));
        }
    }
}

/// See `liveupdate_get_token_outgoing()`.
pub(crate) fn need_file(of: &Subject, file: ARef<File>) -> Result<u64> {
    let linux = linux().ok_or(EOPNOTSUPP)?;
    ops::need_file(linux, of, &Lent::from(file)).map_err(errno::of_operation)
}

/// See `liveupdate_get_file_incoming()`.
pub(crate) fn needed_file(of: &Subject, token: u64) -> Result<ARef<File>> {
    let linux = linux().ok_or(EOPNOTSUPP)?;
    let needed = ops::needed_file(linux, of, token).map_err(errno::of_operation)?;
    Ok(needed.into_file())
}

/// See `liveupdate_register_flb()`.
pub(crate) fn register_flb(handler: &HandlerTable, flb: &FlbTable) -> Result {
    let linux = linux().ok_or(EOPNOTSUPP)?;
    if !flb.is_complete() {
        return Err(EINVAL);
    }
    let name = parse(&flb.name())?;
    let handler = Handler::from(handler);
    let registered =
        ops::with_room(|| linux.now(|engine| engine.register_flb(&handler, name, flb.clone())));
    registered.map_err(errno::of_operation)
}

/// See `liveupdate_unregister_flb()`.
pub(crate) fn unregister_flb(handler: &HandlerTable, flb: &FlbTable) {
    if let Some(linux) = linux() {
        let gone = linux.now(|engine| engine.unregister_flb(&Handler::from(handler), flb));
        if let Err(why) = gone {
            pr_warn!("unregistering an FLB: {}\n", Say(why));
        }
    }
}

/// See `liveupdate_flb_get_incoming()`.
pub(crate) fn get_incoming(flb: &FlbTable) -> Result<Option<FlbObject>> {
    let linux = linux().ok_or(EOPNOTSUPP)?;
    let name = parse(&flb.name())?;
    ops::flb_get_incoming(linux, &name, flb).map_err(errno::of_operation)
}

/// See `liveupdate_flb_put_incoming()`.
pub(crate) fn put_incoming(flb: &FlbTable) {
    if let (Some(linux), Ok(name)) = (linux(), parse(&flb.name())) {
        ops::flb_put_incoming(linux, &name, flb);
    }
}

/// See `liveupdate_flb_get_outgoing()`.
pub(crate) fn get_outgoing(flb: &FlbTable) -> Result<FlbObject> {
    let linux = linux().ok_or(EOPNOTSUPP)?;
    ops::flb_get_outgoing(linux, flb).map_err(errno::of_operation)
}

/// See `liveupdate_flb_put_outgoing()`.
pub(crate) fn put_outgoing(flb: &FlbTable) {
    if let Some(linux) = linux() {
        ops::flb_put_outgoing(linux, flb);
    }
}

/// See `liveupdate_register_subsystem()`.
pub(crate) fn register_subsystem(subsystem: &SubsystemTable) -> Result {
    let linux = linux().ok_or(EOPNOTSUPP)?;
    let name = parse(&subsystem.name().ok_or(EINVAL)?)?;
    let registered =
        ops::with_room(|| linux.wait(|engine| engine.register_subsystem(name, subsystem)));
    registered.map_err(|why| {
        pr_err!("subsystem {} is not registered: {}\n", Say(name), Say(why));
        errno::of_operation(why)
    })
}

/// See `liveupdate_unregister_subsystem()`.
pub(crate) fn unregister_subsystem(subsystem: &SubsystemTable) -> Result {
    let linux = linux().ok_or(EINVAL)?;
    let gone = linux.wait(|engine| engine.unregister_subsystem(subsystem));
    gone.map_err(errno::of_operation)
}

/// See `liveupdate_get_subsystem_data()`.
pub(crate) fn subsystem_data(subsystem: &SubsystemTable) -> Result<u64> {
    let linux = linux().ok_or(EOPNOTSUPP)?;
    let name = parse(&subsystem.name().ok_or(EINVAL)?)?;
    let data = linux.now(|engine| engine.subsystem_data(&name));
    data.map_err(errno::of_operation)
}

fn parse(name: &[u8; COMPAT_LENGTH]) -> Result<Compat> {
    Compat::parse(name).map_err(|why| errno::of_operation(why.into()))
}
