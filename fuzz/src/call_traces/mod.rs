// SPDX-License-Identifier: MIT OR Apache-2.0
//! Histories: calls of three clients, with callbacks and memory that fail, and
//! kexecs in between.
//!
//! Beside the machine goes a record of what its answers have promised (`truth`).
//! What is checked after each call:
//!
//! - what fails has changed nothing, and nothing fails without a reason;
//! - what is outgoing is exactly what was preserved, under its names and tokens, and
//!   no object twice; what is lent to the engine is as much as that takes;
//! - what was preserved arrives in the next kernel, is given to whoever claims its
//!   session, with the object and the access it had, and to nobody else; it goes only
//!   when its owner or FINISH lets it go;
//! - when all is closed, nothing is lent still.

mod incoming;
mod op;
mod outgoing;
mod reached;
mod truth;
mod world;

use arbitrary::Unstructured;

pub use reached::Reached;

use op::Op;
use world::World;

/// The most calls of a history.
const MOST_CALLS: usize = 120;

/// Goes through a history.
pub fn run(data: &[u8]) -> Reached {
    let mut bytes = Unstructured::new(data);
    let mut world = World::new();
    for _ in 0..MOST_CALLS {
        if bytes.is_empty() {
            break;
        }
        // Where the bytes end, the history does.
        let Ok(op) = bytes.arbitrary::<Op>() else {
            break;
        };
        world.step(op);
    }
    world.end()
}
