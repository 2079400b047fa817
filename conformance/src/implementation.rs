// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is tested.

use core::fmt;
use core::str::FromStr;

/// An implementation of `/dev/liveupdate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Implementation {
    /// This project's, in the kernel.
    RustKernel,
    /// Mainline's, in C.
    CKernel,
    /// This project's, in user space.
    Simulator,
}

impl Implementation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Simulator, Self::RustKernel, Self::CKernel];

    /// The word in arguments and reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::RustKernel => "rust",
            Self::CKernel => "c",
            Self::Simulator => "simulator",
        }
    }

    /// What people call it, here.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::RustKernel => "our kernel",
            Self::CKernel => "mainline",
            Self::Simulator => "simulator",
        }
    }

    /// Whether it has states and events, so that a test can undo what another
    /// has left behind.
    #[must_use]
    pub const fn has_events(self) -> bool {
        match self {
            Self::RustKernel | Self::Simulator => true,
            Self::CKernel => false,
        }
    }

    /// Whether it is in a kernel, which takes a virtual machine.
    #[must_use]
    pub const fn is_kernel(self) -> bool {
        match self {
            Self::RustKernel | Self::CKernel => true,
            Self::Simulator => false,
        }
    }
}

impl fmt::Display for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Implementation {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|known| known.word() == word);
        found.ok_or_else(|| anyhow::anyhow!("there is no implementation '{word}'"))
    }
}
