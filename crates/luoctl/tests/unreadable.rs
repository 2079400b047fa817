// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is said of an update whose record luod cannot read: that, and the way out.

use luoctl::exit::Exit;
use serde_json::{Value, json};

use crate::called::{ends_with, luoctl, plays, text};

/// What a luod says that cannot read the previous kernel's record.
fn answer(call: &str) -> Value {
    let update = json!({ "update": "u-1", "outcome": "under_way", "reason": "of luod",
        "began_us": 1, "took_us": 2, "blackout_us": null, "from_kernel": "a",
        "to_kernel": "b", "timeline": [] });
    match call {
        call if call.contains("GetStatus") => json!({ "status": {
            "phase": "updated", "update": null, "orchestrator": "contract",
            "kernel_state": "updated", "kernel_release": "b", "version": "1", "workloads": [],
            "unreadable": "it is of version 9" } }),
        call if call.contains("GetHistory") => json!({
            "updates": [update], "unreadable": "it is of version 9" }),
        call if call.contains("ListSessions") => json!({ "sessions": [] }),
        call if call.contains("Check") => json!({ "report": { "ok": false, "checks": [] } }),
        call if call.contains("Plan") => json!({ "plan": { "steps": [], "obstacles": ["x"] } }),
        _ => json!({}),
    }
}

const TOLD: [&str; 3] = [
    "record cannot be read",
    "it is of version 9",
    "`luoctl finish --release`",
];

#[test]
fn the_history_does_not_call_it_under_way() {
    let folder = tempfile::tempdir().unwrap();
    plays(folder.path(), &["status"], answer);
    for arguments in [&["history"][..], &["history", "last"]] {
        let output = luoctl(folder.path(), arguments);
        ends_with(&output, Exit::Damaged, &TOLD);
        assert!(text(&output.stdout).contains("u-1"), "{arguments:?}");
    }
    let list = text(&luoctl(folder.path(), &["history"]).stdout);
    assert!(
        list.contains("not known") && !list.contains("under way"),
        "{list}"
    );
    let output = luoctl(folder.path(), &["--json", "history"]);
    ends_with(&output, Exit::Damaged, &[]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["unreadable"], "it is of version 9");
}

#[test]
fn a_dry_run_ends_as_the_command_would() {
    let folder = tempfile::tempdir().unwrap();
    plays(folder.path(), &["status", "admin"], answer);
    for command in ["finish", "freeze", "kexec", "cancel", "prepare", "update"] {
        let output = luoctl(folder.path(), &["--dry-run", command]);
        ends_with(&output, Exit::Refused, &TOLD);
        assert!(!text(&output.stdout).contains("is possible"), "{command}");
    }
    let output = luoctl(folder.path(), &["--dry-run", "finish", "--release"]);
    ends_with(&output, Exit::Done, &[]);
    let said = text(&output.stdout);
    assert!(said.contains("would be given up"), "{said}");
}
