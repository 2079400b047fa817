// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gives a slot back: when the update is completed and the health command has said yes for the
//! soak time, or when nothing has come of the update. It is tried for ever.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use luo_client::agent::Status;
use luo_fleetlock::client::Error;
use luo_fleetlock::report::{Ending, Report};
use luo_varlink::Phase;
use luod::decide::fleet::Fleet;

use super::came::{Came, came};
use super::health::{Soak, run};
use super::settings::{client, read, who};
use super::store::{Slot, Store};
use crate::failure::Result;

/// How often it is looked whether there is a slot.
const OFTEN: Duration = Duration::from_secs(2);

/// How long luod may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long is waited after the first failure to give back, and the longest.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(300);

/// Keeps a slot.
#[derive(Debug)]
pub struct Keeper {
    config: PathBuf,
    /// The folder of luod's sockets.
    sockets: PathBuf,
    soak: Soak,
    failures: u32,
}

/// What was done, and when to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is no slot, or somebody else is at it.
    Nothing,
    /// What it waits for, in words.
    Waits(String),
    /// It is given back.
    Back(Ending),
}

impl Keeper {
    /// Keeps the slot of the luod with this configuration and these sockets.
    #[must_use]
    pub fn new(config: &Path, sockets: &Path) -> Self {
        Self {
            config: config.to_owned(),
            sockets: sockets.to_owned(),
            soak: Soak::default(),
            failures: 0,
        }
    }

    /// Does what can be done now. Says what, and when to look again.
    ///
    /// # Errors
    /// The configuration or the note cannot be used.
    pub fn step(&mut self) -> Result<(Step, Duration)> {
        let (config, fleet) = read(&self.config)?;
        let store = Store::new(&config.state_directory);
        let Some(mut slot) = store.read().map_err(|why| store.failure(&why))? else {
            self.soak = Soak::default();
            return Ok((Step::Nothing, OFTEN));
        };
        let Some(_lock) = store.lock().map_err(|why| store.failure(&why))? else {
            return Ok((Step::Nothing, OFTEN));
        };
        // Whoever had the lock may have given it back.
        if store.read().map_err(|why| store.failure(&why))?.is_none() {
            return Ok((Step::Nothing, OFTEN));
        }
        let report = match (&slot.report, self.came(&slot)) {
            (Some(report), _) => report.clone(),
            (None, Ok(Some(report))) => report,
            (None, Ok(None)) => {
                let words = "the update is under way".to_owned();
                return Self::waits(&store, &mut slot, words, OFTEN);
            }
            (None, Err(words)) => return Self::waits(&store, &mut slot, words, OFTEN),
        };
        match report.ending {
            Ending::Cancelled => self.give_back(&store, &mut slot, &fleet, report),
            Ending::Completed => self.completed(&store, &mut slot, &fleet, report),
            Ending::Failed => {
                Self::tell(&mut slot, &fleet, &report);
                let words = report.reason.unwrap_or_default();
                let id = who(&fleet).id;
                let words = format!(
                    "the update failed ({words}); see to it, and then have an administrator say \
                     `luoctl fleet release {id} --reason TEXT`, unless that was done: the next update \
                     takes a slot anew"
                );
                Self::waits(&store, &mut slot, words, 5 * OFTEN)
            }
        }
    }

    /// What came of the update, as luod tells it; none while it is under way.
    fn came(&self, slot: &Slot) -> core::result::Result<Option<Report>, String> {
        let words = |why: &dyn core::fmt::Display| format!("luod cannot be asked: {why}");
        let mut status =
            Status::connect_within(&self.sockets, PATIENCE).map_err(|why| words(&why))?;
        status.set_timeout(Some(PATIENCE));
        let past = status.past(1).map_err(|why| words(&why))?;
        if let Some(why) = &past.unreadable {
            return Err(format!(
                "luod cannot tell what came of the update: its record cannot be read ({why})"
            ));
        }
        match came(past.updates.first(), slot.before.as_deref()) {
            Came::Over(report) => Ok(Some(report)),
            Came::UnderWay => Ok(None),
            Came::Nothing => {
                if let Some(problem) = past.problems.iter().flatten().next() {
                    return Err(format!(
                        "luod cannot tell what came of the update: {problem}"
                    ));
                }
                if status.get().map_err(|why| words(&why))?.phase != Phase::Normal {
                    return Ok(None);
                }
                let mut report = Report::new(Ending::Cancelled);
                report.reason = Some("no update began".to_owned());
                Ok(Some(report))
            }
        }
    }

    fn completed(
        &mut self,
        store: &Store,
        slot: &mut Slot,
        fleet: &Fleet,
        report: Report,
    ) -> Result<(Step, Duration)> {
        let healthy = run(&fleet.health, fleet.health_timeout.0);
        let soak = fleet.soak.map_or(Duration::ZERO, |soak| soak.0);
        let left = self.soak.said(healthy.is_ok(), Instant::now(), soak);
        match (healthy, left) {
            (Ok(()), None) => self.give_back(store, slot, fleet, report),
            (Ok(()), Some(left)) => {
                let words = format!(
                    "the machine is healthy, and watched for {} s more",
                    left.as_secs()
                );
                Self::waits(store, slot, words, left.min(fleet.health_interval.0))
            }
            (Err(why), _) => {
                let mut failed = report;
                failed.ending = Ending::Failed;
                failed.reason = Some(why.clone());
                Self::tell(slot, fleet, &failed);
                Self::waits(store, slot, why, fleet.health_interval.0)
            }
        }
    }

    /// Tells the server once that the update failed. One that does not know such a report does
    /// not have to be told.
    fn tell(slot: &mut Slot, fleet: &Fleet, report: &Report) {
        if slot.is_reported {
            return;
        }
        let told =
            client(fleet).and_then(|client| client.report(&who(fleet), Some(report.clone())));
        slot.is_reported = match &told {
            Ok(()) => true,
            Err(why) => why.is_unknown_call(),
        };
    }

    fn give_back(
        &mut self,
        store: &Store,
        slot: &mut Slot,
        fleet: &Fleet,
        report: Report,
    ) -> Result<(Step, Duration)> {
        let ending = report.ending;
        let back: core::result::Result<(), Error> =
            client(fleet).and_then(|client| client.steady_state(&who(fleet), Some(report)));
        match back {
            Ok(()) => {
                store.remove().map_err(|why| store.failure(&why))?;
                (self.soak, self.failures) = (Soak::default(), 0);
                Ok((Step::Back(ending), OFTEN))
            }
            Err(why) => {
                let again = FIRST.saturating_mul(1 << self.failures.min(8)).min(LONGEST);
                self.failures = self.failures.saturating_add(1);
                let words = format!("the slot cannot be given back: {why}");
                Self::waits(store, slot, words, again)
            }
        }
    }

    fn waits(
        store: &Store,
        slot: &mut Slot,
        words: String,
        again: Duration,
    ) -> Result<(Step, Duration)> {
        slot.trouble = Some(words.clone());
        if store.read().map_err(|why| store.failure(&why))?.as_ref() != Some(slot) {
            store.write(slot).map_err(|why| store.failure(&why))?;
        }
        Ok((Step::Waits(words), again))
    }
}
