// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command and a real agent.

use crate::machine::{Machine, settings};

/// Compares with what is known, but for what is another one each time.
macro_rules! compare {
    ($name:literal, $output:expr) => {
        settings().bind(|| insta::assert_snapshot!($name, $output));
    };
}

/// A cache that one other workload needs.
const TWO: &str = "
    luod
    workload cache
    workload web needs=cache
";

fn two(script: &str) -> String {
    Machine::new("").boot(&format!("{TWO}{script}")).run()
}

#[test]
fn who_looks() {
    let script = "
        luoctl status
        luoctl sessions
        luoctl graph
        luoctl plan
        luoctl check
        luoctl inspect web
        luoctl inspect
        luoctl history
        luoctl watch --until normal
    ";
    compare!("who_looks", two(script));
}

#[test]
fn programs_that_look() {
    let script = "
        luoctl --json status
        luoctl --json sessions
        luoctl --json graph
        luoctl --json plan
        luoctl --json check
        luoctl --json inspect web
        luoctl --json history
        luoctl --json watch --until normal
    ";
    compare!("programs_that_look", two(script));
}

#[test]
fn step_by_step_and_back() {
    let script = "
        luoctl prepare
        luoctl status
        luoctl freeze
        luoctl status
        luoctl cancel --reason lunch
        luoctl status
        luoctl history last
        luoctl --json prepare
        luoctl --json freeze
        luoctl --json cancel
    ";
    compare!("step_by_step_and_back", two(script));
}

/// A second one would jump without asking the workloads of the first.
#[test]
fn there_is_one_luod_for_a_kernel() {
    let script = "
        luod
        luod elsewhere
        luoctl status
    ";
    let said = Machine::new("").boot(script).run();
    for text in [
        "another luod, process ",
        "run-0, runs, and has not ended: end it first (`systemctl stop luod`, or `kill ",
        "There is one for a kernel, whatever its folder",
        "[exit Some(1)]",
    ] {
        assert!(said.contains(text), "'{text}' in {said}");
    }
    assert!(!said.contains("is up"), "{said}");
}

#[test]
fn a_dry_run_changes_nothing() {
    let script = "
        luoctl --dry-run update
        luoctl --dry-run prepare
        luoctl --dry-run freeze
        luoctl --dry-run kexec
        luoctl --dry-run cancel
        luoctl --dry-run finish
        luoctl --dry-run release web
        luoctl status
        luoctl history
        luoctl prepare
        luoctl --dry-run freeze
        luoctl --dry-run cancel
        luoctl --dry-run update
        luoctl --json --dry-run freeze
        luoctl status
    ";
    compare!("a_dry_run_changes_nothing", two(script));
}

#[test]
fn what_cannot_be() {
    let script = "
        luoctl freeze
        luoctl kexec
        luoctl cancel
        luoctl finish
        luoctl release nobody
        luoctl inspect nobody
        luoctl history nobody
        luoctl --json cancel
        luoctl update --kernel /nonexistent/vmlinuz
        luoctl status
    ";
    compare!("what_cannot_be", two(script));
}

#[test]
fn a_circle_is_no_plan() {
    let script = "
        luod
        workload one needs=two
        workload two needs=one
        workload three needs=gone
        luoctl plan
        luoctl graph
        luoctl graph --format dot
        luoctl update
    ";
    compare!("a_circle_is_no_plan", Machine::new("").boot(script).run());
}

#[test]
fn a_veto_is_told() {
    let script = "
        luod
        workload cache
        workload web needs=cache veto=freeze:a_migration_is_under_way
        luoctl update
        luoctl --json update
        luoctl status
        luoctl history
    ";
    compare!("a_veto_is_told", Machine::new("").boot(script).run());
}

#[test]
fn who_is_late_is_told() {
    let config = "freeze_deadline = 0.05";
    let script = "
        luod
        workload cache hang=freeze
        luoctl update
        luoctl history last
    ";
    compare!(
        "who_is_late_is_told",
        Machine::new(config).boot(script).run()
    );
}

#[test]
fn over_the_jump() {
    let after = "
        luod
        luoctl status
        luoctl sessions
        luoctl finish
        luoctl --dry-run finish
        luoctl --dry-run finish --release
        workload cache claim
        workload web needs=cache claim
        wait normal
        luoctl status
        luoctl history
        luoctl history last
    ";
    let machine = Machine::new("")
        .boot(&format!("{TWO}jump luoctl update"))
        .boot(after);
    compare!("over_the_jump", machine.run());
}

#[test]
fn step_by_step_over_the_jump() {
    let before = "
        luod
        workload cache
        workload web needs=cache leave
        luoctl --json prepare
        wait left
        luoctl sessions
        luoctl freeze
        jump luoctl kexec
    ";
    let after = "
        luod
        workload cache claim
        luoctl sessions
        luoctl --json finish
        luoctl --json finish --release
        luoctl history
    ";
    let machine = Machine::new("").boot(before).boot(after);
    compare!("step_by_step_over_the_jump", machine.run());
}

#[test]
fn custody_can_be_ended() {
    let script = "
        luod
        workload web leave
        luoctl prepare
        wait left
        luoctl cancel
        luoctl sessions
        luoctl --dry-run release web
        luoctl release web
        luoctl sessions
    ";
    compare!("custody_can_be_ended", Machine::new("").boot(script).run());
}

#[test]
fn a_script_leaves_a_session_and_takes_it_back() {
    let before = "
        luod
        luoctl hold dump -- guest preserve nothing
        luoctl hold dump -- guest preserve yellow
        luoctl hold other -- guest preserve green
        luoctl sessions
        luoctl take other -- guest preserve nothing
        luoctl release other
        jump luoctl update
    ";
    let between = "
        luod
        wait normal
        luoctl status
        luoctl check
        jump luoctl update
    ";
    let after = "
        luod
        wait normal
        luoctl history
        luoctl take dump -- guest retrieve
        luoctl sessions
    ";
    let machine = Machine::new("").boot(before).boot(between).boot(after);
    compare!("a_script_leaves_a_session_and_takes_it_back", machine.run());
}

#[test]
fn a_script_outlives_luod() {
    let before = "
        luod
        luoctl hold dump -- guest outlive preserve yellow
        luoctl hold other -- guest outlive preserve green
        luoctl release other
        luoctl sessions
        jump luoctl update
    ";
    let after = "
        luod
        wait normal
        luoctl take dump -- guest outlive retrieve
        luoctl sessions
        luoctl cancel --force
    ";
    let output = Machine::new("").boot(before).boot(after).run();
    for name in ["dump", "other"] {
        let left = format!("session '{name}' is left with luod");
        assert!(output.contains(&left), "{output}");
    }
    assert!(output.contains("session 'other' is released"), "{output}");
    assert_eq!(
        output.matches("runs on, and luod is connected to").count(),
        3
    );
    assert!(output.contains("yellow"), "{output}");
    assert!(output.contains("is taken back, and over"), "{output}");
    // There is nothing to cancel, by force neither.
    assert_eq!(output.matches("[exit").count(), 1, "{output}");
}

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

/// Who has the device open keeps nobody from being told how the kernel stands.
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

#[test]
fn an_update_that_luod_has_lost_its_note_of_is_over_when_it_is_back() {
    let script = "
        luod
        luoctl prepare
        forgets
        luoctl history
        luoctl check
        luoctl prepare
        luoctl cancel
    ";
    let output = Machine::new("").boot(script).run();
    assert!(output.contains("cancelled"), "{output}");
    assert!(!output.contains("[exit"), "{output}");
}

#[test]
fn a_report_is_there_when_it_is_over() {
    let before = "
        luod
        workload cache
        luoctl update --report update.svg
        luoctl update --report /nonexistent/update.svg
        jump luoctl update --report FOLDER/update.svg
    ";
    let after = "
        luod
        workload cache claim
        wait normal
        begins FOLDER/update.svg
    ";
    let machine = Machine::new("").boot(before).boot(after);
    compare!("a_report_is_there_when_it_is_over", machine.run());
}

#[test]
fn on_a_terminal_it_asks_and_says_who_is_waited_for() {
    let script = "
        luod
        workload cache hang=freeze
        terminal n luoctl update
        luoctl history
        terminal yes luoctl update
        terminal - luoctl update --yes
        terminal - luoctl update --kernel /nonexistent
    ";
    let machine = Machine::new("freeze_deadline = 3").boot(script);
    let output = machine.run();
    let parts: Vec<_> = output.split("$ ").skip(1).collect();
    let [no, history, yes, unasked, impossible] = parts.as_slice() else {
        panic!("{output}");
    };
    // What will happen is said before anybody is asked.
    let (before, after) = no.split_once("go on? [y/N]").unwrap();
    assert!(
        before.contains("an update can begin") && before.contains("freeze  cache"),
        "{no}"
    );
    assert!(
        after.contains("nothing was done") && after.ends_with("[exit Some(1)]\n\n"),
        "{no}"
    );
    assert!(history.contains("no update has been made"), "{history}");
    assert!(
        yes.contains("[y/N]") && yes.contains("did not answer"),
        "{yes}"
    );
    assert!(
        yes.contains("  waiting for cache, ") && yes.contains(" s left"),
        "{yes}"
    );
    assert!(
        !unasked.contains("[y/N]") && unasked.contains("did not answer"),
        "{unasked}"
    );
    assert!(
        !impossible.contains("[y/N]") && impossible.contains("obstacle"),
        "{impossible}"
    );
}

#[test]
fn a_check_without_luod() {
    let script = "
        luoctl check
        luoctl check --offline --config FOLDER/luod.toml
        luoctl check --offline --config FOLDER/luod.toml --kernel /nonexistent
        luoctl check --offline --config FOLDER/policy.toml
        luoctl check --config FOLDER/luod.toml
    ";
    let output = Machine::new("").boot(script).run();
    let parts: Vec<_> = output.split("$ ").skip(1).collect();
    let [online, offline, bad, config, not_alone] = parts.as_slice() else {
        panic!("{output}");
    };
    assert!(online.contains("[exit Some(69)]"), "{online}");
    assert!(offline.contains("ok       target-image:"), "{offline}");
    assert!(
        offline.contains("unknown  workloads: luod was not asked"),
        "{offline}"
    );
    assert!(
        offline.contains("an update can begin\n") && !offline.contains("[exit"),
        "{offline}"
    );
    assert!(
        bad.contains("failed   target-image:") && bad.contains("[exit Some(1)]"),
        "{bad}"
    );
    assert!(
        config.contains("policy.toml") && config.contains("[exit Some(78)]"),
        "{config}"
    );
    assert!(not_alone.contains("--offline"), "{not_alone}");
}

#[test]
fn somebody_else_jumps() {
    let before = "
        luod
        workload cache
        luoctl --json prepare
        kexec
    ";
    let after = "
        luod
        luoctl sessions
        workload cache claim
        wait normal
        luoctl history
    ";
    let machine = Machine::new("").boot(before).boot(after);
    compare!("somebody_else_jumps", machine.run());
}

#[test]
fn interrupted_it_cancels() {
    let script = "
        luod
        workload cache hang=freeze
        interrupt asked-cache-to-freeze luoctl update
        luoctl status
        luoctl history
    ";
    let config = "freeze_deadline = 600";
    compare!(
        "interrupted_it_cancels",
        Machine::new(config).boot(script).run()
    );
}

#[test]
fn power_that_is_lost_in_the_jump_is_told() {
    let before = "
        luod
        workload cache
        jump luoctl update
    ";
    let after = "
        luod
        luoctl status
        luoctl history
        luoctl --json history last
        luoctl update --kernel /nonexistent
        luoctl status
    ";
    let machine = Machine::new("").fault("0/kexec=crash").boot(before);
    let output = machine.boot(after).run();
    let parts: Vec<_> = output.split("$ ").skip(1).collect();
    let [status, history, last, _, after] = parts.as_slice() else {
        panic!("{output}");
    };
    assert!(status.contains("was lost in the jump"), "{status}");
    assert!(history.contains("  lost  "), "{history}");
    assert!(history.contains("nothing came along"), "{history}");
    assert!(history.contains("[exit Some(65)]"), "{history}");
    assert!(last.contains("\"outcome\": \"lost\""), "{last}");
    assert!(last.contains("\"phase\": \"jumping\""), "{last}");
    // Whoever has begun another has seen it.
    assert!(!after.contains("warning"), "{after}");
}

#[test]
fn an_update_under_way_is_in_the_history() {
    let before = "
        luod
        workload cache
        luoctl prepare
        luoctl history
        luoctl history last
        luoctl cancel
        luoctl history
        jump luoctl update
    ";
    let after = "
        luod
        luoctl history -n 1
        workload cache claim
        wait normal
        luoctl history
    ";
    let output = Machine::new("").boot(before).boot(after).run();
    let parts: Vec<_> = output.split("$ ").skip(1).collect();
    let [_, list, last, _, cancelled, behind, over] = parts.as_slice() else {
        panic!("{output}");
    };
    assert!(list.contains("under way"), "{list}");
    assert!(last.contains("outcome   under way"), "{last}");
    assert!(
        last.contains("reason    it is prepared; `luoctl status`"),
        "{last}"
    );
    assert!(last.contains("agreed cache"), "{last}");
    assert!(!cancelled.contains("under way"), "{cancelled}");
    assert!(
        behind.contains("under way") && behind.contains("it is updated"),
        "{behind}"
    );
    assert!(
        over.contains("completed") && over.contains("cancelled"),
        "{over}"
    );
    assert!(!over.contains("under way"), "{over}");
}

#[test]
fn a_damaged_handover_leaves_a_way_to_look() {
    let before = "
        luod
        workload cache
        jump luoctl update
    ";
    let after = "
        luod ends
        luoctl history --config FOLDER/luod.toml
        luoctl --json history last --config FOLDER/luod.toml
        luoctl check --offline --config FOLDER/luod.toml
        luoctl status
    ";
    let machine = Machine::new("").fault("0/handover=truncate:1").boot(before);
    let output = machine.boot(after).run();
    let parts: Vec<_> = output.split("$ ").collect();
    let [ended, history, last, check, status] = parts.as_slice() else {
        panic!("{output}");
    };
    assert!(ended.contains("luod has ended: Some(71)"), "{ended}");
    assert!(history.contains("is read without it"), "{history}");
    assert!(history.contains("under way"), "{history}");
    assert!(
        history.contains("down of it: jumping; luod has not told what came of it"),
        "{history}"
    );
    assert!(!history.contains("[exit"), "{history}");
    assert!(last.contains("\"offline\": true"), "{last}");
    assert!(
        check.contains("failed   running-liveupdate: there is a /dev/liveupdate"),
        "{check}"
    );
    assert!(!check.contains("ok       running-liveupdate"), "{check}");
    assert!(check.contains("by its firmware, not by kexec"), "{check}");
    assert!(status.contains("`luoctl history`"), "{status}");
}

#[test]
fn a_full_disk_is_told_at_once() {
    let script = "
        luod
        fills
        luoctl prepare
        luoctl status
        luoctl cancel
        luoctl --json prepare
    ";
    let output = Machine::new("").boot(script).run();
    let parts: Vec<_> = output.split("$ ").skip(1).collect();
    let [prepare, status, _, json] = parts.as_slice() else {
        panic!("{output}");
    };
    assert!(
        prepare.contains("luoctl: warning: history: what becomes"),
        "{prepare}"
    );
    assert!(
        prepare.contains("make room there") && prepare.contains("all are ready"),
        "{prepare}"
    );
    assert!(
        status.contains("warning what becomes of an update cannot"),
        "{status}"
    );
    assert!(
        json.contains("\"warnings\"") && json.contains("\"history\""),
        "{json}"
    );
}
