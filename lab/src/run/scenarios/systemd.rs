// SPDX-License-Identifier: MIT OR Apache-2.0
//! Those whose first process is systemd.

use super::{BASE_TIMEOUT, scenario};
use crate::build::artifact::Artifact;
use crate::fetch::systemd::Release;
use crate::run::scenario::{Expect, Rules, Scenario, When};

/// Parameters of all of them.
const CMDLINE: &[&str] = &[
    // The initramfs has to fit into it, too.
    "kho_scratch=32M,160M,32M",
    // All that systemd says is to be seen, from its first word to its last.
    "systemd.log_target=kmsg",
    "systemd.log_color=0",
    "systemd.show_status=0",
    "printk.devkmsg=on",
];

/// A guest that runs systemd, with our packages' files in it.
fn systemd(name: &str, proves: &'static str) -> Scenario {
    Scenario {
        needs: &[Artifact::SystemdRoot(Release::Stable)],
        next: vec!["rust-next", "rust"],
        cost: 134,
        timeout: BASE_TIMEOUT * 4,
        expect: Expect {
            cases: 30,
            named: &["completed-after-systemctl", "completed-after-direct"],
            exactly: false,
            kexecs: Some(2),
        },
        cmdline: CMDLINE.to_vec(),
        console: Rules {
            must: &["systemd-shutdown.*Rebooting with kexec"],
            must_not: &[
                "(service|sysusers.d|tmpfiles.d)/?luod[^ ]*:[0-9]+:",
                "luod.service: .*([Uu]nknown|[Ii]gnor|WITHOUT|not support|Failed to)",
            ],
            allowed: &[],
        },
        ..scenario(name, "systemd", proves)
    }
}

/// The files of our packages.
pub(super) fn packages() -> Scenario {
    systemd(
        "systemd",
        "the files of dist/ under a real systemd: nothing is lost, whatever ends the agent",
    )
}

/// One boot of it, with more sessions than systemd could give the names of.
pub(super) fn many() -> Scenario {
    Scenario {
        args: vec!["part:many".to_owned()],
        expect: Expect {
            cases: 1,
            named: &["many-sessions"],
            exactly: false,
            kexecs: Some(0),
        },
        console: Rules::default(),
        // What labels are long at most is seen in a unit test, too.
        when: When::All,
        ..systemd(
            "systemd-many",
            "2,240 sessions with long names come back out of systemd's descriptor store",
        )
    }
}

/// All that the scenario with descriptor stores reports, kernel by kernel.
const STORES: &[&str] = &[
    // In the first kernel.
    "systemd-keeps-stores",
    "device-is-delegated",
    "keeper-is-ready",
    "store-is-ready",
    "tenant-is-ready",
    "workloads-run",
    "what-direct-loses-is-named",
    // In the second kernel.
    "completed-after-1-systemctl",
    "cache-after-1-systemctl",
    "leaver-after-1-systemctl",
    "web-after-1-systemctl",
    "keeper-after-1-systemctl",
    "store-after-1-systemctl",
    "tenant-after-1-systemctl",
    "incoming-after-1-systemctl",
    "system-after-1-systemctl",
    // In the third.
    "completed-after-2-direct",
    "cache-after-2-direct",
    "leaver-after-2-direct",
    "web-after-2-direct",
    "keeper-after-2-direct",
    "store-after-2-direct",
    "tenant-after-2-direct",
    "incoming-after-2-direct",
    "system-after-2-direct",
    // In the fourth.
    "completed-after-3-systemctl",
    "cache-after-3-systemctl",
    "leaver-after-3-systemctl",
    "web-after-3-systemctl",
    "keeper-after-3-systemctl",
    "store-after-3-systemctl",
    "tenant-after-3-systemctl",
    "incoming-after-3-systemctl",
    "system-after-3-systemctl",
];

/// As that, with one update less.
const STORES_TWO_HOPS: &[&str] = STORES.split_at(STORES.len() - 9).0;

/// Updates under a systemd that keeps descriptor stores over a kexec, into our kernels.
pub(super) fn stores() -> Scenario {
    /// Jumps by systemd, by the agent, and by systemd again.
    const HOPS: u32 = 3;
    Scenario {
        needs: &[Artifact::SystemdRoot(Release::KeepsStores)],
        args: vec!["part:stores".to_owned(), format!("hops:{HOPS}")],
        expect: Expect {
            cases: STORES.len(),
            named: STORES,
            exactly: true,
            kexecs: Some(HOPS),
        },
        cost: 79,
        // Neither those of systemd and its services nor the agent's and its workloads'.
        cmdline: [CMDLINE, &["sysctl.vm.memfd_noexec=2"]].concat(),
        ..systemd(
            "systemd-stores",
            "a systemd that keeps descriptor stores, its sessions for services and one of an \
             ordinary user go through updates with those of the agent; no memfd may be executed",
        )
    }
}

/// As that, from mainline's kernel to ours and back.
pub(super) fn stores_c() -> Scenario {
    const HOPS: u32 = 2;
    let ours = stores();
    Scenario {
        name: "systemd-stores-c".to_owned(),
        args: vec!["part:stores".to_owned(), format!("hops:{HOPS}")],
        first: "c",
        next: vec!["rust", "c"],
        expect: Expect {
            cases: STORES_TWO_HOPS.len(),
            named: STORES_TWO_HOPS,
            kexecs: Some(HOPS),
            ..ours.expect.clone()
        },
        when: When::All,
        // Through mainline's handler it would come back sealed.
        cmdline: CMDLINE.to_vec(),
        ..ours
    }
}
