// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that go on through kexecs.

use super::scenario;
use crate::run::scenario::{Expect, Processors, Scenario};

/// Three of QEMU's device `edu`, which the kernel finds in the order of their slots and then those
/// behind the bridge. They reach the first 4 GiB of memory.
const EDUS: &[&str] = &[
    "edu,addr=4,dma_mask=0xffffffff",
    "edu,addr=6,dma_mask=0xffffffff",
    "pci-bridge,id=bridge,chassis_nr=1,addr=5",
    "edu,bus=bridge,addr=1,dma_mask=0xffffffff",
];

/// Two of them go over three kexecs. Time goes by instructions: what a device was told right before
/// a jump, which takes a tenth of a second, comes while no kernel has a driver for it, however busy
/// the host is.
pub(super) fn edu() -> Scenario {
    Scenario {
        devices: EDUS,
        processors: Processors::COUNTED,
        // The timer of the local interrupt controller does not pass the kernel's test where time
        // goes by instructions, and that takes most of the machine's time.
        cmdline: vec!["nolapic_timer"],
        cost: 20,
        expect: Expect {
            cases: 19,
            named: &[
                "not-reset",
                "finished-while-away",
                "interrupt-works-again",
                "other-is-reset",
                "damaged-table-is-refused",
            ],
            exactly: false,
            kexecs: Some(3),
        },
        ..scenario(
            "device-rust",
            "device",
            "a device goes on through a kexec, also behind a bridge, and its next driver takes it over",
        )
        .kexec("rust", "rust")
    }
}
