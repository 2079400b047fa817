// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host of a fleet: a machine of the simulator, with luod and a workload.

use std::path::Path;

use luo_varlink::{HistoryEntry, Outcome};
use luod::journal::history::History;

use super::wire::{Cut, Servers, wire};
use crate::machine::Machine;

/// What is wrong with a host, apart from its wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    /// The workload vetoes once.
    Vetoes,
    /// luoctl is killed when the update is prepared, once.
    IsKilled,
    /// The machine's power is lost when a workload is asked to prepare, once.
    LosesPower,
    /// luod is killed when a workload is asked to freeze, once.
    LosesLuodAmidst,
    /// luod is killed after the jump.
    LosesLuod,
    /// It is not healthy as long as a file is there.
    IsSick,
    /// It never comes back.
    IsLost,
    /// It asks once, and not again.
    AsksOnce,
}

/// A host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) id: String,
    pub(super) group: String,
    pub(super) fault: Fault,
    pub(super) cuts: Vec<Cut>,
}

/// A host without a fault.
pub(super) fn host(id: &str, group: &str) -> Host {
    Host {
        id: id.to_owned(),
        group: group.to_owned(),
        fault: Fault::None,
        cuts: Vec::new(),
    }
}

impl Host {
    pub(super) fn with(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }

    pub(super) fn cut(self, cuts: &[Cut]) -> Self {
        let cuts = cuts.to_vec();
        Self { cuts, ..self }
    }

    /// Runs it to its end. `sick` is the file that keeps it from being healthy, if it is that.
    pub(super) fn run(&self, servers: &Servers, number: usize, sick: &Path) -> Ran {
        let Self { id, group, .. } = self;
        let health = match self.fault {
            Fault::IsSick => format!(
                "health = [\"/bin/sh\", \"-c\", \"test ! -e {}\"]\nhealth_interval = 0.2\n",
                sick.display()
            ),
            _ => String::new(),
        };
        let wire = wire(servers, number, &self.cuts);
        let config = format!(
            "restore_deadline = 120\n[fleet]\nserver = \"{wire}\"\nid = \"{id}\"\n\
             group = \"{group}\"\ntimeout = 15\n{health}"
        );
        let before = match self.fault {
            Fault::Vetoes => format!("workload cache veto=prepare:busy\n{UPDATE}\nkills\n"),
            Fault::IsKilled => format!("workload cache\nkilled prepared {UPDATE}\n{KEEP}\nkills\n"),
            Fault::LosesLuodAmidst => format!(
                "workload cache hang=freeze stays\nbereaved asked-cache-to-freeze {UPDATE}\n\
                 wait running\n{KEEP}\nkills\n"
            ),
            _ => String::new(),
        };
        let jumps = match self.fault {
            Fault::AsksOnce => format!("{UPDATE} --no-wait\n"),
            _ => format!("jumps {UPDATE}\n"),
        };
        let mut machine = Machine::new(&config);
        if self.fault == Fault::LosesPower {
            let hangs = "workload cache hang=prepare";
            let resets = format!("resets asked-cache-to-prepare {UPDATE}");
            machine = machine.boot(&format!("luod\n{hangs}\n{resets}\n"));
        }
        machine = machine.boot(&format!("luod\n{before}workload cache\n{jumps}"));
        let comes_back = !matches!(self.fault, Fault::IsLost | Fault::AsksOnce);
        if comes_back {
            let after = match self.fault {
                Fault::LosesLuod => "restarts KILL\n",
                _ => "",
            };
            let after = format!("luod\n{after}workload cache claim\nwait normal\n{KEEP}\n");
            machine = machine.boot(&after);
        }
        let (outcome, log) = machine.run_once();
        let said = outcome.output();
        assert!(
            outcome.success() || self.fault == Fault::IsLost,
            "{id}: {:?}\n{said}\n{log}",
            outcome.ending
        );
        let past = History::in_directory(&machine.state()).last_of_all(99);
        Ran {
            host: self.clone(),
            updates: past.unwrap().updates,
            said,
        }
    }
}

const UPDATE: &str = "luoctl update --fleet --config FOLDER/luod.toml";
const KEEP: &str = "luoctl fleet keep --once --config FOLDER/luod.toml";

/// What came of a host.
pub(super) struct Ran {
    pub(super) host: Host,
    /// By luod's own history, the newest first.
    pub(super) updates: Vec<HistoryEntry>,
    pub(super) said: String,
}

impl Ran {
    /// Whether it has been updated, once.
    pub(super) fn is_updated(&self) -> bool {
        let completed = |entry: &&HistoryEntry| entry.outcome == Outcome::Completed;
        self.updates.iter().filter(completed).count() == 1
    }
}

/// The most hosts that were in an update at the same time, as their own histories have it. One that
/// is under way lasts for ever.
pub(super) fn most_at_once(ran: &[Ran], is: impl Fn(&Host) -> bool) -> i64 {
    let of = ran.iter().filter(|ran| is(&ran.host));
    let mut changes: Vec<(u64, i64)> = Vec::new();
    for entry in of.flat_map(|ran| &ran.updates) {
        let took = match entry.outcome {
            Outcome::UnderWay => u64::MAX,
            _ => entry.took_us.unwrap_or(0),
        };
        changes.push((entry.began_us, 1));
        changes.push((entry.began_us.saturating_add(took), -1));
    }
    changes.sort_unstable();
    let mut now = 0;
    let sums = changes.iter().map(|(_, change)| {
        now += change;
        now
    });
    sums.max().unwrap_or(0)
}
