// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command without an agent.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use luoctl::exit::Exit;
use serde_json::{Value, json};

use crate::called::{LUOCTL, ends_with, luoctl, plays, text};

#[test]
fn an_agent_that_does_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let all: [&[&str]; 13] = [
        &["status"],
        &["sessions"],
        &["graph"],
        &["check"],
        &["plan"],
        &["prepare"],
        &["freeze"],
        &["kexec"],
        &["cancel"],
        &["update"],
        &["finish"],
        &["release", "x"],
        &["inspect"],
    ];
    for arguments in all {
        for dry in [false, true] {
            let dry: &[&str] = if dry { &["--dry-run"] } else { &[] };
            let output = luoctl(folder.path(), &[arguments, dry].concat());
            ends_with(&output, Exit::Unavailable, &["systemctl start luod"]);
            assert!(output.stdout.is_empty());
        }
    }
    // One that has died leaves its socket.
    drop(UnixListener::bind(folder.path().join("status")).unwrap());
    // Whether there is a history on this machine does not matter.
    let config = folder.path().join("luod.toml");
    let text = format!("state_directory = {:?}\n", folder.path().join("state"));
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let output = luoctl(folder.path(), &["history", "--config", config]);
    ends_with(
        &output,
        Exit::Unavailable,
        &["Connection refused", "systemctl start"],
    );
}

#[test]
fn programs_get_failures_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let output = luoctl(folder.path(), &["--json", "status"]);
    ends_with(&output, Exit::Unavailable, &[]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["error"]["kind"], "no-agent");
    assert_eq!(document["error"]["exit_code"], 69);
    assert!(
        document["error"]["next"]
            .as_str()
            .unwrap()
            .contains("systemctl")
    );
}

/// Root may always; where the tests have it, the command gives it up.
#[test]
fn who_may_not_is_told_what_everybody_may() {
    let folder = tempfile::tempdir().unwrap();
    let mode = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(folder.path(), mode(0o755)).unwrap();
    let sockets = ["admin", "client"].map(|name| {
        let path = folder.path().join(name);
        let socket = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, mode(0)).unwrap();
        socket
    });
    // Others may not go where this is built.
    let copy = folder.path().join("luoctl");
    fs::copy(LUOCTL, &copy).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&copy);
        command.arg("--runtime-directory").arg(folder.path());
        command.args(arguments).current_dir("/");
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        command.output().unwrap()
    };
    ends_with(
        &run(&["update"]),
        Exit::Permission,
        &["Permission denied", "run it as root", "`luoctl status`"],
    );
    // What is a workload's takes no root.
    for command in ["hold", "take"] {
        let output = run(&[command, "x", "--", "true"]);
        ends_with(
            &output,
            Exit::Permission,
            &["members of the group 'luo'", "logs in anew"],
        );
        assert!(!text(&output.stderr).contains("run it as root"));
    }
    drop(sockets);
}

#[test]
fn nonsense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let all: [&[&str]; 6] = [
        &["jump"],
        &["status", "--jsn"],
        &["graph", "--format", "dot", "--json"],
        &["watch", "--until", "lunch"],
        &["release"],
        &[],
    ];
    for arguments in all {
        ends_with(&luoctl(folder.path(), arguments), Exit::Usage, &[]);
    }
    ends_with(
        &luoctl(folder.path(), &["schema", "x"]),
        Exit::Usage,
        &["no document 'x'"],
    );
    for arguments in [["--help"], ["--version"]] {
        ends_with(&luoctl(folder.path(), &arguments), Exit::Done, &[]);
    }
    let help = luoctl(folder.path(), &["--help"]);
    for exit in Exit::ALL {
        assert!(text(&help.stdout).contains(exit.describe().1), "{exit:?}");
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(LUOCTL);
    command.args(["completions", "bash"]).stdout(writer);
    let output = command.stderr(Stdio::piped()).output().unwrap();
    ends_with(&output, Exit::Done, &[]);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    // Output that cannot be written for another reason is an error.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(LUOCTL);
    command.args(["completions", "bash"]).stdout(full);
    let output = command.stderr(Stdio::piped()).output().unwrap();
    ends_with(&output, Exit::Output, &["No space left"]);
}

#[test]
fn an_error_that_cannot_be_written_ends_it_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(LUOCTL);
    command.arg("--runtime-directory").arg(folder.path());
    let output = command.arg("status").stderr(full()).output().unwrap();
    ends_with(&output, Exit::Unavailable, &[]);
    let mut command = Command::new(LUOCTL);
    command.args(["completions", "bash"]).stdout(full());
    let output = command.stderr(full()).output().unwrap();
    ends_with(&output, Exit::Output, &[]);
}

#[test]
fn there_are_completions_for_each_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = luoctl(folder.path(), &["completions", shell]);
        ends_with(&output, Exit::Done, &[]);
        assert!(text(&output.stdout).contains("freeze"), "{shell}");
    }
}

#[test]
fn schemas_can_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for document in ["status", "line", "error"] {
        let output = luoctl(folder.path(), &["schema", document]);
        let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(schema["$schema"].is_string(), "{document}");
    }
}

/// What a command says to a shell that gives it no standard output, or a full one.
fn without_output(folder: &std::path::Path, to: &str, arguments: &[&str]) -> std::process::Output {
    let script = format!("exec \"$0\" --runtime-directory \"$1\" $2 {to}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, LUOCTL]).arg(folder);
    shell.arg(arguments.join(" ")).output().unwrap()
}

#[test]
fn output_that_goes_nowhere_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    plays(folder.path(), &["status", "admin"], answer);
    let all: [&[&str]; 20] = [
        &["status"],
        &["--json", "status"],
        &["sessions"],
        &["graph"],
        &["check"],
        &["plan"],
        &["history"],
        &["history", "last"],
        &["inspect"],
        &["watch", "--until", "normal"],
        &["schema", "status"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
        &["help", "update"],
        &["prepare"],
        &["freeze"],
        &["cancel"],
        &["finish"],
        &["release", "x"],
    ];
    for arguments in all {
        for (to, why) in [(">&-", "Bad file descriptor"), (">/dev/full", "No space")] {
            let output = without_output(folder.path(), to, arguments);
            let said = format!("{arguments:?} {to}: {}", text(&output.stderr));
            assert_eq!(output.status.code(), Some(74), "{said}");
            assert!(
                said.contains("standard output") && said.contains(why),
                "{said}"
            );
        }
        let output = without_output(folder.path(), ">/dev/null", arguments);
        ends_with(&output, Exit::Done, &[]);
    }
    // A cancel is made all the same: it is the way out. And what goes to a file needs no other place.
    assert_eq!(CANCELS.load(Ordering::Relaxed), 3);
    let file = folder.path().join("history");
    let arguments = ["history", "--output", file.to_str().unwrap()];
    ends_with(
        &without_output(folder.path(), ">&-", &arguments),
        Exit::Done,
        &[],
    );
}

/// How often that agent was asked to cancel.
static CANCELS: AtomicUsize = AtomicUsize::new(0);

fn answer(call: &str) -> Value {
    let update = json!({ "update": "u-1", "outcome": "completed", "reason": null,
        "began_us": 1, "took_us": 2, "blackout_us": null, "from_kernel": "a",
        "to_kernel": "b", "timeline": [] });
    match call {
        call if call.contains("GetStatus") => json!({ "status": {
            "phase": "normal", "update": null, "orchestrator": "contract",
            "kernel_state": "normal", "kernel_release": "b", "version": "1", "workloads": [] } }),
        call if call.contains("GetHistory") => json!({ "updates": [update] }),
        call if call.contains("ListSessions") => json!({ "sessions": [] }),
        call if call.contains("Watch") => json!({ "event": { "update": "", "time_us": 1,
            "phase": "normal", "kind": "phase", "workload": null, "took_us": null,
            "detail": null } }),
        call if call.contains("Check") => json!({ "report": { "ok": true, "checks": [] } }),
        call if call.contains("Plan") => json!({ "plan": { "steps": [], "obstacles": [] } }),
        call if call.contains("Prepare") => json!({ "update": "u-2" }),
        call if call.contains("Finish") => json!({ "released": [] }),
        call => {
            if call.contains("Cancel") {
                CANCELS.fetch_add(1, Ordering::Relaxed);
            }
            json!({})
        }
    }
}
