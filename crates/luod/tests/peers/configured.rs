// SPDX-License-Identifier: MIT OR Apache-2.0
//! What luod reads and writes where it is started: configurations, folders, files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::agent::{open_policy, until};
use crate::started::{Started, command, folder};

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
    let (_, text) = check("[checks]\nroot = \"/dev/null\"", "");
    assert!(text.contains("line 3: root: it is no folder"), "{text}");
    // A link to itself stands for what cannot be looked at.
    let own = tempfile::tempdir().unwrap();
    let ring = own.path().join("ring");
    std::os::unix::fs::symlink(&ring, &ring).unwrap();
    let (_, text) = check(&format!("[checks]\nroot = {ring:?}"), "");
    assert!(
        text.contains("line 3: root: ") && !text.contains("there is no"),
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
