// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luo-fleet dev`, as it is typed.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The command, with a folder of its own for all that it leaves on the disk.
fn dev(folder: &TempDir, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_luo-fleet"));
    command
        .args(["dev", "--listen", "127.0.0.1:0"])
        .args(words.split(' '))
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null());
    command
}

/// The processes that have files in a folder: they name it on their command line.
fn etcds(folder: &TempDir) -> Vec<Pid> {
    let name = folder.path().to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        // One may end meanwhile.
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        if let Some(number) = number
            && String::from_utf8_lossy(&line).contains(name)
        {
            found.push(Pid::from_raw(number).unwrap());
        }
    }
    found
}

/// Neither a file nor a process is left.
fn is_gone(folder: &TempDir, after: &str) {
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{after}: {left:?}");
    let left = etcds(folder);
    assert!(left.is_empty(), "{after}: {left:?}");
}

fn is_over(line: &str, group: &str) -> bool {
    let of = line.split("   ").find_map(|part| {
        let at = part.find(group)?;
        part[at + group.len()..].trim().split(' ').next()
    });
    of.and_then(|of| of.split_once('/'))
        .is_some_and(|(done, all)| done == all)
}

#[test]
#[ignore = "takes etcd"]
fn dev_shows_a_rollout_and_one_that_halts() {
    let folder = tempfile::tempdir().unwrap();
    let ended = dev(&folder, "--update 0.2").output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("the page: http://127.0.0.1:"), "{said}");
    let all = "canary 2/2   rack-0 6/6   rack-1 6/6   rack-2 6/6";
    assert!(said.contains(all), "{said}");
    assert!(said.contains("Complete: 20 of 20 hosts are done"), "{said}");
    // No rack begins before the canaries are done.
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.contains(" s  canary "))
        .collect();
    assert!(lines.len() > 3, "{said}");
    for line in lines.iter().filter(|line| !is_over(line, "canary ")) {
        for rack in ["rack-0 0/", "rack-1 0/", "rack-2 0/"] {
            assert!(line.contains(rack), "{line}");
        }
    }
    is_gone(&folder, "a rollout");

    let ended = dev(&folder, "--update 0.2 --lose").output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("\nHalted: "), "{said}");
    let lost = said.lines().find(|line| line.starts_with("host-00001: "));
    let keeps = "it keeps its slot, and nobody else begins";
    assert!(lost.is_some_and(|line| line.ends_with(keeps)), "{said}");
    assert!(said.contains("canary 1/2"), "{said}");
    assert!(!said.contains("Complete: "), "{said}");
    for rack in ["rack-0 1/", "rack-1 1/", "rack-2 1/"] {
        assert!(!said.contains(rack), "{said}");
    }
    is_gone(&folder, "one that halts");

    // What is no policy is told at once.
    let ended = dev(&folder, "--slots 20000").output().unwrap();
    let why = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{why}");
    assert!(why.contains("slots is 1 to 10000"), "{why}");
    is_gone(&folder, "too many slots");

    // Figures are written in any case, and it ends when it is told to.
    let words = "--update 0.1 --hosts 30 --at-most 2 --figures";
    let ended = dev(&folder, words).output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{said}");
    for figure in [
        "answers a second ",
        "memory, hosts included ",
        "for each host",
        "answer yes ",
    ] {
        assert!(said.contains(figure), "{figure}: {said}");
    }
    is_gone(&folder, "figures");
}

/// One that runs, until it has written a line with some words in it.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn until(folder: &TempDir, words: &str, said: &str) -> Self {
        let mut child = dev(folder, words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut running = Self { child, lines };
        let mut all = String::new();
        while !all.contains(said) {
            let length = running.lines.read_line(&mut all).unwrap();
            assert!(length > 0, "'{said}' was not said, but: {all}");
        }
        running
    }

    /// How it ends, and what it says of that.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        let ended = self.child.wait_with_output().unwrap();
        let why = String::from_utf8_lossy(&ended.stderr);
        (ended.status.code(), why.into_owned())
    }
}

fn kill(process: Pid, signal: Signal) {
    kill_process(process, signal).unwrap();
}

#[test]
#[ignore = "takes etcd"]
fn dev_leaves_nothing_however_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let is_there = |folder: &Path| std::fs::read_dir(folder).unwrap().count() == 1;
    // It is ended amid the rollout, by ^C as well as by a service manager or a lost terminal.
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let running = Running::until(&folder, "--update 60", "(+");
        assert!(is_there(folder.path()) && etcds(&folder).len() == 1);
        kill(Pid::from_child(&running.child), signal);
        let (code, why) = running.end();
        assert_eq!(code, Some(1), "{why}");
        assert!(why.contains("before the rollout was over"), "{why}");
        is_gone(&folder, &format!("{signal:?}"));
    }
    // Before there is an etcd that answers, too.
    let mut child = dev(&folder, "--update 60")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while etcds(&folder).is_empty() {
        std::thread::yield_now();
    }
    kill(Pid::from_child(&child), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    is_gone(&folder, "a signal at its beginning");
    // Its etcd dies.
    let running = Running::until(&folder, "--update 60", "(+");
    kill(etcds(&folder)[0], Signal::KILL);
    let (code, why) = running.end();
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("its etcd has ended: signal: 9"), "{why}");
    is_gone(&folder, "an etcd that is killed");
    // When the rollout is over and the page stays, ^C is how it ends.
    let words = "--update 0.1 --hosts 4 --stay";
    let running = Running::until(&folder, words, "the page stays");
    kill(Pid::from_child(&running.child), Signal::INT);
    let (code, why) = running.end();
    assert_eq!(code, Some(0), "{why}");
    is_gone(&folder, "a page that stayed");
    // What it has said is not read any more: that is an end as well.
    let mut running = Running::until(&folder, "--update 1", "(+");
    drop(running.lines);
    assert!(!running.child.wait().unwrap().success());
    is_gone(&folder, "a reader that is gone");
}
