// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command without an agent.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use luoctl::exit::Exit;
use serde_json::Value;

use crate::called::{LUOCTL, ends_with, luoctl, text};

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
    let output = luoctl(folder.path(), &["history"]);
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
