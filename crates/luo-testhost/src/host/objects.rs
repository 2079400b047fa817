// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the host lends to the engine: files, handlers, FLBs with their objects, subsystems.

use luo_core::Access;

use crate::ledger::Ticket;

/// What a handle has in addition once it is frozen, to tell whether the next
/// kernel got the handle of preserve or that of freeze.
pub const FROZEN: u64 = 1 << 62;

/// A file of some kind that stands for an object. `serial` tells files apart.
#[derive(Clone)]
pub struct TestFile {
    pub kind: u32,
    pub object: u64,
    pub serial: u64,
    pub access: Access,
    pub(super) _ticket: Ticket,
}

/// A subsystem by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestSubsystem(pub u32);

impl TestSubsystem {
    /// The number of one that hands nothing over.
    pub const LEAVES_NOTHING: u32 = 99;

    pub(super) fn leaves(self) -> u64 {
        match self.0 {
            Self::LEAVES_NOTHING => 0,
            number => u64::from(number) + 0x2000,
        }
    }
}

/// A handler knows the files of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestHandler(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestFlb(pub u32);

#[derive(Clone)]
pub struct TestObject {
    pub flb: u32,
    pub(super) _ticket: Ticket,
}

pub struct TestPin(#[allow(dead_code, reason = "held, not read")] pub(super) Ticket);

pub struct TestPrivate {
    pub(super) object: u64,
    pub(super) frozen: bool,
    pub(super) _ticket: Ticket,
}
