// SPDX-License-Identifier: MIT OR Apache-2.0
//! Replays the seeds: they break nothing, and still come as far as they are meant to.

use std::path::Path;

use luo_fuzz::handover_blocks::Outcome;
use luo_fuzz::{call_traces, guest_states, handover_blocks, ioctl_arguments, notes};

/// The seeds of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 20, "{} seeds", paths.len());
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

#[test]
fn ioctl_arguments() {
    let mut sum = ioctl_arguments::Reached::default();
    for seed in seeds("ioctl_arguments") {
        let reached = ioctl_arguments::run(&seed);
        sum.succeeded += reached.succeeded;
        sum.failed += reached.failed;
        sum.kexecs += reached.kexecs;
        sum.retrieved += reached.retrieved;
    }
    println!("{sum:?}");
    assert!(sum.succeeded > 100 && sum.failed > 100, "{sum:?}");
    assert!(sum.kexecs > 10 && sum.retrieved > 0, "{sum:?}");
}

#[test]
fn handover_blocks() {
    let (mut refused, mut sessions, mut files) = (0, 0, 0);
    for seed in seeds("handover_blocks") {
        match handover_blocks::run(&seed) {
            Outcome::Refused => refused += 1,
            Outcome::TakenOver(with_sessions, with_files) => {
                sessions += with_sessions;
                files += with_files;
            }
        }
    }
    println!("{refused} refused, {sessions} sessions and {files} files taken over");
    assert!(refused > 20 && sessions > 20 && files > 20);
}

#[test]
fn notes() {
    let outcomes: Vec<_> = seeds("notes").iter().map(|seed| notes::run(seed)).collect();
    let count = |outcome| outcomes.iter().filter(|&&of| of == outcome).count();
    let (read, refused) = (count(notes::Outcome::Read), count(notes::Outcome::Refused));
    println!("{read} read, {refused} refused");
    assert!(
        read >= 10 && refused >= 10,
        "{read} read, {refused} refused"
    );
}

#[test]
fn guest_states() {
    let seeds = seeds("guest_states");
    let outcomes: Vec<_> = seeds.iter().map(|seed| guest_states::run(seed)).collect();
    let count = |outcome| outcomes.iter().filter(|&&of| of == outcome).count();
    let read = count(guest_states::Outcome::Read);
    let refused = count(guest_states::Outcome::Refused);
    println!("{read} read, {refused} refused");
    assert!(
        read >= 10 && refused >= 10,
        "{read} read, {refused} refused"
    );
}

#[test]
fn call_traces() {
    let mut sum = call_traces::Reached::default();
    for seed in seeds("call_traces") {
        let reached = call_traces::run(&seed);
        sum.preserved += reached.preserved;
        sum.retrieved += reached.retrieved;
        sum.kexecs += reached.kexecs;
        sum.vetoes += reached.vetoes;
        sum.carried += reached.carried;
    }
    println!("{sum:?}");
    assert!(sum.preserved > 100 && sum.retrieved > 50, "{sum:?}");
    assert!(
        sum.kexecs > 20 && sum.vetoes > 20 && sum.carried > 10,
        "{sum:?}"
    );
}
