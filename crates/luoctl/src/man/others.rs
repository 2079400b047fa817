// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of the pages of the simulator and of guests beyond their command lines.

use super::parts::{End, Entry, NONE};

/// Those of guests.
const GUEST_FILES: &[Entry] = &[
    (
        "/etc/luo-qemu/NAME.toml",
        "A guest: memory, command, huge, needs, state_size, disks_in_memory and wait. The example in \
         /usr/share/doc/luo-qemu says what each is.",
    ),
    (
        "/run/luo-qemu/NAME",
        "The guest in this boot: QEMU's control socket, and the locks by which it has one luo-qemu \
         and one QEMU.",
    ),
];

pub(super) const LUO_QEMU: End = End {
    signals: &[
        (
            "TERM, INT, HUP",
            "The guest is asked to shut down; at the second one QEMU is told to quit. While \
             the guest stands still for an update only luo-qemu ends.",
        ),
        (
            "KILL",
            "luo-qemu ends, and QEMU does not: the luo-qemu that is started next takes it over.",
        ),
    ],
    files: GUEST_FILES,
    examples: &[(
        "A guest that goes on after each update.",
        "luo-qemu run web --memory 4G -- qemu-system-x86_64 -machine q35 -accel kvm \
         -nographic -drive file=/srv/web.img,format=raw,if=virtio",
    )],
    see: &["luo-qemu-start(1)", "luod(8)", "luoctl(1)"],
};

pub(super) const LUO_QEMU_START: End = End {
    files: GUEST_FILES,
    examples: &[
        (
            "The guest of /etc/luo-qemu/web.toml, as its unit does it.",
            "luo-qemu start web",
        ),
        (
            "The same as a service, at each boot.",
            "systemctl enable --now luo-qemu@web",
        ),
    ],
    see: &["luo-qemu-run(1)"],
    ..NONE
};

pub(super) const LUO_QEMU_LOAD_KVM: End = End {
    examples: &[(
        "At each boot, before guests are started.",
        "systemctl enable luo-kvm",
    )],
    see: &["luo-qemu-run(1)"],
    ..NONE
};

pub(super) const LUO_QEMU_WARM: End = End {
    files: &[(
        "/var/lib/luo-qemu/*.files",
        "What each QEMU that ran here consists of: one path a line.",
    )],
    examples: &[(
        "At each boot, as early as there is a disk.",
        "systemctl enable luo-qemu-warm",
    )],
    see: &["luo-qemu-run(1)"],
    ..NONE
};

pub(super) const LUO_SIM: End = End {
    examples: &[
        (
            "A program lives through a simulated kexec.",
            "luo-sim run --boots 2 -- ./my-vmm --live-update",
        ),
        (
            "Two boots, each with its command.",
            "luo-sim run --boot './my-vmm start && luo-sim kexec' --boot './my-vmm restore'",
        ),
    ],
    see: &[
        "luo-sim-run(1)",
        "luo-sim-kexec(1)",
        "luo-sim-system(1)",
        "luod(8)",
    ],
    ..NONE
};

pub(super) const LUO_SIM_RUN: End = End {
    examples: &[
        (
            "A program lives through a simulated kexec.",
            "luo-sim run --boots 2 -- ./my-vmm --live-update",
        ),
        ("What can go wrong?", "luo-sim run --fault help"),
        (
            "Memory cannot be retrieved in the second boot.",
            "luo-sim run --fault 1/retrieve=EIO --boots 2 -- ./my-vmm",
        ),
    ],
    see: &["luo-sim-kexec(1)"],
    ..NONE
};

pub(super) const LUO_SIM_KEXEC: End = End {
    examples: &[(
        "The end of the first boot.",
        "luo-sim run --boot './my-vmm start && luo-sim kexec' --boot './my-vmm restore'",
    )],
    see: &["luo-sim-run(1)"],
    ..NONE
};

pub(super) const LUO_SIM_SYSTEM: End = End {
    examples: &[(
        "A folder for `root` in [checks] of luod.toml.",
        "luo-sim system machine",
    )],
    see: &["luod.toml(5)"],
    ..NONE
};
