// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates over the jump, and what is told of them behind it.

use crate::machine::{Machine, TWO, compare, settings};

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
fn power_that_is_lost_in_the_jump_is_told() {
    let after = "
        luod
        luoctl status
        luoctl history
        luoctl --json history last
        luoctl update --kernel /nonexistent
        luoctl status
    ";
    let machine = Machine::new("").fault("0/kexec=crash").jumps_with("cache");
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
    let after = "
        luod ends
        luoctl history --config FOLDER/luod.toml
        luoctl --json history last --config FOLDER/luod.toml
        luoctl check --offline --config FOLDER/luod.toml
        luoctl status
    ";
    let machine = Machine::new("")
        .fault("0/handover=truncate:1")
        .jumps_with("cache");
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

/// After the jump, where it takes longest.
#[test]
fn a_watch_says_who_is_waited_for() {
    let after = "
        luod
        terminal - luoctl watch --until normal
    ";
    let machine = Machine::new("restore_deadline = 4").jumps_with("web");
    let output = machine.boot(after).run();
    assert!(output.contains("waiting for web, "), "{output}");
    assert!(output.contains("[exit Some(0)]"), "{output}");
}
