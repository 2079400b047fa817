// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates of other programs than luod.

use crate::machine::Machine;

#[test]
fn an_update_of_another_program_is_cancelled_by_force() {
    let script = "
        luod
        other prepares
        luoctl status
        luoctl check
        luoctl cancel
        luoctl --dry-run cancel --force
        luoctl cancel --force
        luoctl check
        luoctl prepare
        luoctl cancel --force
    ";
    let output = Machine::new("").boot(script).run();
    assert!(output.contains("the kernel is prepared, and not by this luod: another"));
    assert!(
        output.contains("failed   running-state: the kernel is prepared"),
        "{output}"
    );
    assert!(output.contains("if no other program is about to jump: `luoctl cancel --force`"));
    assert!(
        output.contains("and would cancel that; nothing was done"),
        "{output}"
    );
    assert_eq!(
        output
            .matches("the update is off; all workloads go on")
            .count(),
        2
    );
    assert_eq!(
        output.matches("[exit").count(),
        2,
        "check and cancel: {output}"
    );
}

/// An update that is refused leaves another program's as it is.
#[test]
fn an_update_that_is_refused_cancels_nobody_elses() {
    let script = "
        luod
        other prepares
        luoctl update
        state
        luoctl prepare
        state
    ";
    let output = Machine::new("").boot(script).run();
    let states: Vec<_> = output.lines().filter(|line| *line == "prepared").collect();
    assert_eq!(states.len(), 2, "{output}");
    assert_eq!(output.matches("[exit").count(), 2, "{output}");
}

/// A program that has the device open keeps nobody from being told how the kernel stands.
#[test]
fn an_update_of_a_program_that_has_the_device_is_told() {
    let script = "
        luod
        other keeps
        luoctl status
        luoctl check
        luoctl cancel
        luoctl cancel --force
        state
        other leaves
        luoctl cancel --force
        state
    ";
    let output = Machine::new("").boot(script).run();
    assert!(
        output.contains("the kernel is prepared, and not by this luod: another"),
        "{output}"
    );
    assert!(
        output.contains("failed   running-state: the kernel is prepared"),
        "{output}"
    );
    assert!(
        output.contains("which another program has open"),
        "{output}"
    );
    let states = ["prepared", "normal"].map(|state| output.lines().any(|line| line == state));
    assert_eq!(states, [true, true], "{output}");
    assert_eq!(output.matches("the update is off").count(), 1, "{output}");
    assert_eq!(output.matches("[exit").count(), 3, "{output}");
}

/// A jump that luod knows nothing of leaves a session whose owner luod does not know. A workload
/// that makes one of the same name would lose it in the next update.
#[test]
fn a_session_that_a_new_one_would_replace_is_told_until_it_is_given_up() {
    let before = "
        luod
        workload cache
        kexec
    ";
    let after = "
        luod
        workload cache
        luoctl status
        luoctl update
        luoctl --dry-run release cache
        luoctl --dry-run release --force cache
        luoctl release --force cache
        luoctl sessions
        luoctl status
        luoctl check
        luoctl release --force cache
    ";
    let output = Machine::new("").boot(before).boot(after).run();
    let replaced = "there are new ones of their names: cache";
    let at = |text: &str| {
        output
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {output}"))
    };
    let released = at("session 'cache' is released");
    let told: Vec<_> = output.match_indices(replaced).collect();
    assert_eq!(told.len(), 2, "status, and update: {output}");
    assert!(told.iter().all(|(told, _)| *told < released), "{output}");
    at("running-sessions: the update drops");
    at("there is no session 'cache' in the agent's custody");
    at("'cache' of the previous kernel, whose owner luod does not know, would be released");
    let left = &output[released..];
    assert!(left.contains("an update can begin"), "{left}");
    assert!(!left.contains("previous kernel"), "{left}");
    assert!(
        left.contains("cache    cache     workload  this kernel"),
        "{left}"
    );
}

/// `luod supervise` looks whether another luod is there, by calls of which each may fail.
#[test]
fn a_call_that_fails_for_want_of_memory_keeps_luod_from_nothing() {
    let script = "
        luod
        workload web
        luoctl sessions
    ";
    for number in 1..=8 {
        let fault = format!("0/call:{number}=ENOMEM");
        let output = Machine::new("").fault(&fault).boot(script).run();
        assert!(output.contains("\nweb "), "{fault}: {output}");
    }
}
