// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! File handlers and FLBs that are registered with the engine.

use crate::host::Host;
use crate::id::FlbId;
use crate::mem::Vec;
use crate::participant::flb::Outgoing;
use crate::text::Compat;

/// The most handlers that can be registered.
pub(crate) const MAX_HANDLERS: usize = 256;

pub(crate) struct Handler<H: Host> {
    pub(crate) name: Compat,
    pub(crate) table: H::Handler,
    /// In the order of registration, which is the order they are preserved in.
    pub(crate) flbs: Vec<FlbId>,
    /// Files that have this handler.
    pub(crate) files: usize,
    /// False once it is unregistered; the entry goes with its last file.
    pub(crate) registered: bool,
}

pub(crate) struct Flb<H: Host> {
    pub(crate) name: Compat,
    pub(crate) table: H::Flb,
    /// Handlers that depend on it.
    pub(crate) users: usize,
    pub(crate) outgoing: Outgoing<H>,
}

/// A handler's table, and what keeps it there.
pub(crate) type PinnedHandler<H> = (<H as Host>::Handler, <H as Host>::Pin);
