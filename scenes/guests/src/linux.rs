// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guests with Linux: two with a distribution's own kernel, a cable between them, and a TCP connection that
//! is opened once and used all the time.
//!
//! | module | concern |
//! |---|---|
//! | here | the two sides: their names and addresses |
//! | [`init`] | what each runs as its init |
//! | [`memory`] | memory with a pattern, read and written at each tick
//! | [`record`] | what goes over the connection |
//! | [`clocks`] | how long the clocks of a guest say that it stood still |
//! | [`said`] | what each says, and what is wrong with it |
//! | [`pair`] | both, as workloads of an agent |
//! | [`view`] | what both saw of an update, for a person |

pub mod clocks;
pub mod init;
pub mod memory;
pub mod pair;
pub mod record;
pub mod said;
pub mod view;

use std::net::Ipv6Addr;

/// Who of the two a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It waits for the other one to connect.
    Server,
    /// It connects.
    Client,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Server, Self::Client];

    /// Its name, which is that of its workload.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// The side of a name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::BOTH.into_iter().find(|side| side.name() == name)
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Server => 1,
            Self::Client => 2,
        }
    }

    /// The address of its network card.
    #[must_use]
    pub fn card(self) -> String {
        format!("52:54:00:00:00:{:02x}", self.number())
    }

    /// Its address on the cable, which Linux makes of the card's: nobody has to set one.
    #[must_use]
    pub fn address(self) -> Ipv6Addr {
        let last = u16::from(self.number());
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0x00ff, 0xfe00, last)
    }
}
