// SPDX-License-Identifier: MIT OR Apache-2.0
//! Those with users to whom the device is delegated: what one of them can do to others.

use super::{BASE_TIMEOUT, scenario};
use crate::run::scenario::{Expect, Scenario, When};

/// All that the scenario of the hostile client reports.
const HOSTILE_CLIENT: &[&str] = &[
    "readers-of-sysfs-stand-in-line",
    "each-attack-is-tried",
    "calls-that-never-end-are-among-them",
    "update-goes-on-under-attack",
    "update-goes-on-beside-costly-calls",
    "who-shares-a-line-with-many-waits-for-few",
    "root-without-privileges-stands-in-line-too",
    "idle-threads-delay-for-a-bounded-time",
    "what-another-writes-to-is-busy-in-time",
    "nothing-is-let-through",
    "what-is-shared-is-preserved-once",
    "nothing-is-left-when-it-is-killed",
    "many-numbers-have-no-more-than-users-together",
    "who-holds-an-administrators-session-delays-for-a-bounded-time",
    "what-others-share-is-named-in-time",
    "lines-of-writers-hold-nobody-up",
    "nobody-else-is-charged",
    "all-is-in-time",
    // In the next kernel.
    "the-reboot-ends-in-time",
    "each-attack-is-tried-after",
    "costly-calls-are-tried-after",
    "what-never-ended-is-lost-alone",
    "what-others-shared-is-lost-alone",
    "closed-ones-of-others-are-let-alone",
    "a-full-group-takes-nothing-of-others",
    "memory-comes-back-beside-idle-threads",
    "memory-is-there",
    "memory-of-the-other-user-is-there",
    "sessions-end-in-a-full-group",
    "one-end-of-a-pipe-is-had-and-held",
    "update-ends",
    "the-log-is-not-flooded",
    "all-is-in-time-after",
    "nothing-is-let-through-after",
];

/// All that the scenario of memory cgroups reports.
const ACCOUNTS: &[&str] = &[
    "what-a-user-holds-is-charged-to-its-group",
    "a-full-group-is-told-and-nobody-is-killed",
    "who-freezes-is-charged-for-nothing-of-users",
    // Two kernels later.
    "what-is-let-go-of-in-a-full-group-comes-back",
    "what-does-not-fit-is-tried-again-and-its-owner-pays",
    "who-touched-it-first-does-not-pay-for-others",
    "who-has-most-of-it-pays",
    "a-full-group-loses-nothing-that-it-carries-on",
    "a-pipe-that-does-not-fit-kills-nobody",
    "what-was-carried-on-is-its-owners",
];

/// A user's program that tries all at once.
pub(super) fn hostile_client() -> Scenario {
    Scenario {
        expect: Expect {
            cases: HOSTILE_CLIENT.len(),
            named: HOSTILE_CLIENT,
            exactly: true,
            kexecs: Some(1),
        },
        memory: 3072,
        // A call of the user's never ends: the reboot waits that long for it.
        cmdline: vec!["liveupdate_patience=10"],
        timeout: BASE_TIMEOUT * 3,
        when: When::All,
        cost: 190,
        ..scenario(
            "hostile-client",
            "hostile-client",
            "a user's program tries all at once; a guest's session goes through an update \
             undisturbed",
        )
        .kexec("rust", "rust-next")
    }
}

/// Who is charged for memory.
pub(super) fn accounts() -> Scenario {
    Scenario {
        expect: Expect {
            cases: ACCOUNTS.len(),
            named: ACCOUNTS,
            exactly: true,
            kexecs: Some(2),
        },
        memory: 1024,
        cost: 85,
        ..scenario(
            "accounts",
            "accounts",
            "who holds it is charged for it, a full memory cgroup hurts itself alone, and what is \
             carried on is charged to nobody",
        )
        .kexec("rust", "rust-next")
    }
}
