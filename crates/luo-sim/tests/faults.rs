// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes wrong on request, and that it does harm to nobody else.

use luo_sim::{Ending, Fault, Left, Simulator, Step};

use crate::{scenario, succeed};

fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

#[test]
fn a_veto_leaves_everything_usable() {
    for veto in ["0/freeze:1=EBUSY", "0/freeze:3=EBUSY", "0/kexec=EBUSY"] {
        let simulator = scenario(&["veto"], 2).parameters("liveupdate_reboot=veto");
        let outcome = simulator.fault(fault(veto)).run().unwrap();
        // The jump itself fails frozen, which is not the veto of a handler.
        if veto.contains("kexec") {
            assert!(!outcome.success());
        } else {
            assert!(outcome.success(), "{veto}: {}", outcome.output());
        }
    }
}

#[test]
fn a_subsystem_vetoes() {
    let simulator = scenario(&["prepare"], 1)
        .subsystem("sub-a")
        .subsystem("sub-b")
        .fault(fault("subsystem-prepare:2=ENOMEM"));
    let outcome = succeed(simulator);
    let calls: Vec<_> = outcome
        .trace
        .iter()
        .map(|event| event.call.as_str())
        .collect();
    assert!(calls.contains(&"subsystem-cancel"), "{calls:?}");
}

#[test]
fn changes_wait_for_a_transition_and_looks_do_not() {
    succeed(scenario(&["waits"], 1).fault(fault("preserve:1=delay:2000ms")));
}

#[test]
fn who_is_killed_waiting_is_gone() {
    let simulator = scenario(&["killed-waiting"], 1).parameters("liveupdate_openers=many");
    succeed(simulator.fault(fault("preserve:1=delay:500ms")));
}

/// What a call that does not end has in its hands is lost in the jump, and keeps no machine.
#[test]
fn a_call_that_does_not_end_keeps_no_machine_from_its_jump() {
    let simulator = scenario(&["jumps-in-a-call"], 2).parameters("liveupdate_patience=1");
    succeed(simulator.fault(fault("0/preserve:2=delay:60000ms")));
}

/// Every step of an update: power is lost there, and nothing of it is left.
#[test]
fn after_a_crash_at_any_step_the_machine_is_as_new() {
    for step in [
        "page:5", "preserve", "freeze", "kexec", "call:2", "call:5", "reply:3",
    ] {
        let crash = fault(&format!("0/{step}=crash"));
        let outcome = succeed(scenario(&["nothing-arrives"], 2).fault(crash));
        assert!(
            matches!(outcome.boots[0].left, Left::ColdBoot(Some(_))),
            "{step}: {:?}",
            outcome.boots
        );
    }
}

#[test]
fn a_crash_of_the_new_kernel_is_a_cold_boot_too() {
    let crash = fault("1/boot=crash");
    let outcome = scenario(&["nothing-arrives"], 3)
        .fault(crash)
        .run()
        .unwrap();
    let left: Vec<Left> = outcome.boots.iter().map(|boot| boot.left).collect();
    let crashed = Left::ColdBoot(Some(Step::Boot));
    assert_eq!(left, [Left::Kexec, crashed, Left::Last]);
    assert!(outcome.success(), "{}", outcome.output());
}

#[test]
fn a_damaged_handover_is_refused_or_harmless() {
    let mut verdicts = std::collections::BTreeMap::<String, usize>::new();
    for seed in 0..24 {
        let simulator = scenario(&["refused-handover"], 2)
            .seed(seed)
            .fault(fault("handover=flip"));
        let outcome = succeed(simulator);
        let verdict = outcome.output().trim().to_owned();
        *verdicts.entry(verdict).or_default() += 1;
    }
    let refused = verdicts.get("refused").copied().unwrap_or(0);
    assert!(refused > 0, "{verdicts:?}");
    assert!(!verdicts.contains_key("whole"), "{verdicts:?}");
}

#[test]
fn a_truncated_handover_is_refused() {
    let simulator = scenario(&["refused-handover"], 2).fault(fault("handover=truncate:1"));
    assert_eq!(succeed(simulator).output(), "refused\n");
}

/// The events of a run, without what may differ: times and numbers of processes.
fn told(simulator: Simulator) -> Vec<String> {
    let outcome = simulator.run().unwrap();
    let events = outcome
        .trace
        .into_iter()
        .filter(|event| event.call == "fault");
    events
        .map(|event| format!("{} {}", event.detail, event.result))
        .collect()
}

#[test]
fn a_seed_makes_a_run_repeatable() {
    let simulator = |seed| {
        let scenario = scenario(&["refused-handover"], 2).seed(seed);
        scenario.fault(fault("handover=flip"))
    };
    let first = told(simulator(7));
    assert!(!first.is_empty());
    assert_eq!(first, told(simulator(7)));
    assert_ne!(first, told(simulator(8)));
}

#[test]
fn a_retrieve_that_fails_is_told_and_final() {
    let simulator = scenario(&["refused-handover"], 2).fault(fault("1/retrieve=ENOMEM"));
    let outcome = succeed(simulator);
    assert_eq!(outcome.output(), "not restored: ENOMEM\n");
    assert!(matches!(outcome.ending, Ending::Exited(_)));
}
