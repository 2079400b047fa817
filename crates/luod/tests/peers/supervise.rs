// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luod supervise`, signals, and configurations that cannot be used.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::agent::{PATIENCE, Raw, open_policy, until};

/// A folder with a configuration and a policy, and the program that uses them.
struct Started {
    child: Child,
    folder: tempfile::TempDir,
}

fn folder(config: &str, policy: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let config = format!("state_directory = {state:?}\n{config}");
    fs::write(folder.path().join("luod.toml"), config).unwrap();
    fs::write(folder.path().join("policy.toml"), policy).unwrap();
    folder
}

fn command(folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_luod"));
    command
        .arg("--config")
        .arg(folder.join("luod.toml"))
        .arg("--policy")
        .arg(folder.join("policy.toml"))
        .arg("--runtime-directory")
        .arg(folder.join("run"))
        .args(more)
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM")
        .env_remove("RUST_LOG");
    command
}

impl Started {
    fn new(config: &str, policy: &str, more: &[&str]) -> Self {
        let folder = folder(config, policy);
        let log = File::create(folder.path().join("log")).unwrap();
        let child = command(folder.path(), more).stderr(log).spawn().unwrap();
        Self { child, folder }
    }

    /// One that a shell runs, which has done something before.
    fn after(before: &str, more: &[&str], log: impl Into<Stdio>) -> Self {
        let folder = folder("", &open_policy());
        let luod = command(folder.path(), more);
        let child = Command::new("sh")
            .args(["-c", &format!("{before}; exec \"$0\" \"$@\"")])
            .arg(luod.get_program())
            .args(luod.get_args())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM")
            .env("RUST_LOG", "info")
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// One that may make no file longer than so many KiB, as a shell's `ulimit -f` has it.
    fn limited(most: u32, more: &[&str]) -> Self {
        let folder = folder("", &open_policy());
        let luod = command(folder.path(), more);
        let log = File::create(folder.path().join("log")).unwrap();
        // With no length at all the log of a test is nothing but a pipe.
        let log = match most {
            0 => Stdio::null(),
            _ => log.into(),
        };
        let child = Command::new("sh")
            .args(["-c", &format!("ulimit -f {most}; exec \"$0\" \"$@\"")])
            .arg(luod.get_program())
            .args(luod.get_args())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("JOURNAL_STREAM")
            .env("RUST_LOG", "info")
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn status(&self) -> Value {
        let stream = std::os::unix::net::UnixStream::connect(self.path("run/status"));
        let mut peer = Raw::new(stream.unwrap());
        peer.call("org.liveupdate.Status.GetStatus", serde_json::json!({}))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    fn wait_until_up(&self) {
        until("luod", || {
            self.log().contains("is up") && self.connect().is_some()
        });
    }

    fn connect(&self) -> Option<Raw> {
        let stream = std::os::unix::net::UnixStream::connect(self.path("run/client"));
        stream.ok().map(Raw::new)
    }

    fn register(&self, name: &str) -> Value {
        self.connect().unwrap().register(name)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The agent that `luod supervise` has started.
    fn agent(&self) -> Pid {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        Pid::from_raw(children.trim().parse().unwrap()).unwrap()
    }

    fn ends(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "it does not end:\n{}",
                self.log()
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_there(process: Pid) -> bool {
    // Who has ended stays as a zombie until somebody waits for it.
    let status = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    status.is_ok_and(|status| !status.contains(") Z "))
}

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

#[test]
fn a_configuration_that_cannot_be_used_is_said_once() {
    let mut started = Started::new("prepare_dedline = 3", "", &["supervise"]);
    assert_eq!(started.ends().code(), Some(78));
    let log = started.log();
    assert_eq!(log.matches("prepare_dedline").count(), 1, "{log}");
    assert_eq!(log.matches("luod ends").count(), 1, "{log}");
}

#[test]
fn the_configuration_can_be_checked() {
    let check = |config: &str, policy: &str| {
        let folder = folder(config, policy);
        let output = command(folder.path(), &["--check-config"])
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = check("", &open_policy());
    assert_eq!(code, Some(0), "{text}");
    for name in ["luod.toml can be used", "policy.toml can be used"] {
        assert!(text.contains(name), "{text}");
    }
    let (code, text) = check("[checks]\nignore = [\"x\"]", "");
    assert_eq!(code, Some(78));
    assert!(
        text.contains("luod.toml: line 3: ignore: there is no check"),
        "{text}"
    );
    let (code, text) = check("[checks]\nroot = \"/nonexistent\"", "");
    assert_eq!(code, Some(78));
    assert!(
        text.contains("luod.toml: line 3: root: there is no such folder"),
        "{text}"
    );
    // All that is wrong with either is told.
    let (code, text) = check("x = 1\n[checks]\nignore = [\"x\"]", "y = 1");
    assert_eq!(code, Some(78));
    for words in [
        "luod.toml: line 2, column 1: unknown field `x`",
        "line 4: ignore: there is no check \"x\"",
        "policy.toml: line 1, column 1: unknown field `y`",
    ] {
        assert!(text.contains(words), "{text}");
    }
    let (code, text) = check("x = = 1\ny = 1", "");
    assert_eq!(code, Some(78));
    for words in ["line 2, column 5", "was not looked at"] {
        assert!(text.contains(words), "{text}");
    }
    let (code, text) = check("", "[[allow]]\nuid = 7");
    assert_eq!(code, Some(78));
    assert!(text.contains("policy.toml: line 1: rule 1"), "{text}");
}

#[test]
fn what_cannot_be_written_is_no_success() {
    let folder = folder("", &open_policy());
    for more in ["--check-config", "--help", "--version"] {
        let luod = command(folder.path(), &[more]);
        for (to, code) in [(">&-", 1), (">/dev/full", 1), (">/dev/null", 0)] {
            let output = Command::new("sh")
                .args(["-c", &format!("exec \"$0\" \"$@\" {to}")])
                .arg(luod.get_program())
                .args(luod.get_args())
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{more} {to}: {said}");
            assert_eq!(said.contains("standard output"), code == 1, "{said}");
        }
    }
}

/// Neither at the start nor, worse, while luod serves.
#[test]
fn a_configuration_that_is_no_file_keeps_nobody_waiting() {
    let folder = folder("", "");
    for name in ["luod.toml", "policy.toml"] {
        let path = folder.path().join(name);
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let kind = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        let mut check = command(folder.path(), &["--check-config"]);
        let output = check.output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("it is no regular file"), "{text}");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let mut check = command(folder.path(), &["--check-config"]);
        assert_eq!(check.output().unwrap().status.code(), Some(78));
        fs::remove_file(&path).unwrap();
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn hup_reads_all_again_and_ends_nobody() {
    for more in [&[][..], &["supervise"]] {
        let mut started = Started::new("", "", more);
        started.wait_until_up();
        // Root owns every name without any rule.
        if !rustix::process::getuid().is_root() {
            let refused = started.register("first");
            assert_eq!(refused["error"], "org.liveupdate.Client.Denied");
        }
        fs::write(started.path("policy.toml"), open_policy()).unwrap();
        started.signal(Signal::HUP);
        until("the new policy", || {
            started.log().contains("were read again")
        });
        assert!(started.register("second")["error"].is_null());

        fs::write(started.path("policy.toml"), "nonsense").unwrap();
        started.signal(Signal::HUP);
        until("a word about it", || {
            started.log().contains("all stays as it was")
        });
        assert!(started.register("third")["error"].is_null());
        started.signal(Signal::TERM);
        assert!(started.ends().success());
    }
}

/// It is killed, or the machine has no memory for it. luod runs on meanwhile.
#[test]
fn a_supervisor_takes_over_a_luod_whose_own_has_died() {
    for is_killed_later in [false, true] {
        let mut first = Started::new("", &open_policy(), &["supervise"]);
        first.wait_until_up();
        let agent = first.agent();
        first.signal(Signal::KILL);
        first.ends();
        until("a word in the log", || {
            first.log().contains("supervisor is gone")
        });
        let warnings = || first.status()["parameters"]["status"]["warnings"].to_string();
        assert!(warnings().contains("supervisor is gone"), "{}", warnings());

        let log = first.path("second.log");
        let said = || fs::read_to_string(&log).unwrap();
        let mut second = command(first.folder.path(), &["supervise"]);
        second.env("RUST_LOG", "info");
        let mut second = second.stderr(File::create(&log).unwrap()).spawn().unwrap();
        until("the second", || said().contains("it is taken over"));
        until("an end of the warning", || {
            !warnings().contains("supervisor is gone")
        });
        assert!(is_there(agent), "{}", said());
        if is_killed_later {
            kill_process(agent, Signal::KILL).unwrap();
            until("another agent", || {
                !is_there(agent) && said().contains("is up") && first.connect().is_some()
            });
        }
        kill_process(Pid::from_child(&second), Signal::TERM).unwrap();
        assert!(second.wait().unwrap().success(), "{}", said());
        assert!(!is_there(agent), "{}", said());
        assert_eq!(said().contains("is up"), is_killed_later, "{}", said());
    }
}

/// Not one that has never had one: it has no store.
#[test]
fn a_luod_of_somebody_else_is_not_taken_over() {
    let mut first = Started::new("", &open_policy(), &[]);
    first.wait_until_up();
    let second = command(first.folder.path(), &["supervise"]).output();
    let said = String::from_utf8(second.unwrap().stderr).unwrap();
    assert!(said.contains("luoctl sessions"), "{said}");
    first.signal(Signal::TERM);
    assert!(first.ends().success(), "{}", first.log());
}

/// The history's trial, a note and the log are all beyond the limit, of which the kernel tells by
/// a signal too.
#[test]
fn a_file_that_may_not_grow_is_told_of_and_ends_nobody() {
    for more in [&[][..], &["supervise"]] {
        let mut started = Started::limited(8, more);
        started.wait_until_up();
        for _ in 0..2 {
            let status = started.status();
            let warnings = status["parameters"]["status"]["warnings"].to_string();
            assert!(warnings.contains("File too large"), "{status}");
            assert!(warnings.contains("LimitFSIZE"), "{status}");
        }
        let length = || fs::metadata(started.path("log")).unwrap().len();
        let mut before = 0;
        while length() > before {
            before = length();
            for number in 0..20 {
                // A policy that is read again is a line of the log.
                started.signal(Signal::HUP);
                assert!(started.register(&format!("w-{number}"))["error"].is_null());
            }
        }
        assert!(before < 64 << 10, "the log has no end: {before}");
        assert!(started.status()["error"].is_null());
        started.signal(Signal::TERM);
        assert!(started.ends().success(), "{}", started.log());
    }
}

/// The file that says who has the place is the first that luod writes.
#[test]
fn a_luod_that_may_write_nothing_at_all_serves() {
    for more in [&[][..], &["supervise"]] {
        let mut started = Started::limited(0, more);
        // No log says that it is up: it is when it can be asked.
        until("luod", || {
            std::os::unix::net::UnixStream::connect(started.path("run/status")).is_ok()
        });
        let status = started.status();
        let warnings = status["parameters"]["status"]["warnings"].to_string();
        assert!(warnings.contains("LimitFSIZE"), "{status}");
        started.signal(Signal::TERM);
        assert!(started.ends().success());
    }
}

/// The names of files are bytes, and the kernel limits those of sockets.
#[test]
fn odd_folders_are_taken_or_told() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"r\xff");
    for more in [&[][..], &["supervise"]] {
        let folder = folder("", &open_policy());
        let with = |runtime: &Path| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_luod"));
            command
                .arg("--config")
                .arg(folder.path().join("luod.toml"))
                .arg("--policy")
                .arg(folder.path().join("policy.toml"))
                .arg("--runtime-directory")
                .arg(runtime)
                .args(more)
                .env_remove("NOTIFY_SOCKET")
                .env_remove("JOURNAL_STREAM")
                .stderr(Stdio::piped());
            command
        };
        let runtime = folder.path().join(odd);
        let mut started = with(&runtime).spawn().unwrap();
        until("luod", || {
            std::os::unix::net::UnixStream::connect(runtime.join("client")).is_ok()
        });
        kill_process(Pid::from_child(&started), Signal::TERM).unwrap();
        assert!(started.wait().unwrap().success());
        let long = folder.path().join("r".repeat(100));
        let output = with(&long).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("107 bytes at most"), "{said}");
    }
}

#[test]
fn a_second_luod_says_at_once_whom_it_waits_for() {
    let first = Started::new("", &open_policy(), &[]);
    first.wait_until_up();
    let log = first.path("second.log");
    let said = || fs::read_to_string(&log).unwrap();
    let mut second = command(first.folder.path(), &[]);
    let mut second = second.stderr(File::create(&log).unwrap()).spawn().unwrap();
    until("a word about it", || {
        said().contains("its end is waited for")
    });
    assert!(!said().contains("is up"), "{}", said());
    // While it waits it heeds signals.
    let third_log = first.path("third.log");
    let third_said = || fs::read_to_string(&third_log).unwrap();
    let mut third = command(first.folder.path(), &[]);
    let mut third = third
        .stderr(File::create(&third_log).unwrap())
        .spawn()
        .unwrap();
    until("a word of the third", || {
        third_said().contains("its end is waited for")
    });
    kill_process(Pid::from_child(&third), Signal::TERM).unwrap();
    assert!(third.wait().unwrap().success(), "{}", third_said());
    assert!(third_said().contains("has not begun"), "{}", third_said());
    // It has the place as soon as that is free.
    first.signal(Signal::TERM);
    until("the second", || said().contains("is up"));
    kill_process(Pid::from_child(&second), Signal::TERM).unwrap();
    assert!(second.wait().unwrap().success(), "{}", said());
}

/// It does not try ten times to begin, and takes nothing away from the first.
#[test]
fn a_second_supervisor_says_at_once_who_is_there_and_ends() {
    for more in [&["supervise"][..], &[]] {
        let mut first = Started::new("", &open_policy(), more);
        first.wait_until_up();
        let second = command(first.folder.path(), &["supervise"]).output();
        let second = second.unwrap();
        let said = String::from_utf8(second.stderr).unwrap();
        assert_eq!(second.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let what = ["luod", "luod supervise"][more.len()];
        let who = format!("another {what}, process {} in ", first.child.id());
        assert!(said.contains(&who), "{said}");
        assert!(
            said.contains(&format!("`kill {}`", first.child.id())),
            "{said}"
        );
        // The first keeps what it has, over a death of its agent too.
        if !more.is_empty() {
            kill_process(first.agent(), Signal::KILL).unwrap();
            until("another agent", || {
                first.log().matches("is up").count() == 2
            });
        }
        first.signal(Signal::TERM);
        assert!(first.ends().success(), "{}", first.log());
    }
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
            assert_eq!(of_jump[0]["status"], "warning");
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
            assert!(started.register(&format!("w-{number}"))["error"].is_null());
            warnings = started.status()["parameters"]["status"]["warnings"].to_string();
            warnings.contains("lines of luod's log were dropped")
        });
        started.signal(Signal::TERM);
        assert!(started.ends().success());
        drop(log);
    }
}

/// Whoever starts it, and with whatever mask.
#[test]
fn what_it_makes_is_its_own() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let file = log.reopen().unwrap();
    let mut started = Started::after("umask 0", &["supervise"], file);
    until("luod", || started.connect().is_some());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut sockets = 0;
    for entry in fs::read_dir(started.path("run")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let expected = match name.as_str() {
            "client" => 0o660,
            "status" | "metrics" => 0o666,
            _ => 0,
        };
        let others = mode(&path) & 0o077;
        assert_eq!(others, expected & 0o077, "{name}");
        sockets += usize::from(name == ".store" || name == ".notify");
    }
    assert_eq!(sockets, 2);
    started.signal(Signal::TERM);
    assert!(started.ends().success());
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
