// SPDX-License-Identifier: MIT OR Apache-2.0
//! There is one luod for a kernel, and one supervisor for a folder.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::agent::{open_policy, until};
use crate::started::{Started, command, is_there};

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

/// Two at a time would jump without asking the workloads of the other.
#[test]
fn a_second_luod_does_not_begin_while_the_first_does_not_end() {
    let first = Started::new("", &open_policy(), &[]);
    first.wait_until_up();
    let begun = Instant::now();
    let second = command(first.folder.path(), &[]).output().unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(10), "{second:?}");
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{said}");
    let lines: Vec<_> = said.lines().collect();
    let [waits, ends] = lines[..] else {
        panic!("{said}");
    };
    assert!(
        waits.contains("its end is waited for, 10 s at most"),
        "{said}"
    );
    let who = format!("process {} in ", first.child.id());
    assert!(
        ends.contains(&who) && ends.contains("end it first"),
        "{said}"
    );
    assert!(first.connect().is_some());
    first.signal(Signal::TERM);
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
