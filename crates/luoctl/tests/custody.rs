// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions that are left with the agent, and taken back.

use crate::machine::{Machine, compare, settings};

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
