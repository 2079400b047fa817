// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel tree's own selftests, unmodified, if `LUO_SELFTESTS` names a folder
//! with them as programs.

use std::path::PathBuf;

use luo_sim::{Program, Simulator};

use crate::succeed;

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("LUO_SELFTESTS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: LUO_SELFTESTS is not set");
    }
    folder
}

#[test]
fn of_one_kernel() {
    let Some(folder) = folder() else { return };
    let simulator = Simulator::new()
        .boot(Program::new(folder.join("liveupdate")))
        .capture();
    let outcome = succeed(simulator);
    assert!(outcome.output().contains("fail:0"), "{}", outcome.output());
}

#[test]
fn of_two_kernels() {
    let Some(folder) = folder() else { return };
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
