// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small crowd in the simulator: all get ready, stand still and are told that the
//! update is off, and nothing is left of them. Nothing is timed here: that is
//! `cargo xtask bench-agent`.

use std::collections::BTreeMap;

use luo_lab_protocol::Event;
use luo_sim::system::System;
use luo_sim::{Program, Simulator};

#[test]
fn a_crowd_comes_and_goes() {
    let folder = std::env::temp_dir().join(format!("luo-crowd-{}", std::process::id()));
    let system = folder.join("system");
    System::default().write(&system).unwrap();
    let program = Program::new(env!("CARGO_BIN_EXE_luo-scenes"))
        .args(["crowd", "--clients=20", "--threads=2"])
        .args([&folder, &system]);
    let outcome = Simulator::new().boot(program).capture().run().unwrap();
    let log = std::fs::read_to_string(folder.join("luod.log")).unwrap_or_default();
    let _ = std::fs::remove_dir_all(&folder);
    let output = outcome.output();
    assert!(outcome.success(), "{:?}\n{output}\n{log}", outcome.ending);

    let figures: BTreeMap<_, _> = output
        .lines()
        .filter_map(|line| match Event::from_line(line) {
            Ok(Event::Sample {
                metric, n, value, ..
            }) => Some((metric, (n, value))),
            _ => None,
        })
        .collect();
    for metric in ["prepare", "freeze", "cancel", "answer-median", "rss-frozen"] {
        let (n, value) = figures[metric];
        assert!(n == 20 && value > 0.0, "{metric}: {value} of {n}");
    }
    // Both calls, and nothing else.
    let sum = figures["prepare"].1 + figures["freeze"].1;
    assert!((figures["overhead"].1 - sum).abs() < 1e-3, "{figures:?}");
    assert!(
        figures["rss-peak"].1 >= figures["rss-frozen"].1,
        "{figures:?}"
    );
}
