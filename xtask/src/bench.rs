// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench`: mainline's orchestrator and ours, measured in turn.

use anyhow::{Result, bail};
use luo_lab::bench::counts::{self, Counts};
use luo_lab::bench::kernel::{Samples, VARIANTS};
use luo_lab::judge::{self, Case};
use luo_lab::lab::Lab;
use luo_lab::page::Section;
use luo_lab::profile::{listing, shares};
use luo_lab::run::load::{ASKED, LOADS, Load, OF_THE_GATE};
use luo_lab::run::qemu::Recording;
use luo_lab::run::scenario::{Clock, Scenario};
use luo_lab::run::scenarios;
use luo_lab_protocol::Outcome;

use crate::show;

/// The kernels whose instructions the gate counts, in the order of [`VARIANTS`].
const OF_TESTS: [&str; 2] = ["c", "rust"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often times are taken; the median counts
    #[arg(long, default_value_t = 1)]
    repeats: u32,
    /// Agree on the counts, the gate's too, and replace the tables in docs/benchmarks.md; with
    /// --profile, that of the rows that cost more than they were to
    #[arg(long)]
    write: bool,
    /// Say instead which functions of the kernels take the instructions of a row, as FINISH; of
    /// all rows, if none is named
    #[arg(long, value_name = "ROW", num_args = 0..=1, default_missing_value = "")]
    profile: Option<String>,
    /// Of the kernels of the tests, which have checks that take instructions, too
    #[arg(long, requires = "profile", conflicts_with = "write")]
    of_tests: bool,
    /// Of this load only, as 2x2; some are measured only so, as 512M-runs
    #[arg(long, value_name = "LOAD", requires = "profile")]
    load: Option<String>,
}

pub(crate) fn run(lab: &Lab, args: &Args) -> Result<bool> {
    if let Some(row) = &args.profile {
        return profile(lab, args, row);
    }
    let mut bench = Bench {
        lab,
        good: true,
        agreed: Counts::new(lab.compilers()?),
        write: args.write,
    };
    lab.kernels(&VARIANTS)?;
    if args.write {
        lab.kernels(&OF_TESTS)?;
        for variant in OF_TESTS {
            bench.count(variant, OF_THE_GATE)?;
        }
    }
    let mut counted = Samples::default();
    for load in LOADS {
        for variant in VARIANTS {
            let recording = bench.count(variant, load)?;
            counted.add(variant, load, &recording)?;
        }
    }
    if counted.is_empty() {
        bail!(
            "nothing was measured: run `cargo xtask vm run count-bench-rust-2x2 --show-console` to see why"
        );
    }
    let mut timed = Samples::default();
    for _ in 0..args.repeats {
        for load in LOADS {
            // In turn, so that a slow minute of the machine hits both.
            for variant in VARIANTS {
                let recording = bench.measure(variant, load, Clock::Host)?.1;
                timed.add(variant, load, &recording)?;
            }
        }
    }
    let (counted, timed) = (counted.table(), timed.ratios());
    show::line(&format!("\n{counted}\n{timed}"));
    if args.write && bench.good {
        let before = Counts::read(&lab.repo);
        let apart =
            before.map_or_else(|_| String::new(), |before| bench.agreed.apart_from(&before));
        bench.agreed.write(&lab.repo)?;
        let mut section = format!(
            "Made by `cargo xtask bench --write`. Instructions:\n\n{counted}\n\
             Time, as ratios of {}:\n\n{timed}",
            match args.repeats {
                1 => "one run each".to_owned(),
                repeats => format!("the medians of {repeats} runs each"),
            }
        );
        if !apart.is_empty() {
            section += &format!(
                "\nThe counts of this run against those of the run before, by kernel. In ours \
                 is what has changed since then:\n\n{apart}"
            );
        }
        Section::KERNEL.write(&lab.repo, &section)?;
        show::line("docs/benchmarks.md has the new tables, lab/golden the new counts");
    }
    Ok(bench.good)
}

/// Looks at the functions that a row's instructions are spent in.
fn profile(lab: &Lab, args: &Args, row: &str) -> Result<bool> {
    let wanted: Vec<&Load> = match &args.load {
        None => LOADS.iter().collect(),
        Some(name) => {
            let all = LOADS.iter().chain(ASKED);
            all.filter(|load| load.name == name).collect()
        }
    };
    let variants = if args.of_tests { OF_TESTS } else { VARIANTS };
    let mut rows = Vec::new();
    lab.kernels(&variants)?;
    for load in wanted {
        let [theirs, ours] = variants.map(|variant| {
            let scenario = scenarios::bench(variant, load, Clock::Instructions);
            show::line(&scenario.name);
            let (recording, profiles) = lab.profile(&scenario)?;
            let cases = judge::cases(&scenario, &recording)?;
            match cases.iter().find(|case| case.outcome == Outcome::Failed) {
                Some(case) => bail!("{}: {}", case.name, case.detail),
                None => Ok(profiles),
            }
        });
        for (theirs, ours) in theirs?.into_iter().zip(ours?) {
            if row.is_empty() || ours.metric == row {
                show::line(&listing::text(load.words, variants, [&theirs, &ours]));
                rows.push((load, theirs, ours));
            }
        }
    }
    if rows.is_empty() {
        bail!("there is no such row or load; docs/benchmarks.md has all rows");
    }
    let table = shares::table(&rows);
    show::line(&table);
    if args.write {
        if !row.is_empty() || args.load.is_some() {
            bail!("a part of the table is not written: name no row and no load");
        }
        let section = format!("Made by `cargo xtask bench --profile --write`:\n\n{table}");
        Section::PROFILE.write(&lab.repo, &section)?;
        show::line("docs/benchmarks.md has the new table");
    }
    Ok(true)
}

struct Bench<'a> {
    lab: &'a Lab,
    /// Nothing has failed so far.
    good: bool,
    /// What has been counted, to be agreed on.
    agreed: Counts,
    write: bool,
}

impl Bench<'_> {
    /// Counts instructions, and compares with what is agreed on unless that is to change.
    fn count(&mut self, variant: &'static str, load: &'static Load) -> Result<Recording> {
        let (scenario, recording) = self.measure(variant, load, Clock::Instructions)?;
        if self.write {
            self.agreed.agree(variant, load, counts::of(&recording));
        } else {
            let cases = self.lab.counted(&scenario, &recording)?;
            self.failures(&cases);
        }
        Ok(recording)
    }

    /// One run, which has to go well.
    fn measure(
        &mut self,
        variant: &'static str,
        load: &'static Load,
        clock: Clock,
    ) -> Result<(Scenario, Recording)> {
        let scenario = scenarios::bench(variant, load, clock);
        show::line(&scenario.name);
        let recording = self.lab.run(&scenario, false, |_| {})?;
        let cases = judge::cases(&scenario, &recording)?;
        self.failures(&cases);
        Ok((scenario, recording))
    }

    fn failures(&mut self, cases: &[Case]) {
        for case in cases.iter().filter(|case| case.outcome == Outcome::Failed) {
            self.good = false;
            show::case(case);
        }
    }
}
