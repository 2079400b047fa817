// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel tree's own selftests, unmodified. `LUO_SELFTESTS` names a folder with
//! them as programs; `cargo xtask test` makes it.

use std::path::PathBuf;

use luo_sim::{Outcome, Program, Simulator};

fn folder() -> PathBuf {
    let folder = std::env::var_os("LUO_SELFTESTS");
    PathBuf::from(folder.expect("LUO_SELFTESTS names no folder; run this as: cargo xtask test"))
}

fn succeed(simulator: Simulator) -> Outcome {
    let outcome = simulator.run().unwrap();
    assert!(outcome.success(), "{}", outcome.output());
    outcome
}

#[test]
fn of_one_kernel() {
    let folder = folder();
    let simulator = Simulator::new()
        .boot(Program::new(folder.join("liveupdate")))
        .capture();
    let outcome = succeed(simulator);
    assert!(outcome.output().contains("fail:0"), "{}", outcome.output());
}

#[test]
fn of_two_kernels() {
    let folder = folder();
    let sim = env!("CARGO_BIN_EXE_luo-sim");
    for program in [
        "luo_kexec_simple",
        "luo_multi_session",
        "luo_stress_files",
        "luo_stress_sessions",
    ] {
        let stage = |stage| format!("{} -s {stage}", folder.join(program).display());
        let first = format!("{} && exec {sim} kexec", stage(1));
        let outcome = succeed(
            Simulator::new()
                .boot(Program::shell(first))
                .boot(Program::shell(stage(2)))
                .capture(),
        );
        assert!(outcome.output().contains("TEST PASSED"), "{program}");
    }
}
