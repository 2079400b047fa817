// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Doing something with each file of an order while the engine is locked only for the
//! steps from one file to the next.
//!
//! The next file is looked up before something is done with a file, because the file may
//! be gone afterwards. The work on a file must not arrange files of the order anew:
//! the links of an order are in the nodes of the graph and would be overwritten. Undoing
//! may, after the walk has ended. (`graph/walk.rs` is another thing: it looks for paths.)

use core::convert::Infallible;

use crate::engine::Engine;
use crate::graph::Order;
use crate::id::FileId;
use crate::lock::Lock;

/// Does something with each file of an order, the first one first.
///
/// # Errors
/// The first error of a step; the files behind it are left alone.
pub(crate) fn try_forwards<H: Lock, E>(
    host: &H,
    arrange: impl FnOnce(&mut Engine<H>) -> Order,
    mut step: impl FnMut(FileId) -> Result<(), E>,
) -> Result<(), E> {
    let mut next = host.now(arrange).first;
    while let Some(id) = next {
        next = host.now(|engine| engine.graph.next_in_order(id));
        step(id)?;
    }
    Ok(())
}

/// Does something with each file of an order, the first one first.
pub(crate) fn forwards<H: Lock>(
    host: &H,
    arrange: impl FnOnce(&mut Engine<H>) -> Order,
    mut step: impl FnMut(FileId),
) {
    let Ok(()) = try_forwards(host, arrange, |id| {
        step(id);
        Ok::<(), Infallible>(())
    });
}

/// Does something with each file of an order, the last one first.
pub(crate) fn backwards<H: Lock>(
    host: &H,
    arrange: impl FnOnce(&mut Engine<H>) -> Order,
    mut step: impl FnMut(FileId),
) {
    let mut next = host.now(arrange).last;
    while let Some(id) = next {
        next = host.now(|engine| engine.graph.prev_in_order(id));
        step(id);
    }
}
