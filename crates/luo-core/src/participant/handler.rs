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
    /// `None` while it is not registered: files of the previous kernel wait for it, or files
    /// have it still. The entry goes with the last of them.
    pub(crate) table: Option<H::Handler>,
    /// In the order of registration, which is the order they are preserved in.
    pub(crate) flbs: Vec<FlbId>,
    /// Files that have this handler, or wait for it.
    pub(crate) files: usize,
    /// Those of them that came from the previous kernel when it was not registered, and have
    /// not got it since: each gets it when it is asked for.
    pub(crate) waiting: usize,
    /// Keeps the owner of a registered handler while files wait. The last of them takes it.
    pub(crate) pin: Option<H::Pin>,
}

impl<H: Host> Handler<H> {
    /// One that no file has.
    pub(crate) const fn new(name: Compat, table: Option<H::Handler>) -> Self {
        Self {
            name,
            table,
            flbs: Vec::new(),
            files: 0,
            waiting: 0,
            pin: None,
        }
    }

    pub(crate) const fn is_registered(&self) -> bool {
        self.table.is_some()
    }
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
