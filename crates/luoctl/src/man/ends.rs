// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of each page beyond its command line.

use super::others;
use super::parts::{End, Entry, NONE};

/// What is known of a page beyond its command line.
pub(super) fn end(page: &str) -> End {
    match page {
        "luoctl" => LUOCTL,
        "luo-qemu" | "luo-qemu-run" => others::LUO_QEMU,
        "luo-qemu-start" => others::LUO_QEMU_START,
        "luo-qemu-load-kvm" => others::LUO_QEMU_LOAD_KVM,
        "luo-qemu-warm" => others::LUO_QEMU_WARM,
        "luoctl-check" => LUOCTL_CHECK,
        "luoctl-update" => LUOCTL_UPDATE,
        "luoctl-cancel" => LUOCTL_CANCEL,
        "luoctl-history" => LUOCTL_HISTORY,
        "luoctl-release" => LUOCTL_RELEASE,
        "luoctl-finish" => LUOCTL_FINISH,
        "luoctl-status" => LUOCTL_STATUS,
        "luoctl-sessions" => LUOCTL_SESSIONS,
        "luoctl-inspect" => LUOCTL_INSPECT,
        "luoctl-graph" => LUOCTL_GRAPH,
        "luoctl-plan" => LUOCTL_PLAN,
        "luoctl-prepare" => LUOCTL_PREPARE,
        "luoctl-freeze" => LUOCTL_FREEZE,
        "luoctl-kexec" => LUOCTL_KEXEC,
        "luoctl-watch" => LUOCTL_WATCH,
        "luoctl-hold" => LUOCTL_HOLD,
        "luoctl-take" => LUOCTL_TAKE,
        "luoctl-completions" => LUOCTL_COMPLETIONS,
        "luoctl-schema" => LUOCTL_SCHEMA,
        "luo-sim" => others::LUO_SIM,
        "luo-sim-run" => others::LUO_SIM_RUN,
        "luo-sim-kexec" => others::LUO_SIM_KEXEC,
        "luo-sim-system" => others::LUO_SIM_SYSTEM,
        "luod" => LUOD,
        "luod-supervise" => LUOD_SUPERVISE,
        _ => NONE,
    }
}

const AGENT_FILES: &[Entry] = &[
    (
        "/etc/luod/luod.toml",
        "The configuration, see luod.toml(5).",
    ),
    (
        "/etc/luod/policy.toml",
        "Who may own what, see luod-policy(5).",
    ),
    (
        "/run/luod/client, admin, status, metrics",
        "The sockets: of workloads (root and the group luo), of administrators (root), of \
         everybody, and of Prometheus.",
    ),
    (
        "/run/luod/state",
        "What luod notes for one that is started anew. It ends with the boot.",
    ),
    (
        "/var/lib/luod",
        "The history, a line of JSON for each update.",
    ),
    ("/dev/liveupdate", "The kernel's orchestrator."),
    (
        "/dev/liveupdate.lock",
        "Locked by luod, of which there is one for a kernel; the process and its folder stand in \
         it.",
    ),
    (
        "/sys/kernel/liveupdate/memfd",
        "How memfds are handed over. For an update luod chooses what the target reads.",
    ),
];

/// Signals of a command that carries out a step of an update.
const STEP: &[Entry] = &[
    (
        "INT (^C)",
        "luod cancels the update, and says so. A second one ends luoctl at once.",
    ),
    (
        "all others",
        "luoctl ends, and the step goes on. `luoctl status` shows it, `luoctl cancel` ends it.",
    ),
];

/// Signals of a command that runs another.
const PASSED_ON: &[Entry] = &[
    (
        "INT (^C), QUIT, TERM, HUP",
        "They are for the command: luoctl passes them on, unless the keys of a terminal have sent \
         them to both, and ends when it does.",
    ),
    (
        "all others",
        "luoctl ends, and the command runs on. What was taken stays with luod; what was to be left \
         goes with the command.",
    ),
];

const LUOCTL: End = End {
    files: AGENT_FILES,
    examples: &[
        ("Would an update work? Nothing is changed.", "luoctl check"),
        ("Update to the kernel of luod.toml.", "luoctl update"),
        ("Why did it not happen?", "luoctl history last"),
        ("Who is waited for?", "luoctl status"),
        ("End an update; all go on as before.", "luoctl cancel"),
    ],
    see: &["luoctl-check(1)", "luoctl-update(1)", "luoctl-history(1)"],
    ..NONE
};

const LUOCTL_CHECK: End = End {
    examples: &[
        ("Check the kernel of luod.toml.", "luoctl check"),
        (
            "Check another one.",
            "luoctl check --kernel /boot/vmlinuz-7.3.5 --initrd /boot/initrd.img-7.3.5",
        ),
        (
            "Check where luod does not run.",
            "luoctl check --offline --kernel /boot/vmlinuz-7.3.5",
        ),
        (
            "For a script: names of what failed.",
            "luoctl check --json | jq -r '.report.checks[]|select(.status==\"failed\").name'",
        ),
    ],
    see: &["luoctl-plan(1)", "luoctl-update(1)", "luod.toml(5)"],
    ..NONE
};

const LUOCTL_UPDATE: End = End {
    signals: &[
        (
            "INT (^C)",
            "luod cancels the update, and says so. A second one ends luoctl at once.",
        ),
        (
            "all others",
            "luoctl ends, and the update goes on, up to the jump. `luoctl watch` shows it, \
             `luoctl cancel` ends it.",
        ),
    ],
    examples: &[
        ("See what would be done.", "luoctl update --dry-run"),
        ("Do it.", "luoctl update"),
        (
            "Do it, and have a picture of it afterwards.",
            "luoctl update --report /var/lib/luod/update.svg",
        ),
        ("Afterwards: what came of it.", "luoctl history last"),
        (
            "Do it when it is this machine's turn.",
            "luoctl update --fleet",
        ),
    ],
    see: &[
        "luoctl-check(1)",
        "luoctl-cancel(1)",
        "luoctl-history(1)",
        "luoctl-fleet(1)",
    ],
    ..NONE
};

const LUOCTL_CANCEL: End = End {
    examples: &[("End the update that is under way.", "luoctl cancel")],
    see: &["luoctl-status(1)", "luoctl-update(1)"],
    ..NONE
};

const LUOCTL_HISTORY: End = End {
    files: &[(
        "/var/lib/luod",
        "The history, a line of JSON for each update.",
    )],
    examples: &[
        ("The last ten updates.", "luoctl history"),
        ("All about the last one.", "luoctl history last"),
        (
            "The same as a picture.",
            "luoctl history last --format svg --output update.svg",
        ),
    ],
    see: &["luoctl-watch(1)"],
    ..NONE
};

const LUOCTL_RELEASE: End = End {
    examples: &[
        (
            "Which sessions has nobody but the agent?",
            "luoctl sessions",
        ),
        (
            "Release one, with all that is in it.",
            "luoctl release vm-7",
        ),
    ],
    see: &["luoctl-sessions(1)", "luoctl-finish(1)"],
    ..NONE
};

const LUOCTL_FINISH: End = End {
    examples: &[
        ("Who has not come back?", "luoctl status"),
        (
            "Wait no longer, and lose what nobody has claimed.",
            "luoctl finish --release",
        ),
    ],
    see: &["luoctl-sessions(1)", "luoctl-release(1)"],
    ..NONE
};

const LUOCTL_STATUS: End = End {
    examples: &[
        (
            "Where is the agent, and who is waited for?",
            "luoctl status",
        ),
        (
            "For a script: the phase.",
            "luoctl status --json | jq -r .phase",
        ),
    ],
    see: &["luoctl-watch(1)", "luoctl-sessions(1)"],
    ..NONE
};

const LUOCTL_SESSIONS: End = End {
    examples: &[
        ("All sessions.", "luoctl sessions"),
        (
            "For a script: names of those that the agent holds.",
            "luoctl sessions --json | jq -r '.sessions[]|select(.custody==\"agent\").name'",
        ),
    ],
    see: &["luoctl-inspect(1)", "luoctl-release(1)"],
    ..NONE
};

const LUOCTL_INSPECT: End = End {
    examples: &[
        ("All about one workload.", "luoctl inspect vm-7"),
        ("All about all.", "luoctl inspect"),
    ],
    see: &["luoctl-status(1)", "luoctl-sessions(1)"],
    ..NONE
};

const LUOCTL_GRAPH: End = End {
    examples: &[
        ("As lines, by level.", "luoctl graph"),
        (
            "As a picture.",
            "luoctl graph --format svg --output graph.svg",
        ),
    ],
    see: &["luoctl-plan(1)"],
    ..NONE
};

const LUOCTL_PLAN: End = End {
    examples: &[
        ("Who would be asked, in which order?", "luoctl plan"),
        ("The same, and the check.", "luoctl update --dry-run"),
    ],
    see: &["luoctl-check(1)", "luoctl-graph(1)"],
    ..NONE
};

const LUOCTL_PREPARE: End = End {
    signals: STEP,
    examples: &[
        (
            "The slow part now, the jump later.",
            "luoctl prepare\nluoctl freeze\nluoctl kexec",
        ),
        (
            "Another kernel than that of luod.toml.",
            "luoctl prepare --entry 7.3.5",
        ),
    ],
    see: &["luoctl-freeze(1)", "luoctl-cancel(1)", "luoctl-update(1)"],
    ..NONE
};

const LUOCTL_FREEZE: End = End {
    signals: STEP,
    examples: &[
        (
            "All stand still, and then the jump.",
            "luoctl freeze && luoctl kexec",
        ),
        ("All go on as before.", "luoctl cancel"),
    ],
    see: &["luoctl-prepare(1)", "luoctl-kexec(1)", "luoctl-cancel(1)"],
    ..NONE
};

const LUOCTL_KEXEC: End = End {
    signals: STEP,
    examples: &[
        ("Jump, after prepare and freeze.", "luoctl kexec"),
        (
            "In the new kernel: wait until all are back.",
            "luoctl watch --until normal",
        ),
    ],
    see: &["luoctl-freeze(1)", "luoctl-update(1)"],
    ..NONE
};

const LUOCTL_WATCH: End = End {
    examples: &[
        ("What happens.", "luoctl watch"),
        (
            "Wait for the end of an update.",
            "luoctl watch --until normal",
        ),
    ],
    see: &["luoctl-status(1)", "luoctl-history(1)"],
    ..NONE
};

const LUOCTL_HOLD: End = End {
    signals: PASSED_ON,
    examples: &[(
        "A script preserves something, and leaves it with luod.",
        "luoctl hold dump -- criu-dump-into-session",
    )],
    see: &["luoctl-take(1)", "luoctl-release(1)"],
    ..NONE
};

const LUOCTL_TAKE: End = End {
    signals: PASSED_ON,
    examples: &[(
        "After the update a script takes it back, and the session is over.",
        "luoctl take dump -- criu-restore-from-session",
    )],
    see: &["luoctl-hold(1)", "luoctl-sessions(1)"],
    ..NONE
};

const LUOCTL_COMPLETIONS: End = End {
    examples: &[(
        "For bash, where no package has brought them.",
        "luoctl completions bash > /usr/share/bash-completion/completions/luoctl",
    )],
    ..NONE
};

const LUOCTL_SCHEMA: End = End {
    examples: &[
        ("Which documents are there?", "luoctl schema"),
        (
            "What does `luoctl status --json` write?",
            "luoctl schema status",
        ),
    ],
    ..NONE
};

const LUOD: End = End {
    files: AGENT_FILES,
    signals: &[
        (
            "TERM, INT",
            "The agent ends; under systemd its sessions stay in the descriptor store.",
        ),
        (
            "HUP",
            "The agent reads luod.toml and policy.toml again. The policy counts at once, the \
             configuration when no update is under way, but for state_directory. What \
             cannot be used changes nothing, and the log says why.",
        ),
    ],
    examples: &[
        (
            "Change the configuration while it runs.",
            "luod --check-config && systemctl reload luod",
        ),
        (
            "Start it, now and at each boot.",
            "systemctl enable --now luod",
        ),
        (
            "What it says of one workload.",
            "journalctl -u luod F_WORKLOAD=vm-7",
        ),
    ],
    see: &[
        "luoctl(1)",
        "luod.toml(5)",
        "luod-policy(5)",
        "luod-supervise(8)",
    ],
};

const LUOD_SUPERVISE: End = End {
    files: AGENT_FILES,
    signals: &[
        (
            "TERM, INT",
            "Passed on to the agent, which is not started again; then this program ends, \
             and with it what it has kept.",
        ),
        (
            "HUP",
            "Passed on to the agent. If that waits to be started again, it is at once.",
        ),
    ],
    examples: &[(
        "Run the agent where no systemd is.",
        "luod --config /etc/luod/luod.toml supervise",
    )],
    see: &["luod.toml(5)"],
};
