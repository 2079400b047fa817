// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luod supervise`, and signals.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::Command;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::agent::{Raw, open_policy, until};
use crate::started::{Started, command, folder, is_there};

#[test]
fn who_ends_the_supervisor_ends_the_agent() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut started = Started::new("", &open_policy(), &["supervise"]);
        started.wait_until_up();
        let agent = started.agent();
        started.signal(signal);
        assert!(started.ends().success(), "{}", started.log());
        assert!(!is_there(agent));
        assert!(started.log().contains("luod is told to end"));
    }
}

#[test]
fn an_agent_that_dies_is_started_again() {
    let mut started = Started::new("", &open_policy(), &["supervise"]);
    started.wait_until_up();
    let agent = started.agent();
    kill_process(agent, Signal::KILL).unwrap();
    until("another agent", || {
        !is_there(agent) && started.log().matches("is up").count() == 2
    });
    started.signal(Signal::TERM);
    assert!(started.ends().success());
}

/// Also one that serves for a while each time.
#[test]
fn an_agent_that_dies_each_time_is_started_ever_more_slowly() {
    let mut started = Started::new("", &open_policy(), &["supervise"]);
    for (times, pause) in [(1, "0.2 s"), (2, "0.4 s")] {
        until("the agent", || {
            started.log().matches("is up").count() == times && started.connect().is_some()
        });
        let (agent, up) = (started.agent(), Instant::now());
        until("a while", || up.elapsed().as_secs_f64() > 1.1);
        kill_process(agent, Signal::KILL).unwrap();
        until("a word about it", || {
            let said = format!("it is started again in {pause}");
            started.log().contains(&said)
        });
    }
    started.signal(Signal::TERM);
    started.ends();
}

/// By a systemctl of which nobody knows that it is none.
#[test]
fn what_a_jump_without_a_shutdown_loses_is_told() {
    let folder = folder("", &open_policy());
    let path = |name: &str| folder.path().join(name);
    for name in ["system/run/systemd/system", "bin"] {
        fs::create_dir_all(path(name)).unwrap();
    }
    let units = "Id=vault.service\\nFileDescriptorStorePreserve=yes\\nNFileDescriptorStore=4\\n";
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *=Version) echo Version=261.1;; *) printf '{units}';; esac\n"
    );
    let systemctl = path("bin/systemctl");
    fs::write(&systemctl, script).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    for (jump, expected) in [("direct", "jump-stores"), ("systemctl", "jump-shutdown")] {
        let own = fs::read_to_string(path("luod.toml")).unwrap();
        let own = own.lines().next().unwrap();
        let system = path("system");
        let text = format!("{own}\njump = \"{jump}\"\n[checks]\nroot = {system:?}\n");
        fs::write(path("luod.toml"), text).unwrap();
        let mut command = command(folder.path(), &["supervise"]);
        let search = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{search}", path("bin").display()));
        let log = File::create(path("log")).unwrap();
        let mut child = command.stderr(log).spawn().unwrap();
        let connect = || std::os::unix::net::UnixStream::connect(path("run/admin"));
        until("luod", || connect().is_ok());
        let mut admin = Raw::new(connect().unwrap());
        let target = json!({"target": {}});
        let report = admin.call("org.liveupdate.Admin.Check", target);
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        child.wait().unwrap();
        let checks = report["parameters"]["report"]["checks"].as_array().unwrap();
        let of_jump = checks
            .iter()
            .filter(|check| check["name"].as_str().unwrap().starts_with("jump-"));
        let of_jump: Vec<_> = of_jump.collect();
        assert_eq!(of_jump.len(), 1, "{checks:?}");
        assert_eq!(of_jump[0]["name"], expected);
        if jump == "direct" {
            assert_eq!(of_jump[0]["status"], "failed");
            let found = of_jump[0]["found"].as_str().unwrap();
            assert!(found.contains("vault.service (4)"), "{found}");
        }
    }
}

/// A package is being replaced, or there is no memory just then.
#[test]
fn an_agent_that_cannot_be_started_for_a_moment_is_started_later() {
    let folder = folder("", &open_policy());
    let program = folder.path().join("luod");
    let away = folder.path().join("luod.away");
    fs::copy(env!("CARGO_BIN_EXE_luod"), &program).unwrap();
    let own = command(folder.path(), &["supervise"]);
    let log = File::create(folder.path().join("log")).unwrap();
    let child = Command::new(&program)
        .args(own.get_args())
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM")
        .env("RUST_LOG", "info")
        .stderr(log)
        .spawn()
        .unwrap();
    let mut started = Started { child, folder };
    started.wait_until_up();
    fs::rename(&program, &away).unwrap();
    kill_process(started.agent(), Signal::KILL).unwrap();
    until("a word about it", || {
        started.log().contains("luod could not be started")
    });
    fs::rename(&away, &program).unwrap();
    until("another agent", || {
        started.log().matches("is up").count() == 2
    });
    started.signal(Signal::TERM);
    assert!(started.ends().success(), "{}", started.log());
}

/// Neither luod nor who supervises it: a logger that stands still, say, or ^S on a console.
#[test]
fn who_does_not_read_the_log_keeps_nobody_waiting() {
    for more in [&[][..], &["supervise"]] {
        let (log, theirs) = std::io::pipe().unwrap();
        let mut started = Started::after("true", more, theirs);
        until("luod", || started.connect().is_some());
        // A line of the log shows it.
        let nonsense = format!("{} = 1", "x".repeat(1 << 16));
        fs::write(started.path("policy.toml"), nonsense).unwrap();
        let (mut warnings, mut number) = (String::new(), 0);
        until("lines that find no room", || {
            started.signal(Signal::HUP);
            number += 1;
            let ended = started.child.try_wait().unwrap();
            assert!(ended.is_none(), "{more:?}, after {number}: {ended:?}");
            assert!(started.register(&format!("w-{number}"))["error"].is_null());
            warnings = started.status()["parameters"]["status"]["warnings"].to_string();
            warnings.contains("lines of luod's log were dropped")
        });
        started.signal(Signal::TERM);
        assert!(started.ends().success());
        drop(log);
    }
}

/// So that it cannot serve its agent just now, and goes on all the same.
#[test]
fn a_supervisor_without_a_descriptor_does_not_spin() {
    for most in 12..20 {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut started = Started::after(
            &format!("ulimit -n {most}"),
            &["supervise"],
            log.reopen().unwrap(),
        );
        let said = || fs::read_to_string(log.path()).unwrap();
        until("an end, a start or some tries", || {
            started.child.try_wait().unwrap().is_some()
                || said().contains("is up")
                || said().matches("it is started again").count() >= 3
        });
        let lines = said().lines().count();
        assert!(lines < 40, "{most}: {lines} lines:\n{}", said());
        if started.child.try_wait().unwrap().is_none() {
            started.signal(Signal::TERM);
            started.child.wait().unwrap();
        }
    }
}

/// As a watchdog of systemd has it.
#[test]
fn an_agent_that_hangs_is_killed_and_started_again() {
    let mut started = Started::new("", &open_policy(), &["supervise"]);
    started.wait_until_up();
    // It answers, so its supervisor has heard that it is up.
    assert!(started.status()["error"].is_null());
    kill_process(started.agent(), Signal::STOP).unwrap();
    until("another agent", || {
        let log = started.log();
        log.contains("has not been heard of for 30 s") && log.matches("is up").count() == 2
    });
    started.signal(Signal::TERM);
    assert!(started.ends().success());
}

/// Somebody has cleared the folder: the next agent finds its supervisor all the same.
#[test]
fn an_agent_is_started_again_where_the_files_of_its_supervisor_were_removed() {
    let mut started = Started::new("", &open_policy(), &["supervise"]);
    started.wait_until_up();
    let agent = started.agent();
    for entry in fs::read_dir(started.path("run")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_socket() {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    kill_process(agent, Signal::KILL).unwrap();
    until("another agent", || {
        started.log().matches("is up").count() == 2
    });
    assert!(started.log().contains("are made anew"), "{}", started.log());
    started.signal(Signal::TERM);
    assert!(started.ends().success());
}
