// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scenarios in virtual machines, side by side: a machine keeps one processor busy most
//! of the time, and waits now and then.

use std::collections::VecDeque;
use std::fs;
use std::sync::mpsc;

use anyhow::{Context as _, Result};
use luo_lab::interrupt;
use luo_lab::judge::Case;
use luo_lab::lab::Lab;
use luo_lab::run::qemu::{self, Recording};
use luo_lab::run::scenario::Scenario;
use luo_lab_protocol::Event;

use super::entry::Stage;
use super::report::Report;
use crate::show;
use crate::tally::Tally;

/// How many run at once if nobody says.
pub(super) fn default_jobs() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors / 2 + 1
}

/// Runs them, what takes longest first. What each has said is shown when it has ended.
///
/// # Errors
/// A signal arrives.
pub(super) fn run(
    lab: &Lab,
    scenarios: &[Scenario],
    jobs: usize,
    report: &mut Report,
) -> Result<()> {
    let mut queue = Queue::new(scenarios, available_memory());
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        loop {
            interrupt::check()?;
            while queue.running < jobs
                && let Some(scenario) = queue.next()
            {
                match lab.machine(scenario, false) {
                    Ok(machine) => {
                        show::line(&format!("started {}: {}", scenario.name, scenario.proves));
                        let sender = sender.clone();
                        scope.spawn(move || {
                            let ran = qemu::run(&machine, |_| {});
                            // The other side waits for each.
                            let _ = sender.send((scenario, ran));
                        });
                    }
                    Err(error) => {
                        queue.ended(scenario);
                        could_not_run(scenario, &error, report);
                    }
                }
                interrupt::check()?;
            }
            if queue.running == 0 {
                return Ok(());
            }
            let (scenario, ran) = receiver.recv().context("no machine is left")?;
            queue.ended(scenario);
            interrupt::check()?;
            match ran.and_then(|recording| Ok((lab.cases(scenario, &recording)?, recording))) {
                Ok((cases, recording)) => ended(scenario, cases, &recording, report),
                Err(error) => could_not_run(scenario, &error, report),
            }
        }
    })
}

fn ended(scenario: &Scenario, cases: Vec<Case>, recording: &Recording, report: &mut Report) {
    show::line("");
    let mut counted = Tally::default();
    for case in cases {
        show::case(&case);
        counted.add(case);
    }
    let mut result = counted.summary();
    for event in &recording.events {
        if let Event::Sample {
            metric,
            n,
            value,
            unit,
        } = &event.what
        {
            let figure = format!("{metric} at {n}: {value:.0} {unit}");
            show::line(&figure);
            result += &format!("; {figure}");
        }
    }
    show::line(&format!(
        "{} took {:.1} s, and {:.0} s of a processor ({} as declared)",
        scenario.name,
        recording.took.as_secs_f64(),
        recording.processor.as_secs_f64(),
        scenario.cost
    ));
    report.remember(Stage::Machines, &scenario.name, recording.took, result);
    report.tally.merge(counted);
}

/// Not a case of its own, but nothing of the scenario was seen either.
fn could_not_run(scenario: &Scenario, error: &anyhow::Error, report: &mut Report) {
    let name = format!("{}::could not run", scenario.name);
    report.case(Case::failed(name, format!("{error:#}")));
}

/// What is left to run.
struct Queue<'a> {
    left: VecDeque<&'a Scenario>,
    running: usize,
    /// In MiB, of what the machine had at the beginning.
    memory: u32,
}

impl<'a> Queue<'a> {
    fn new(scenarios: &'a [Scenario], memory: u32) -> Self {
        let mut left: Vec<_> = scenarios.iter().collect();
        left.sort_by_key(|scenario| std::cmp::Reverse(scenario.cost));
        Self {
            left: left.into(),
            running: 0,
            memory,
        }
    }

    /// The next one for which there is memory; one alone is always tried.
    fn next(&mut self) -> Option<&'a Scenario> {
        let fits = |scenario: &&Scenario| self.running == 0 || scenario.memory <= self.memory;
        let index = self.left.iter().position(fits)?;
        let scenario = self.left.remove(index)?;
        self.running += 1;
        self.memory = self.memory.saturating_sub(scenario.memory);
        Some(scenario)
    }

    fn ended(&mut self, scenario: &Scenario) {
        self.running -= 1;
        self.memory = self.memory.saturating_add(scenario.memory);
    }
}

/// MiB that this machine has left; plenty if it does not tell.
fn available_memory() -> u32 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = text
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemAvailable:")?
                .trim()
                .strip_suffix(" kB")
        })
        .and_then(|number| number.trim().parse::<u64>().ok());
    kibibytes.map_or(u32::MAX, |kibibytes| {
        u32::try_from(kibibytes / 1024).unwrap_or(u32::MAX)
    })
}

#[cfg(test)]
mod tests {
    use luo_lab::run::scenarios;

    use super::*;

    fn scenario(name: &str, cost: u32, memory: u32) -> Scenario {
        let mut scenario = scenarios::find("demo", 1).unwrap();
        scenario.name = name.to_owned();
        (scenario.cost, scenario.memory) = (cost, memory);
        scenario
    }

    #[test]
    fn the_longest_goes_first_and_what_does_not_fit_waits() {
        let scenarios = [
            scenario("short", 1, 100),
            scenario("huge", 3, 900),
            scenario("long", 9, 600),
        ];
        let mut queue = Queue::new(&scenarios, 1000);
        let name = |next: Option<&Scenario>| next.map(|scenario| scenario.name.clone());
        assert_eq!(name(queue.next()).as_deref(), Some("long"));
        assert_eq!(name(queue.next()).as_deref(), Some("short"));
        assert_eq!(name(queue.next()), None);
        queue.ended(&scenarios[2]);
        assert_eq!(name(queue.next()).as_deref(), Some("huge"));
        queue.ended(&scenarios[0]);
        queue.ended(&scenarios[1]);
        assert_eq!((queue.running, queue.memory), (0, 1000));
    }

    #[test]
    fn one_alone_is_tried_on_a_small_machine() {
        let scenarios = [scenario("big", 1, 5000)];
        let mut queue = Queue::new(&scenarios, 100);
        assert!(queue.next().is_some());
        queue.ended(&scenarios[0]);
    }
}
