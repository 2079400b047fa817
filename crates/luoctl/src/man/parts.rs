// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stands on a man page beside the command line: files, signals, examples, other pages.

use roff::{Roff, bold, italic, roman};

/// A word, and what it means.
pub(super) type Entry = (&'static str, &'static str);

/// The end of a page.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    /// Paths.
    pub(super) files: &'static [Entry],
    /// Signals that are obeyed.
    pub(super) signals: &'static [Entry],
    /// What somebody wants, and the commands or lines that do it.
    pub(super) examples: &'static [Entry],
    /// Other pages, as `luod(8)`.
    pub(super) see: &'static [&'static str],
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

/// Those of guests.
const GUEST_FILES: &[Entry] = &[
    (
        "/etc/luo-qemu/NAME.toml",
        "A guest: memory, command, needs, state_size and wait. The example in \
         /usr/share/doc/luo-qemu says what each is.",
    ),
    (
        "/run/luo-qemu/NAME",
        "The guest in this boot: QEMU's control socket, and the locks by which it has one luo-qemu \
         and one QEMU.",
    ),
];

/// What is known of a page beyond its command line.
pub(super) fn end(page: &str) -> End {
    match page {
        "luoctl" => End {
            files: AGENT_FILES,
            examples: &[
                ("Would an update work? Nothing is changed.", "luoctl check"),
                ("Update to the kernel of luod.toml.", "luoctl update"),
                ("Why did it not happen?", "luoctl history last"),
                ("Who is waited for?", "luoctl status"),
                ("End an update; all go on as before.", "luoctl cancel"),
            ],
            see: &["luoctl-check(1)", "luoctl-update(1)", "luoctl-history(1)"],
            ..End::default()
        },
        "luo-qemu" | "luo-qemu-run" => End {
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
        },
        "luo-qemu-start" => End {
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
            ..End::default()
        },
        "luoctl-check" => End {
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
            ..End::default()
        },
        "luoctl-update" => End {
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
            ..End::default()
        },
        "luoctl-cancel" => End {
            examples: &[("End the update that is under way.", "luoctl cancel")],
            see: &["luoctl-status(1)", "luoctl-update(1)"],
            ..End::default()
        },
        "luoctl-history" => End {
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
            ..End::default()
        },
        "luoctl-release" => End {
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
            ..End::default()
        },
        "luoctl-finish" => End {
            examples: &[
                ("Who has not come back?", "luoctl status"),
                (
                    "Wait no longer, and lose what nobody has claimed.",
                    "luoctl finish --release",
                ),
            ],
            see: &["luoctl-sessions(1)", "luoctl-release(1)"],
            ..End::default()
        },
        "luoctl-status" => End {
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
            ..End::default()
        },
        "luoctl-sessions" => End {
            examples: &[
                ("All sessions.", "luoctl sessions"),
                (
                    "For a script: names of those that the agent holds.",
                    "luoctl sessions --json | jq -r '.sessions[]|select(.custody==\"agent\").name'",
                ),
            ],
            see: &["luoctl-inspect(1)", "luoctl-release(1)"],
            ..End::default()
        },
        "luoctl-inspect" => End {
            examples: &[
                ("All about one workload.", "luoctl inspect vm-7"),
                ("All about all.", "luoctl inspect"),
            ],
            see: &["luoctl-status(1)", "luoctl-sessions(1)"],
            ..End::default()
        },
        "luoctl-graph" => End {
            examples: &[
                ("As lines, by level.", "luoctl graph"),
                (
                    "As a picture.",
                    "luoctl graph --format svg --output graph.svg",
                ),
            ],
            see: &["luoctl-plan(1)"],
            ..End::default()
        },
        "luoctl-plan" => End {
            examples: &[
                ("Who would be asked, in which order?", "luoctl plan"),
                ("The same, and the check.", "luoctl update --dry-run"),
            ],
            see: &["luoctl-check(1)", "luoctl-graph(1)"],
            ..End::default()
        },
        "luoctl-prepare" => End {
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
            ..End::default()
        },
        "luoctl-freeze" => End {
            signals: STEP,
            examples: &[
                (
                    "All stand still, and then the jump.",
                    "luoctl freeze && luoctl kexec",
                ),
                ("All go on as before.", "luoctl cancel"),
            ],
            see: &["luoctl-prepare(1)", "luoctl-kexec(1)", "luoctl-cancel(1)"],
            ..End::default()
        },
        "luoctl-kexec" => End {
            signals: STEP,
            examples: &[
                ("Jump, after prepare and freeze.", "luoctl kexec"),
                (
                    "In the new kernel: wait until all are back.",
                    "luoctl watch --until normal",
                ),
            ],
            see: &["luoctl-freeze(1)", "luoctl-update(1)"],
            ..End::default()
        },
        "luoctl-watch" => End {
            examples: &[
                ("What happens.", "luoctl watch"),
                (
                    "Wait for the end of an update.",
                    "luoctl watch --until normal",
                ),
            ],
            see: &["luoctl-status(1)", "luoctl-history(1)"],
            ..End::default()
        },
        "luoctl-hold" => End {
            signals: PASSED_ON,
            examples: &[(
                "A script preserves something, and leaves it with luod.",
                "luoctl hold dump -- criu-dump-into-session",
            )],
            see: &["luoctl-take(1)", "luoctl-release(1)"],
            ..End::default()
        },
        "luoctl-take" => End {
            signals: PASSED_ON,
            examples: &[(
                "After the update a script takes it back, and the session is over.",
                "luoctl take dump -- criu-restore-from-session",
            )],
            see: &["luoctl-hold(1)", "luoctl-sessions(1)"],
            ..End::default()
        },
        "luoctl-completions" => End {
            examples: &[(
                "For bash, where no package has brought them.",
                "luoctl completions bash > /usr/share/bash-completion/completions/luoctl",
            )],
            ..End::default()
        },
        "luoctl-schema" => End {
            examples: &[
                ("Which documents are there?", "luoctl schema"),
                (
                    "What does `luoctl status --json` write?",
                    "luoctl schema status",
                ),
            ],
            ..End::default()
        },
        "luo-sim" => End {
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
            ..End::default()
        },
        "luo-sim-run" => End {
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
            ..End::default()
        },
        "luo-sim-kexec" => End {
            examples: &[(
                "The end of the first boot.",
                "luo-sim run --boot './my-vmm start && luo-sim kexec' --boot './my-vmm restore'",
            )],
            see: &["luo-sim-run(1)"],
            ..End::default()
        },
        "luo-sim-system" => End {
            examples: &[(
                "A folder for `root` in [checks] of luod.toml.",
                "luo-sim system machine",
            )],
            see: &["luod.toml(5)"],
            ..End::default()
        },
        "luod" => End {
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
        },
        "luod-supervise" => End {
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
            ..End::default()
        },
        _ => End::default(),
    }
}

/// Adds a section of entries, each with its words.
pub(super) fn entries(page: &mut Roff, title: &str, entries: &[Entry]) {
    if entries.is_empty() {
        return;
    }
    page.control("SH", [title]);
    for (word, words) in entries {
        page.control("TP", []);
        page.text([bold(*word)]);
        page.text([roman(*words)]);
    }
}

/// Adds examples: what is wanted, and how.
pub(super) fn examples(page: &mut Roff, all: &[Entry]) {
    if all.is_empty() {
        return;
    }
    page.control("SH", ["EXAMPLES"]);
    for (wanted, lines) in all {
        page.control("PP", []);
        page.text([roman(*wanted)]);
        page.control("PP", []);
        page.control("RS", ["4"]);
        page.control("nf", []);
        for line in lines.lines() {
            page.text([roman(line)]);
        }
        page.control("fi", []);
        page.control("RE", []);
    }
}

/// Adds the names of other pages.
pub(super) fn see_also(page: &mut Roff, pages: &[String]) {
    page.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (at, name) in pages.iter().enumerate() {
        if at > 0 {
            line.push(roman(", "));
        }
        line.push(italic(name.as_str()));
    }
    page.text(line);
}
