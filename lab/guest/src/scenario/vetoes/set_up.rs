// SPDX-License-Identifier: MIT OR Apache-2.0
//! Three files of three owners that need each other, and two subsystems.
//!
//! ```text
//!   session vetoes-a    session vetoes-b    the device
//!       file 1  --needs-->    file 2  --needs-->  file 3
//! ```
//!
//! They are preserved in the order 2, 3, 1, so that no order that follows from
//! the dependencies can be mistaken for another.

use std::fs::File;

use anyhow::Result;
use luo_conformance::forge::{self, Subsystems};
use luo_sys::{Device, Needed, Session, Token};

use crate::check::{Suite, device, name, same};

pub(super) const SUITE: Suite = Suite::new("vetoes");

/// The argument with the token that the kernel gave out.
pub(super) const TOKEN: &str = "token";

/// The sessions.
pub(super) const FIRST: &str = "vetoes-a";
pub(super) const SECOND: &str = "vetoes-b";

/// Tokens of their files.
pub(super) const ONE: Token = Token(1);
pub(super) const TWO: Token = Token(2);

/// All of it.
pub(super) struct SetUp {
    pub(super) device: Device,
    pub(super) first: Session,
    pub(super) second: Session,
    third: File,
    /// The third file's token, as long as it is registered.
    pub(super) token: Token,
    /// The files' numbers in the driver's log of calls.
    pub(super) ids: [u32; 3],
    _subsystems: Subsystems,
}

impl SetUp {
    /// Makes it.
    pub(super) fn new() -> Result<Self> {
        let device = device()?;
        let second = device.create_session(&name(SECOND))?;
        let two = forge::open()?;
        second.preserve_fd(&two, TWO)?;
        let third = forge::open()?;
        let token = device.fd_preserve(&third)?;
        let first = device.create_session(&name(FIRST))?;
        let one = forge::open()?;
        first.preserve_fd(&one, ONE)?;
        let set_up = Self {
            ids: [forge::id(&one)?, forge::id(&two)?, forge::id(&third)?],
            device,
            first,
            second,
            third,
            token,
            _subsystems: Subsystems::register()?,
        };
        set_up
            .first
            .add_dependency(ONE, Needed::In(name(SECOND), TWO))?;
        set_up.second.add_dependency(TWO, set_up.needed())?;
        Ok(set_up)
    }

    /// What the second file needs.
    pub(super) fn needed(&self) -> Needed {
        Needed::OnDevice(self.token)
    }

    /// Takes the third file away.
    pub(super) fn unregister_third(&self) -> Result<()> {
        Ok(self.device.fd_unpreserve(self.token)?)
    }

    /// Brings it back, with another token.
    pub(super) fn register_third(&mut self) -> Result<()> {
        self.second.drop_dependency(TWO, self.needed())?;
        self.token = self.device.fd_preserve(&self.third)?;
        Ok(self.second.add_dependency(TWO, self.needed())?)
    }
}

/// Asserts what the driver was called for since the last time. `#1` stands for
/// the first file's number, and so on.
pub(super) fn called(ids: [u32; 3], expected: &str) -> Result<()> {
    let mut expected = expected.to_owned();
    for (index, id) in ids.iter().enumerate() {
        expected = expected.replace(&format!("#{}", index + 1), &id.to_string());
    }
    let calls = forge::calls()?.join(" ");
    forge::clear_calls()?;
    same("the calls", calls, expected)
}
