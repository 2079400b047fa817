// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unmodified programs that use live update as it is meant.

use std::time::Duration;

use luo_sim::{Ending, Left, Program, Simulator};

use crate::{guest, scenario, succeed};

#[test]
fn memfds_arrive_as_they_were() {
    let outcome = succeed(scenario(&["cycle"], 2));
    let left: Vec<Left> = outcome.boots.iter().map(|boot| boot.left).collect();
    assert_eq!(left, [Left::Kexec, Left::Last]);
    // The promise is 200 ms; this runs beside other tests.
    assert!(outcome.boots[0].gap < Duration::from_secs(2));
}

#[test]
fn what_nobody_claims_is_carried_on() {
    succeed(scenario(&["carry"], 3));
}

#[test]
fn descriptors_live_until_the_last_close() {
    succeed(scenario(&["lifetime"], 1));
}

#[test]
fn who_is_killed_has_closed_everything() {
    succeed(scenario(&["killed-owner"], 1));
}

#[test]
fn other_files_are_refused_as_the_kernel_does() {
    succeed(scenario(&["refusals"], 1));
}

#[test]
fn reboots_of_all_kinds_are_the_machines() {
    let outcome = succeed(scenario(&["reboots"], 9));
    assert_eq!(outcome.ending, Ending::PowerOff);
    let left: Vec<Left> = outcome.boots.iter().map(|boot| boot.left).collect();
    assert_eq!(left, [Left::ColdBoot(None), Left::Kexec, Left::Last]);
}

#[test]
fn our_paths_can_be_opened() {
    succeed(scenario(&["paths"], 1));
}

/// As a balloon does it: the kernel refuses, and the page stays.
#[test]
fn pages_are_not_taken_out_of_preserved_memory() {
    let script = r#"
import fcntl, mmap, os, struct
memory = os.memfd_create("ram")
os.ftruncate(memory, 2 * mmap.PAGESIZE)
view = mmap.mmap(memory, 2 * mmap.PAGESIZE)
view[0] = 0xaa
view.madvise(mmap.MADV_REMOVE, mmap.PAGESIZE, mmap.PAGESIZE)
device = os.open("/dev/liveupdate", os.O_RDWR)
made = bytearray(struct.pack("=Ii64s", 72, -1, b"vm"))
fcntl.ioctl(device, 0xba00, made)
session = struct.unpack("=Ii64s", made)[1]
fcntl.ioctl(session, 0xba40, struct.pack("=IiQ", 16, memory, 1))
try:
    view.madvise(mmap.MADV_REMOVE, 0, mmap.PAGESIZE)
    print("taken")
except PermissionError:
    print("refused", hex(view[0]))
"#;
    let simulator = Simulator::new().boot(Program::new("python3").args(["-c", script]));
    assert_eq!(succeed(simulator.capture()).output(), "refused 0xaa\n");
}

#[test]
fn the_loaded_command_line_is_the_next_kernels() {
    succeed(scenario(&["parameters"], 4));
}

#[test]
fn a_change_of_state_can_be_polled_for() {
    succeed(scenario(&["poll"], 1));
}

/// A daemon holds the sessions: nothing of the first boot is left in the second.
#[test]
fn daemons_are_of_the_machine_and_end_with_it() {
    let guest = crate::built::program("luo-sim-guest");
    let guest = guest.display();
    let sim = env!("CARGO_BIN_EXE_luo-sim");
    let first = format!(
        "{{ sleep 600 | setsid {guest} hold daemon & }} | head -n 1; \
         {guest} is-held daemon && exec {sim} kexec"
    );
    let second = "test -z \"$(cat /proc/[0-9]*/environ 2>/dev/null | \
                  tr '\\0' '\\n' | grep -x LUO_TEST_OF_DAEMONS=0)\"";
    let outcome = succeed(
        Simulator::new()
            .boot(Program::shell(first).env("LUO_TEST_OF_DAEMONS", "0"))
            .boot(Program::shell(second))
            .capture()
            .trace(),
    );
    assert_eq!(outcome.boots.len(), 2);
}

#[test]
fn output_and_status_are_the_programs() {
    let outcome = Simulator::new()
        .boot(Program::shell("echo out; echo err >&2; exit 7"))
        .capture()
        .run()
        .unwrap();
    assert_eq!(outcome.output(), "out\nerr\n");
    assert_eq!((outcome.code(), outcome.success()), (7, false));
    let outcome = Simulator::new()
        .boot(Program::shell("kill -9 $$"))
        .run()
        .unwrap();
    assert_eq!(outcome.code(), 137);
}

#[test]
fn boots_that_do_not_come_about_are_told() {
    let outcome = Simulator::new()
        .boot(guest(&["exit", "0"]))
        .boot(guest(&["exit", "0"]))
        .run()
        .unwrap();
    assert!(matches!(outcome.ending, Ending::NoKexec(_)));
    assert!(!outcome.success() && outcome.code() == 1);
    let outcome = scenario(&["cycle"], 1).run().unwrap();
    assert_eq!(outcome.ending, Ending::NoMoreBoots);
    let outcome = scenario(&["exit", "0"], 9).exactly(2).run().unwrap();
    assert!(matches!(outcome.ending, Ending::NoKexec(_)));
    assert!(!outcome.success());
    let outcome = scenario(&["reboots"], 9).exactly(9).run().unwrap();
    assert_eq!((outcome.ending, outcome.code()), (Ending::TooEarly, 1));
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let missing = Simulator::new().boot(Program::new("/nonexistent/program"));
    let why = missing.run().unwrap_err().to_string();
    assert!(why.contains("cannot run '/nonexistent/program'"), "{why}");
    let nothing = Simulator::new().run().unwrap_err().to_string();
    assert!(nothing.contains("nothing to run"), "{nothing}");
}

/// One machine in another would need a second listener.
#[test]
fn a_simulator_in_a_simulator_is_refused_with_the_reason() {
    let sim = env!("CARGO_BIN_EXE_luo-sim");
    let outcome = Simulator::new()
        .boot(Program::new(sim).args(["run", "--", "true"]))
        .capture()
        .run()
        .unwrap();
    assert_eq!(outcome.code(), 70);
    assert!(
        outcome.output().contains("one listener"),
        "{}",
        outcome.output()
    );
}

#[test]
fn machines_beside_each_other_do_not_meet() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3 {
                    succeed(scenario(&["cycle"], 2));
                    succeed(scenario(&["lifetime"], 1));
                    succeed(scenario(&["paths"], 1));
                }
            });
        }
    });
}
