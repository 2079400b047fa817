// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stands on the pages about fleets beside the command lines: those of `luoctl fleet` and of
//! `luo-fleet`, and of luo-fleet's two files.

use super::files::Page;
use super::parts::{End, Entry};

const SERVER: &[Entry] = &[
    (
        "/etc/luo-fleet/luo-fleet.toml",
        "The configuration, see luo-fleet.toml(5).",
    ),
    (
        "etcd, below /luo-fleet/",
        "All state: the policy, a record for each host, the log.",
    ),
];

/// The end of a page, if it is about fleets.
pub(super) fn end(page: &str) -> Option<End> {
    let examples: &[Entry] = match page {
        "luoctl-fleet" | "luoctl-fleet-status" => &[
            ("Who waits for what?", "luoctl fleet status"),
            (
                "Look at it from an administrator's machine, as it goes on.",
                "luoctl fleet status --watch --server https://fleet.example.org:7443 \\\n    \
                 --ca ca.pem --token admin.token",
            ),
        ],
        "luoctl-fleet-hold" | "luoctl-fleet-resume" => &[(
            "A host is kept out, and let in again.",
            "luoctl fleet hold host-7 --reason 'its disk is replaced'\n\
             luoctl fleet resume host-7 --reason 'the new disk is in'",
        )],
        "luoctl-fleet-release" => &[(
            "A host will not come back for days, and was looked at.",
            "luoctl fleet release host-7 --reason 'board broken, no fault of the kernel'",
        )],
        "luoctl-fleet-forget" => &[(
            "A host was taken out of its rack.",
            "luoctl fleet forget host-7 --reason 'sold'",
        )],
        "luoctl-fleet-slot" => &[("Why has this machine a slot still?", "luoctl fleet slot")],
        "luoctl-fleet-keep" => &[(
            "Have systemd run it.",
            "systemctl enable --now luod-fleet.service",
        )],
        "luo-fleet" | "luo-fleet-dev" => &[
            (
                "See a rollout over 20 hosts, with an etcd of its own.",
                "luo-fleet dev",
            ),
            (
                "See how it stops when one does not come back.",
                "luo-fleet dev --lose",
            ),
        ],
        "luo-fleet-serve" => &[(
            "Say whether the configuration can be used.",
            "luo-fleet serve --check",
        )],
        "luo-fleet-policy"
        | "luo-fleet-policy-check"
        | "luo-fleet-policy-set"
        | "luo-fleet-policy-show" => &[(
            "Change the policy that is in force.",
            "luo-fleet policy show > policy.toml\n$EDITOR policy.toml\n\
             luo-fleet policy set policy.toml --reason 'two more slots'",
        )],
        "luo-fleet-stop" | "luo-fleet-go" => &[(
            "Nobody begins any more, until it is known why.",
            "luo-fleet stop --reason 'packet loss in rack b'\n\
             luo-fleet go --reason 'it was a cable'",
        )],
        "luo-fleet-status" | "luo-fleet-audit" => &[(
            "Why is it halted, and who did what?",
            "luo-fleet status | jq .conditions\nluo-fleet audit | tail",
        )],
        "luo-fleet-token" => &[(
            "A token for a host, and one for an administrator.",
            "umask 077\nluo-fleet token --host host-7 > host-7.token\n\
             luo-fleet token --admin mona > mona.token",
        )],
        _ => return None,
    };
    Some(End {
        files: if page == "luo-fleet" { SERVER } else { &[] },
        signals: &[],
        examples,
        see: match page {
            "luo-fleet" => &[
                "luo-fleet.toml(5)",
                "luo-fleet-policy(5)",
                "luoctl-fleet(1)",
            ],
            "luo-fleet-serve" => &["luo-fleet.toml(5)"],
            page if page.starts_with("luo-fleet-policy") => &["luo-fleet-policy(5)"],
            "luoctl-fleet" => &["luo-fleet(8)", "luod.toml(5)", "luoctl-update(1)"],
            _ => &[],
        },
    })
}

/// luo-fleet's configuration.
pub(super) const CONFIG: &str = "/etc/luo-fleet/luo-fleet.toml";

/// The pages of luo-fleet's files.
pub(super) const FILES: [Page; 2] = [
    Page {
        name: "luo-fleet.toml",
        what: "configuration of the server that lets a fleet be updated",
        path: CONFIG,
        words: &[
            "TOML. A word that is not listed here is an error. `luo-fleet serve --check` says \
                  whether the file can be used.",
        ],
        tables: &[
            (
                "KEYS",
                &[
                    ("listen = [\"[::]:7443\"]", "Where it listens."),
                    (
                        "prefix = \"/luo-fleet/\"",
                        "What its keys in etcd begin with. Two fleets in one etcd have two.",
                    ),
                    ("max_hosts = 100000", "How many hosts are let in."),
                    (
                        "max_connections = 20000",
                        "How many connections there may be. When there are as many, who has been \
                         quiet for longest is closed: one that waits for a request, or for the \
                         rest of one. If all are busy, whoever comes is answered 503.",
                    ),
                    (
                        "presence = 3600",
                        "For how many seconds a host counts as present after it was heard of: more \
                         than the longest blackout, and than the time between two of its questions.",
                    ),
                ],
            ),
            (
                "[etcd]",
                &[
                    (
                        "endpoints = [\"http://127.0.0.1:2379\"]",
                        "The members of etcd, 3.4 or newer.",
                    ),
                    (
                        "ca, certificate, key = PATH",
                        "The certificates that the members' are signed by, which https:// takes, and the \
                         server's own.",
                    ),
                ],
            ),
            (
                "[tls]",
                &[
                    ("certificate, key = PATH", "The server's own."),
                    (
                        "client_ca = PATH",
                        "The certificates that hosts' and administrators' are signed by. A host's \
                         id is one of the DNS names in its certificate.",
                    ),
                ],
            ),
            (
                "[access]",
                &[
                    (
                        "token_keys = [PATHS]",
                        "Files of 32 bytes or more that tokens are made with, the first of them, and \
                         accepted by, any of them. Each server has the same. Whoever can read one is \
                         an administrator. In a browser, the page takes a token as its password.",
                    ),
                    (
                        "revoked = [TEXTS]",
                        "Who is not let in any more, with a token or a certificate: \"host:NAME\", \
                         \"admin:NAME\", \"viewer:NAME\". It counts when a server starts.",
                    ),
                    (
                        "admins, viewers = [NAMES]",
                        "DNS names in certificates (`client_ca`) whose holders may act by hand, or look.",
                    ),
                    (
                        "open = true",
                        "Everybody may everything, without TLS: for a trial on one machine.",
                    ),
                ],
            ),
        ],
        files: &[(CONFIG, "Read if `--config` names no other.")],
        examples: &[(
            "Tokens for hosts and for people.",
            "[etcd]\nendpoints = [\"https://etcd-1.example.org:2379\"]\nca = \"/etc/luo-fleet/etcd-ca.pem\"\n\n\
             [tls]\ncertificate = \"/etc/luo-fleet/server.pem\"\nkey = \"/etc/luo-fleet/server.key\"\n\n\
             [access]\ntoken_keys = [\"/etc/luo-fleet/token.key\"]",
        )],
        see: &["luo-fleet(8)", "luo-fleet-policy(5)"],
    },
    Page {
        name: "luo-fleet-policy",
        what: "who of a fleet may be updated when",
        path: "luo-fleet policy set FILE",
        words: &[
            "TOML, in etcd, so it is in force for all servers at once. What cannot be used is refused \
             with its line and what to write. Times are written like \"90s\", \"15m\" or \"1h 30m\".",
            "A host that has its slot for longer than `overdue`, or tells that it failed, counts as \
             failed as long as it has the slot. With more of them than `budget` nobody begins, until \
             they are well, released by hand, or the budget is another one.",
        ],
        tables: &[
            (
                "KEYS",
                &[
                    ("version = 1", "The version of the document."),
                    (
                        "rollout = TEXT",
                        "Its name. What hosts have completed under another name does not count, so \
                         another release takes another name: under that of a rollout that has begun it \
                         is refused.",
                    ),
                    (
                        "release = TEXT",
                        "The kernel's release that hosts are to run. One that runs it, by whatever \
                         way, is done and does not begin; nor does one that says that it would start \
                         another.",
                    ),
                    (
                        "stop = TEXT",
                        "The stop switch, with the reason: nobody begins. `luo-fleet stop` is quicker.",
                    ),
                    ("slots = NUMBER", "How many hosts may be at it at once."),
                    (
                        "groups_at_once = NUMBER",
                        "Of how many groups; 1 keeps racks apart.",
                    ),
                    (
                        "interval = \"0s\"",
                        "The least time since a slot was last taken or given back, of whomever.",
                    ),
                    (
                        "overdue = \"30m\"",
                        "After how long a slot counts as failed: well above the longest update.",
                    ),
                    (
                        "retry = \"15m\"",
                        "How long a host waits after an update that was cancelled.",
                    ),
                    (
                        "budget = 0, budget = \"5%\"",
                        "How many hosts may fail, or which share of those known, rounded down.",
                    ),
                    (
                        "zone = \"UTC\"",
                        "The time zone of windows and freezes: \"Europe/Berlin\".",
                    ),
                ],
            ),
            (
                "[[group]]",
                &[
                    ("name = TEXT", "Its name, as hosts say it."),
                    (
                        "stage = 1",
                        "It waits for all groups of smaller stages; those of one stage go side by side.",
                    ),
                    (
                        "slots = NUMBER",
                        "Its own slots; those of all, if nothing is said.",
                    ),
                    (
                        "complete = \"100%\"",
                        "How many of its hosts have to be done for the next stage, or which share of \
                         those that are neither held nor failed. A number waits for hosts that have \
                         not come yet, too. At least one has to be done.",
                    ),
                    (
                        "soak = \"0s\"",
                        "How long the next stage waits after its last host was done.",
                    ),
                    ("budget = NUMBER", "How many of its hosts may fail."),
                ],
            ),
            (
                "[[window]]",
                &[
                    (
                        "from = \"22:00\", until = \"04:00\"",
                        "When hosts may begin; until the next day if that is not later. Without any \
                         window they may at all times. A time that a change of the clocks leaves out \
                         is taken as if it were not changed yet; one that is there twice is the first.",
                    ),
                    (
                        "days = [\"mon\"], dates = [\"2026-12-24\"]",
                        "The days that it opens on; each day, if nothing is said.",
                    ),
                    (
                        "groups = [NAMES]",
                        "For whom it is; for all, if nothing is said.",
                    ),
                ],
            ),
            (
                "[[freeze]]",
                &[(
                    "from, until = \"2026-12-24\", reason = TEXT",
                    "The first and the last day on which nobody begins.",
                )],
            ),
        ],
        files: &[(
            "/usr/share/luo-fleet/policy.toml",
            "A document to begin with: each key, with what it means.",
        )],
        examples: &[(
            "Two canaries, a day of watching, then one rack at a time, at night.",
            "version = 1\nrollout = \"2026-12\"\nrelease = \"7.3.4\"\nslots = 4\ngroups_at_once = 1\n\
             budget = \"1%\"\nzone = \"Europe/Berlin\"\n\n[[group]]\nname = \"canary\"\nslots = 1\n\
             complete = 2\nsoak = \"1day\"\n\n[[group]]\nname = \"rack-a\"\nstage = 2\n\n[[group]]\n\
             name = \"rack-b\"\nstage = 2\n\n[[window]]\ndays = [\"mon\", \"tue\", \"wed\", \"thu\"]\n\
             from = \"22:00\"\nuntil = \"05:00\"",
        )],
        see: &["luo-fleet(8)", "luo-fleet.toml(5)"],
    },
];
