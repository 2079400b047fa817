// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command and a real agent, before the jump.

use crate::machine::{Machine, compare, settings, two};

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
        "run-0, runs, and there is one for a kernel, whatever its folder: end it first (`systemctl \
         stop luod`, or `kill ",
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
        luoctl history --format svg
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

/// Each step out of its turn is told which one is due.
#[test]
fn a_step_out_of_turn_is_told_which_is_due() {
    let script = "
        luoctl freeze
        luoctl prepare
        luoctl update
        luoctl kexec
        luoctl release web
        luoctl --dry-run kexec
        luoctl freeze
        luoctl prepare
        luoctl finish
        luoctl cancel
        luoctl cancel
    ";
    compare!("a_step_out_of_turn_is_told_which_is_due", two(script));
}

/// A workload may have ended a moment ago, and an update without any jumps at once.
#[test]
fn an_update_without_workloads_is_warned_of() {
    let warned = "warning  workloads: no workload takes part: an update would jump at once\n";
    let output = Machine::new("")
        .boot("luod\nluoctl check\nluoctl prepare")
        .run();
    assert!(output.contains(warned), "{output}");
    let told = "luoctl: warning: workloads: no workload takes part";
    assert!(output.contains(told), "{output}");
    assert!(output.contains("\nan update can begin\n"), "{output}");
    assert!(!two("luoctl check").contains("no workload takes part"));
}

/// A path that is wrong may stand in a configuration, or be the default.
#[test]
fn an_image_that_is_not_there_is_named() {
    let output = two("luoctl check --kernel /nonexistent/vmlinuz");
    let named = "the image /nonexistent/vmlinuz cannot be looked into: it cannot be read: No such";
    assert!(output.contains(named), "{output}");
    // Nothing is known of a kernel that cannot be read.
    assert!(!output.contains(" memory: "), "{output}");
}

/// All stand still, and somebody else has loaded what takes nothing over.
#[test]
fn a_jump_that_the_kernel_refuses_is_told_with_its_cause() {
    let script = "
        luod
        workload cache
        luoctl update
        luoctl prepare
        luoctl freeze
        other unloads
        luoctl kexec
        luoctl prepare
        luoctl freeze
        other loads
        luoctl kexec
        luoctl status
        luoctl history last
    ";
    // What has failed before is not told of the jump.
    let machine = Machine::new("").fault("freeze:1=EIO").boot(script);
    let output = machine.run();
    let parts: Vec<_> = output.split("$ ").skip(1).collect();
    let [update, _, _, unloaded, _, _, legacy, status, history] = parts.as_slice() else {
        panic!("{output}");
    };
    assert!(update.contains("vetoes"), "{update}");
    let told = "reboot(KEXEC): EINVAL: no kernel is loaded any more";
    assert!(unloaded.contains(told), "{unloaded}");
    let told = "reboot(KEXEC): EOPNOTSUPP: the image that is loaded takes nothing over: another \
                program has loaded it over luod's, with kexec_load (`kexec -c`)";
    assert!(legacy.contains(told), "{legacy}");
    assert!(history.contains(told), "{history}");
    assert!(status.contains("normal"), "{status}");
}

#[test]
fn who_vetoes_the_jump_itself_is_told() {
    let script = "
        luod
        workload cache
        luoctl update
    ";
    // Each of the two files, the workload's and luod's record, is asked once before that.
    let output = Machine::new("")
        .parameters("liveupdate_reboot=veto")
        .fault("freeze:3=EIO")
        .boot(script)
        .run();
    let told = "reboot(KEXEC): EIO: handler memfd-v2 vetoes for session '";
    assert!(output.contains(told), "{output}");
    assert!(output.contains("`dmesg | grep luo` says more"), "{output}");
}

/// One that comes back loses nothing by that.
#[test]
fn a_kernel_that_hangs_in_a_finish_ends_no_workload() {
    let before = "
        luod
        workload cache
        jump luoctl update
    ";
    let after = "
        luod
        workload cache claim
        luoctl history last
    ";
    // The first that is finished is the record.
    let output = Machine::new("kernel_deadline = 2")
        .fault("1/finish:2=delay:5000")
        .boot(before)
        .boot(after)
        .run();
    assert!(output.contains("completed"), "{output}");
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

/// Whoever has the output go elsewhere is asked all the same; a program is not.
#[test]
fn who_is_at_a_terminal_is_asked_wherever_the_output_goes() {
    let script = "
        luod
        workload cache
        piped n luoctl update
        luoctl history
        terminal n luoctl --json update --kernel /nonexistent
    ";
    let output = Machine::new("").boot(script).run();
    let parts: Vec<_> = output.split("$ ").skip(1).collect();
    let [piped, history, json] = parts.as_slice() else {
        panic!("{output}");
    };
    let (terminal, elsewhere) = piped.split_once("[elsewhere]").unwrap();
    assert!(terminal.contains("go on? [y/N]"), "{piped}");
    assert!(terminal.contains("[exit Some(1)]"), "{piped}");
    assert!(
        elsewhere.contains("freeze  cache") && elsewhere.contains("nothing was done"),
        "{piped}"
    );
    assert!(!elsewhere.contains("[y/N]"), "{piped}");
    assert!(
        !json.contains("[y/N]") && json.contains("check-failed"),
        "{json}"
    );
    assert!(history.contains("no update has been made"), "{history}");
}

#[test]
fn a_check_without_luod() {
    let script = "
        luoctl check
        luoctl check --offline --config FOLDER/luod.toml
        luoctl check --offline --config FOLDER/luod.toml --kernel /nonexistent
        luoctl check --offline --config FOLDER/policy.toml
        luoctl check --offline --config FOLDER/luod.toml --policy FOLDER/luod.toml
        luoctl check --config FOLDER/luod.toml
    ";
    let output = Machine::new("").boot(script).run();
    let parts: Vec<_> = output.split("$ ").skip(1).collect();
    let [online, offline, bad, config, policy, not_alone] = parts.as_slice() else {
        panic!("{output}");
    };
    assert!(online.contains("[exit Some(69)]"), "{online}");
    assert!(offline.contains("ok       target-image:"), "{offline}");
    assert!(
        offline.contains("unknown  workloads: luod was not asked"),
        "{offline}"
    );
    assert!(
        offline.contains("an update can begin, as far as is known\n") && !offline.contains("[exit"),
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
    assert!(
        policy.contains("luod.toml: line 1") && policy.contains("[exit Some(78)]"),
        "{policy}"
    );
    assert!(not_alone.contains("--offline"), "{not_alone}");
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
        prepare.contains("move it away") && prepare.contains("all are ready"),
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

/// What the kernel undoes may take a while: a workload that starts just then is let in after it.
#[test]
fn who_starts_amid_a_cancel_is_let_in() {
    let script = "
        luod
        workload cache
        luoctl prepare
        luoctl freeze
        cancels workload web needs=cache
        luoctl status
    ";
    let machine = Machine::new("").fault("unfreeze=delay:2000");
    compare!(
        "who_starts_amid_a_cancel_is_let_in",
        machine.boot(script).run()
    );
}
