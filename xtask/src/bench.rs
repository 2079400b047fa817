// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench`: mainline's orchestrator and ours, measured in turn.

use anyhow::{Result, bail};
use luo_lab::bench::kernel::{Samples, VARIANTS};
use luo_lab::judge;
use luo_lab::lab::Lab;
use luo_lab::page::Section;
use luo_lab::run::scenarios;
use luo_lab_protocol::Outcome;

use crate::show;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each measurement is repeated; the median counts
    #[arg(long, default_value_t = 3)]
    repeats: u32,
    /// Numbers of sessions to measure with
    #[arg(long, value_delimiter = ',', default_values_t = scenarios::BENCH_SIZES.to_vec())]
    sizes: Vec<u64>,
    /// Replace the table in docs/benchmarks.md
    #[arg(long)]
    write: bool,
}

pub(crate) fn run(lab: &Lab, args: &Args) -> Result<bool> {
    lab.kernels(&VARIANTS)?;
    let mut samples = Samples::default();
    let mut good = true;
    for repeat in 1..=args.repeats {
        for &n in &args.sizes {
            // In turn, so that a slow minute of the machine hits both.
            for variant in VARIANTS {
                show::line(&format!(
                    "{variant}, n = {n}, run {repeat} of {}",
                    args.repeats
                ));
                let scenario = scenarios::bench(variant, n);
                let recording = lab.run(&scenario, false, |_| {})?;
                let cases = judge::cases(&scenario, &recording)?;
                for case in cases.iter().filter(|case| case.outcome == Outcome::Failed) {
                    good = false;
                    show::case(case);
                }
                samples.add(variant, &recording)?;
            }
        }
    }
    if samples.is_empty() {
        bail!(
            "nothing was measured: run `cargo xtask vm run bench-rust-100 --show-console` to see why"
        );
    }
    let table = samples.table();
    show::line(&format!("\n{table}"));
    if args.write {
        let sizes: Vec<_> = args.sizes.iter().map(u64::to_string).collect();
        let command = format!(
            "cargo xtask bench --repeats {} --sizes {} --write",
            args.repeats,
            sizes.join(",")
        );
        let section = format!(
            "Made by `{command}`: medians of {} runs in QEMU without KVM (software emulation), kernels without\n\
             debug checks. Ratios mean more than times.\n\n{table}",
            args.repeats
        );
        Section::KERNEL.write(&lab.repo, &section)?;
        show::line("docs/benchmarks.md has the new table");
    }
    Ok(good)
}
