// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pages of the agent's two configuration files, and how such a page is made.

use roff::{Roff, roman};

use super::parts::{Entry, entries, examples, see_also};

/// A file's page.
pub(super) struct Page {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) path: &'static str,
    /// What is to be known before the keys.
    pub(super) words: &'static [&'static str],
    /// Tables of the file, each with its keys; the first has none.
    pub(super) tables: &'static [(&'static str, &'static [Entry])],
    /// Paths, that of the file first.
    pub(super) files: &'static [Entry],
    pub(super) examples: &'static [Entry],
    pub(super) see: &'static [&'static str],
}

pub(super) const PAGES: [Page; 2] = [
    Page {
        name: "luod.toml",
        what: "configuration of the live update agent",
        path: "/etc/luod/luod.toml",
        words: &[
            "TOML, all of it optional. A word that is not listed here is an error, told with its \
             line. Times are seconds from 0.001 to 604800, with fractions. The agent reads the \
             file when it starts and when it gets HUP (`systemctl reload luod`); but for \
             state_directory all of it counts as soon as no update is under way. \
             `luod --check-config` says whether the file can be used (luod(8)).",
        ],
        tables: &[
            (
                "KEYS",
                &[
                    (
                        "prepare_deadline = 60",
                        "How long a workload has to get ready. One that does not answer in time ends the \
                         update, and everything runs on.",
                    ),
                    (
                        "freeze_deadline = 10",
                        "How long a workload has to stand still.",
                    ),
                    (
                        "kernel_deadline = 120",
                        "How long the kernel has for a step, and the checks: to load the next one, to \
                         prepare, to freeze, to write to the disks. What takes longer ends the \
                         update, and everything runs on.",
                    ),
                    (
                        "restore_deadline = 120",
                        "After the jump: how long sessions wait to be claimed.",
                    ),
                    (
                        "unclaimed = \"finish\"",
                        "What becomes of sessions that nobody has claimed by then: \"finish\" releases what is \
                         in them, \"keep\" waits until somebody claims them or `luoctl finish --release`.",
                    ),
                    (
                        "jump = \"direct\"",
                        "\"direct\": the agent calls reboot(2) as soon as all stand still; what is no workload \
                         is not told. \"systemctl\": `systemctl kexec`, which stops all services before; takes \
                         systemd 255 or newer.",
                    ),
                    (
                        "guest_clock = \"hand_on\"",
                        "Where KVM cannot scale the TSC, clocks of guests leap if the next kernel measures it \
                         otherwise. \"hand_on\": its command line gets tsc_early_khz= with the number that \
                         luo-qemu has noted, if it says nothing of it. \"leave\": it is left as it is.",
                    ),
                    (
                        "state_directory = \"/var/lib/luod\"",
                        "Where the history is: an absolute path.",
                    ),
                ],
            ),
            (
                "[target]",
                &[
                    (
                        "image = PATH",
                        "The kernel that an update jumps into if it names none. Without image and entry \
                         it is the boot loader's default entry: that of systemd-boot or, in Fedora and its \
                         relatives, of GRUB; else /boot/vmlinuz with /boot/initrd.img or /boot/initrd; else /vmlinuz with \
                         /initrd.img, as in Debian.",
                    ),
                    (
                        "entry = NAME",
                        "An entry of the boot loader in place of an image: the name of its file in \
                         loader/entries without .conf, or in EFI/Linux without .efi. Its initrds and its \
                         command line are taken unless others are named.",
                    ),
                    (
                        "initrd = PATH, initrd = [PATHS]",
                        "Its initrds, in order. They are not taken for another kernel than that image.",
                    ),
                    (
                        "command_line = TEXT",
                        "Its command line. Without it that of the boot loader's entry is taken, or that in a \
                         unified kernel image, or else the running kernel's, but for what the boot loader \
                         has added. An entry that `luoctl` names has its own.",
                    ),
                ],
            ),
            (
                "[checks]",
                &[
                    (
                        "ignore = [NAMES]",
                        "Checks whose failure is a warning only: names as `luoctl check` prints them.",
                    ),
                    (
                        "root = \"/\"",
                        "Where /proc, /sys and /boot are looked for, for simulations.",
                    ),
                ],
            ),
            (
                "[fleet]",
                &[
                    (
                        "server = URL, server = [URLS]",
                        "The servers of FleetLock that `luoctl update --fleet` asks before an update; \
                         any of them will do. luod itself asks nobody.",
                    ),
                    (
                        "id = TEXT",
                        "The machine's name there; its host name, if nothing is said.",
                    ),
                    ("group = \"default\"", "Its group."),
                    (
                        "ca, certificate, key, token = PATH",
                        "The certificates that the servers' are signed by, which https:// takes; the \
                         machine's own; or its token.",
                    ),
                    ("timeout = 20", "How long a server may take."),
                    (
                        "health = [PROGRAM, ARGUMENTS]",
                        "The command that says by exit status 0 that the machine is healthy after an \
                         update. Without one it is.",
                    ),
                    (
                        "health_timeout = 60",
                        "How long it may take; what is late says no.",
                    ),
                    ("health_interval = 10", "The time between two of its runs."),
                    (
                        "soak = SECONDS",
                        "For how long it has to say so without a break, before the slot is given back.",
                    ),
                ],
            ),
            (
                "[workload.NAME]",
                &[(
                    "prepare_deadline, freeze_deadline",
                    "Other deadlines for a workload, or with a pattern like [workload.\"vm-*\"] for all \
                         whose names fit; the longest pattern counts.",
                )],
            ),
        ],
        files: &[
            (
                "/etc/luod/luod.toml",
                "Read if `--config` names no other. It may be missing.",
            ),
            (
                "/etc/luod/policy.toml",
                "Who may own what, see luod-policy(5).",
            ),
            (
                "/var/lib/luod/history.jsonl",
                "The history, if state_directory says nothing else; history.jsonl.old is what was put \
                 aside when it had become too long.",
            ),
        ],
        examples: &[(
            "Guests get five minutes to get ready, and two seconds to stand still.",
            "[target]\nimage = \"/boot/vmlinuz\"\ninitrd = \"/boot/initrd.img\"\n\n[workload.\"vm-*\"]\n\
             prepare_deadline = 300\nfreeze_deadline = 2",
        )],
        see: &["luod(8)", "luod-policy(5)", "luoctl-check(1)"],
    },
    Page {
        name: "luod-policy",
        what: "who may own which workloads and sessions",
        path: "/etc/luod/policy.toml",
        words: &[
            "TOML, all of it optional. Who may connect at all are root and the members of the group \
             luo.",
            "Without any rule a service owns the name of its unit and all that begins with it and a \
             dot (cache.service: `cache`, `cache.index`), a user outside of services `uid-1000` and \
             `uid-1000.*`, and root outside of units every name; a scope (machine-qemu*.scope, \
             docker-*.scope) nothing. A rule allows some more. Who is \
             refused is told the rule that would allow it.",
        ],
        tables: &[
            (
                "[limits]",
                &[
                    ("sessions = 16", "Sessions of a workload."),
                    (
                        "files = 1024",
                        "Files in the sessions of a workload, where the kernel tells of them.",
                    ),
                    (
                        "bytes = 0",
                        "Bytes of memory that those keep, where the kernel tells of them; 0 is no limit.",
                    ),
                    (
                        "connections = 256",
                        "Connections of one user; root has no limit.",
                    ),
                    (
                        "user_workloads = 1024",
                        "Workloads of one user, those too that have left; root has no limit. One \
                         place in eight of the 10,000 is for root alone.",
                    ),
                    (
                        "user_sessions = 4096",
                        "Sessions in all of them; root has no limit. One place in eight of the \
                         descriptor store is for root alone.",
                    ),
                ],
            ),
            (
                "[[allow]]",
                &[
                    (
                        "unit = PATTERN, uid = NUMBER, gid = NUMBER",
                        "Whom the rule is for: one of the three or more, and all that are named must fit. \
                         Patterns have * and ?.",
                    ),
                    (
                        "names = [PATTERNS]",
                        "Names of workloads and sessions that they may own besides their own.",
                    ),
                    (
                        "sessions, files, bytes = NUMBER",
                        "Other limits than everybody's.",
                    ),
                ],
            ),
        ],
        files: &[
            (
                "/etc/luod/policy.toml",
                "Read if `--policy` names no other. It may be missing.",
            ),
            (
                "/etc/luod/luod.toml",
                "The configuration, see luod.toml(5).",
            ),
        ],
        examples: &[(
            "Each vmm@N.service may own guests, with 64 GiB each.",
            "[[allow]]\nunit = \"vmm@*.service\"\nnames = [\"vm-*\"]\nsessions = 64\nbytes = 68719476736",
        )],
        see: &["luod(8)", "luod.toml(5)", "luoctl-sessions(1)"],
    },
];

/// A page's file name and text; its program is named at the foot.
pub(super) fn render(page: &Page, program: &str) -> (String, String) {
    let mut text = Roff::new();
    let version = format!("{program} {}", env!("CARGO_PKG_VERSION"));
    text.control("TH", [page.name, "5", "", &version, "File Formats"]);
    text.control("SH", ["NAME"]);
    text.text([roman(format!("{} - {}", page.name, page.what))]);
    text.control("SH", ["SYNOPSIS"]);
    text.text([roman(page.path)]);
    text.control("SH", ["DESCRIPTION"]);
    for (at, words) in page.words.iter().enumerate() {
        if at > 0 {
            text.control("PP", []);
        }
        text.text([roman(*words)]);
    }
    for (title, keys) in page.tables {
        entries(&mut text, title, keys);
    }
    entries(&mut text, "FILES", page.files);
    examples(&mut text, page.examples);
    let see: Vec<_> = page.see.iter().map(|&name| name.to_owned()).collect();
    see_also(&mut text, &see);
    (format!("{}.5", page.name), text.to_roff())
}
