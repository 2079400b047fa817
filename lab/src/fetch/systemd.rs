// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packages of guests that run systemd. The guest says which release it is.

use crate::fetch::apt::{Pin, Suite};
use crate::fetch::debian::Set;

/// systemd, and the libraries that its programs are linked with. One that is missing
/// here keeps the guest from booting, and says its name.
const PACKAGES: &[&str] = &[
    "libacl1",
    "libapparmor1",
    "libaudit1",
    "libblkid1",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libcrypt1",
    "libmount1",
    "libpam0g",
    "libpcre2-8-0",
    "libseccomp2",
    "libselinux1",
    "libssl3t64",
    "libsystemd-shared",
    "libzstd1",
    "mount",
    "systemd",
    "zlib1g",
];

/// A release of systemd, by the suite that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// That of Debian's stable suite, which knows nothing of live updates.
    Stable,
    /// One that keeps descriptor stores over a kexec: 261 and newer do.
    KeepsStores,
}

impl Release {
    /// Its packages.
    #[must_use]
    pub fn set(self) -> Set {
        let suite = match self {
            Self::Stable => Suite::Stable,
            Self::KeepsStores => Suite::Unstable,
        };
        let packages = PACKAGES.iter().chain(self.further()).copied();
        Set {
            name: "systemd",
            suite,
            packages: packages.collect(),
            pins: self.pins(),
        }
    }

    /// Packages beside the common ones.
    const fn further(self) -> &'static [&'static str] {
        match self {
            // logind, whose locks keep others from shutting down, is asked over the bus.
            Self::Stable => &[
                "coreutils",
                "dbus",
                "dbus-daemon",
                "dbus-system-bus-common",
                "libdbus-1-3",
                "libexpat1",
                "libsystemd0",
            ],
            // libmount is linked with it there.
            Self::KeepsStores => &["libsystemd0"],
        }
    }

    /// The packages of a fixed version.
    const fn pins(self) -> &'static [Pin] {
        match self {
            Self::Stable => &[],
            Self::KeepsStores => &[
                Pin {
                    package: "libsystemd-shared",
                    version: "262.1-1",
                    sha256: "0fdbfa3a91fa6b2279468d3cb9d0012f7c637616acaa8babeaa123470e4a2f4a",
                },
                Pin {
                    package: "systemd",
                    version: "262.1-1",
                    sha256: "17cfb580aa1ad0a06bb68e7c284d06cd4ee856269a0c3e4f2a89205c3f9a1608",
                },
            ],
        }
    }
}
