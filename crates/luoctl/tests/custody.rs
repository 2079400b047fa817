// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions that are left with the agent, and taken back.

use crate::machine::{Machine, compare, settings};

/// A workload that has claimed what is its after the jump, and ended before it was done.
const CLAIMED_AND_GONE: &str = "luod
    workload web claim-only
    kills
    wait waiting";

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
fn what_a_user_has_left_is_released_at_once() {
    let script = "
        luod
        luoctl hold dump -- guest preserve yellow
        luoctl hold other -- guest preserve green
        luoctl --dry-run release --user 0
        luoctl release --user 7
        luoctl release --user 0
        luoctl sessions
    ";
    let machine = Machine::new("").boot(script);
    compare!("what_a_user_has_left_is_released_at_once", machine.run());
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

/// luoctl is killed, or its command is interrupted: before the jump and after it.
#[test]
fn a_script_that_is_ended_loses_nothing() {
    let before = "
        luod
        luoctl hold dump -- guest preserve yellow
        interrupt it-stays luoctl hold other -- guest stays
        killed it-stays luoctl take dump -- guest stays
        wait left
        luoctl sessions
        interrupt it-stays luoctl take dump -- guest stays
        wait left
        luoctl sessions
        jump luoctl update
    ";
    let after = "
        luod
        wait normal
        killed it-stays luoctl take dump -- guest stays
        wait left
        luoctl take dump -- guest retrieve
        luoctl sessions
    ";
    let output = Machine::new("").boot(before).boot(after).run();
    assert_eq!(output.matches("signal: 2 (SIGINT)").count(), 2, "{output}");
    assert_eq!(output.matches("[exit Some(1)]").count(), 2, "{output}");
    assert_eq!(output.matches("[exit None]").count(), 2, "{output}");
    assert!(output.contains("session 'dump' is kept: "), "{output}");
    let held: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("dump "))
        .collect();
    assert_eq!(held.len(), 2, "{output}");
    for line in held {
        assert!(line.contains(" agent, left by uid "), "{output}");
    }
    assert!(output.contains("\nyellow\n"), "{output}");
    assert!(output.ends_with("there is no session\n\n"), "{output}");
}

/// luoctl is killed, and its command has the session still: that is said, and whose it is.
#[test]
fn who_holds_a_session_that_is_no_workloads_is_named() {
    let script = "
        luod
        killed it-lingers luoctl hold dump -- guest lingers
        luoctl sessions
        luoctl release --force dump
        luoctl release dump
        luoctl --dry-run release --force dump
        luoctl release other
    ";
    let output = Machine::new("").boot(script).run();
    let named = output.matches("session 'dump' is held by sleep (");
    assert_eq!(named.count(), 3, "{output}");
    assert_eq!(output.matches("[exit Some(1)]").count(), 3, "{output}");
    assert_eq!(output.matches("[exit Some(66)]").count(), 1, "{output}");
}

/// The command ends in the moment in which an update begins.
#[test]
fn an_update_in_between_keeps_no_script_from_its_end() {
    let script = "
        luod
        luoctl hold dump -- guest amid preserve yellow
        wait normal
        luoctl sessions
        luoctl take dump -- guest amid
        wait normal
        luoctl history
    ";
    let output = Machine::new("").boot(script).run();
    assert!(
        output.contains("session 'dump' is left with luod"),
        "{output}"
    );
    assert!(
        output.contains("session 'dump' is taken back, and over"),
        "{output}"
    );
    assert_eq!(output.matches("vetoes at prepare").count(), 2, "{output}");
    assert!(!output.contains("[exit"), "{output}");
}

/// It came back, and has ended before it was done: luod alone has its session.
#[test]
fn the_books_say_who_has_a_session_whose_workload_is_gone() {
    let after = &format!(
        "{CLAIMED_AND_GONE}
        luoctl check
        luoctl sessions
        luoctl --dry-run release web
        luoctl release web
        wait normal
        luoctl sessions
        luoctl --dry-run release web
        luoctl release web
        luoctl sessions"
    );
    let machine = Machine::new("restore_deadline = 4").jumps_with("web");
    let output = machine.boot(after).run();
    let held: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("web "))
        .collect();
    assert_eq!(held.len(), 2, "{output}");
    for line in held {
        assert!(line.contains(" agent, for uid "), "{output}");
    }
    // The dry run ends as the command would, while its workload is waited for and after that.
    let refused = "release is not possible while updated\n  its workload is waited for: start it; or \
                   `luoctl finish --release` ends the update";
    assert_eq!(output.matches(refused).count(), 2, "{output}");
    assert!(
        output.contains(
            "start it (`luoctl take` for a command), or end the update, which releases what nobody \
             has claimed: `luoctl finish --release`"
        ),
        "{output}"
    );
    assert_eq!(output.matches("[exit Some(1)]").count(), 3, "{output}");
    assert!(
        output.contains("session 'web' would be released"),
        "{output}"
    );
    assert!(output.contains("session 'web' is released"), "{output}");
    assert!(output.ends_with("there is no session\n\n"), "{output}");
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

/// A session that is finished is the kernel's matter, which may take its time.
#[test]
fn a_script_is_told_what_is_waited_for() {
    let before = "
        luod
        luoctl hold dump -- guest preserve yellow
        jump luoctl update
    ";
    let after = "
        luod
        wait normal
        terminal n luoctl take dump -- guest retrieve
    ";
    // The first that is finished is the record.
    let output = Machine::new("")
        .fault("1/finish:2=delay:4000")
        .boot(before)
        .boot(after)
        .run();
    assert!(
        output.contains("waiting for the kernel (FINISH), "),
        "{output}"
    );
    assert!(output.contains("is taken back, and over"), "{output}");
}

/// It ends in an update, which keeps them until it is off.
#[test]
fn what_goes_with_a_workload_that_ends_in_an_update_is_named() {
    let script = "
        luod
        workload web
        luoctl prepare
        kills
        wait normal
        without web
    ";
    let (outcome, log) = Machine::new("").boot(script).run_to_the_end();
    assert!(outcome.success(), "{log}");
    let words = "workload 'web' is gone, and luod lets go of what it has not left: web.";
    assert_eq!(log.matches(words).count(), 1, "{log}");
}

/// Whoever looks is told that nobody keeps what luod has, and another supervisor keeps it.
#[test]
fn a_luod_whose_supervisor_has_died_loses_nothing() {
    let before = "
        luod
        luoctl hold box -- guest preserve yellow
        kills
        wait supervisor
        luoctl check
        luoctl hold other -- guest preserve green
        luod
        without supervisor
        luoctl hold other -- guest preserve green
        restarts KILL
        jump luoctl update
    ";
    let after = "
        luod
        wait normal
        luoctl take box -- guest retrieve
        luoctl take other -- guest retrieve
    ";
    let output = Machine::new("").boot(before).boot(after).run();
    let (before, after) = output.split_once("hold other").unwrap();
    for words in [
        "custody",
        "supervisor is gone",
        "would be lost: box",
        "run `luod supervise` again",
    ] {
        assert!(before.contains(words), "{words}: {output}");
    }
    let (refused, after) = after.split_once("hold other").unwrap();
    assert!(refused.contains("supervisor is gone"), "{output}");
    assert!(!refused.contains("FileDescriptorStoreMax"), "{output}");
    for word in ["yellow", "green"] {
        assert!(after.contains(&format!("\n{word}\n")), "{output}");
    }
    assert_eq!(output.matches("[exit").count(), 1, "{output}");
}

/// By hand, say, as the message of a second luod names its process.
#[test]
fn who_ends_luod_and_not_its_supervisor_loses_nothing() {
    let script = "
        luod
        luoctl hold box -- guest preserve yellow
        restarts TERM
        luoctl sessions
    ";
    let output = Machine::new("").boot(script).run();
    assert!(output.contains("\nbox "), "{output}");
    assert!(output.contains(" agent, left by uid "), "{output}");
}

/// It was told to end after the jump, with what a workload had claimed and not finished.
#[test]
fn what_was_lost_with_luod_is_not_said_to_be_the_kernels() {
    let after = &format!(
        "{CLAIMED_AND_GONE}
        ends
        luod
        luoctl sessions
        luoctl status
        wait normal"
    );
    let machine = Machine::new("restore_deadline = 4").jumps_with("web");
    let output = machine.boot(after).run();
    assert!(output.contains("there is no session"), "{output}");
    assert!(output.contains("web was lost"), "{output}");
}

/// In the log, which is all that there is by then.
#[test]
fn what_goes_with_luod_is_named_in_its_log() {
    let script = "
        luod
        luoctl hold box -- guest preserve yellow
        ends
    ";
    let (outcome, log) = Machine::new("").boot(script).run_to_the_end();
    assert!(outcome.success(), "{log}");
    assert!(
        log.contains("nobody keeps what it alone has: with it go box"),
        "{log}"
    );
}

/// luod.toml is broken, so luod does not come back: whoever looks is told to end nobody, and whoever
/// ends the supervisor all the same is told what goes.
#[test]
fn what_a_supervisor_keeps_while_luod_does_not_run_goes_with_a_word() {
    let script = "
        luod
        luoctl hold box -- guest preserve yellow
        breaks
        mends
        luoctl sessions
        breaks
        ends
    ";
    let (outcome, log) = Machine::new("").boot(script).run_to_the_end();
    assert!(outcome.success(), "{log}");
    assert!(outcome.output().contains("\nbox "), "{}", outcome.output());
    let words = "told to end while luod does not run: what luod has left here goes with this \
                 process (1 descriptor): box";
    assert_eq!(log.matches(words).count(), 1, "{log}");
}

/// What a reader of docs/integrate.md pastes: in Python, with standard input as the session.
#[test]
fn what_the_book_leaves_with_luod_comes_back() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python");
    let dump = format!("env PYTHONPATH={python}/src python3 -B {python}/examples/dump.py");
    let before = format!(
        "
        luod
        luoctl hold dump -- {dump} save 42-visitors
        luoctl hold dump -- {dump} save 43-visitors
        luoctl hold other -- false
        luoctl sessions
        jump luoctl update
        "
    );
    let after = format!(
        "
        luod
        wait normal
        luoctl take dump -- {dump} load
        luoctl sessions
        "
    );
    let output = Machine::new("").boot(&before).boot(&after).run();
    assert!(output.contains("\n42-visitors\n"), "{output}");
    // A second one does not replace the first, and says what to do.
    for words in [
        "luoctl: session 'dump' is with luod already; nothing was done\n  `luoctl take dump -- \
         COMMAND` takes it back, `luoctl release dump` gives it up",
        "luoctl: false: exit status: 1\n  nothing is left with luod\n",
        "session 'dump' is taken back, and over",
    ] {
        assert!(output.contains(words), "{words} in {output}");
    }
    assert_eq!(output.matches("[exit Some(1)]").count(), 2, "{output}");
    assert!(output.ends_with("there is no session\n\n"), "{output}");
}
