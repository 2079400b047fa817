// SPDX-License-Identifier: MIT OR Apache-2.0
//! Takes a slot, before an update.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use luo_fleetlock::client::Error;
use luo_fleetlock::lock::ClientParams;
use luo_fleetlock::report::{Asking, Ending, Report};
use luo_varlink::{HistoryEntry, Target};
use luod::decide::config::Config;
use luod::decide::fleet::Fleet;

use super::came::{Came, came};
use super::settings::{client, failed, read, who};
use super::store::{Lock, Slot, Store};
use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// The longest that is waited before the server is asked again.
const LONGEST: Duration = Duration::from_secs(300);

/// The least.
const LEAST: Duration = Duration::from_secs(1);

/// Takes a slot.
#[derive(Debug)]
pub struct Taker {
    fleet: Fleet,
    who: ClientParams,
    asking: Asking,
    before: Option<String>,
    store: Store,
    lock: Lock,
    /// The note that there was already: the machine may have a slot.
    previous: Option<Slot>,
    /// An answer may have been lost: the machine may have a slot since.
    may_have: bool,
}

/// A slot that is taken.
#[derive(Debug)]
pub struct Taken {
    fleet: Fleet,
    who: ClientParams,
    store: Store,
    _lock: Lock,
}

/// What a server has answered.
#[derive(Debug)]
pub enum Answer {
    /// The machine has a slot.
    Taken(Box<Taken>),
    /// Not now: why, and when to ask again.
    Wait(Box<Taker>, String, Duration),
}

/// The release that the machine would jump into, if it can be told.
fn release(config: &Config, target: &Target) -> Option<String> {
    let mut target = config.complete(target);
    if target.image.is_none() {
        target = luod::kernel::resolve(target, &config.checks.root).ok()?.0;
    }
    let image = luo_preflight::image::read_file(Path::new(target.image.as_deref()?), &[]).ok()?;
    // A release is the first word of what an image says of itself.
    let release = image.release()?.split_whitespace().next()?;
    Some(release.to_owned())
}

impl Taker {
    /// Gets ready to ask. `luod` tells the last update, and the release that runs.
    ///
    /// # Errors
    /// There is no fleet, somebody else is at it, or the slot of the last update is not given
    /// back yet.
    pub fn new(
        path: &Path,
        target: &Target,
        luod: impl FnOnce() -> Result<(Vec<HistoryEntry>, String)>,
    ) -> Result<Self> {
        let (config, fleet) = read(path)?;
        let store = Store::new(&config.state_directory);
        let lock = store.lock().map_err(|why| store.failure(&why))?;
        let Some(lock) = lock else {
            let message = "another luoctl is at it: it asks for the slot, or gives it back";
            return Err(Failure::new(Exit::Refused, "fleet-busy", message)
                .next("nothing was changed; `luoctl fleet slot` says more"));
        };
        let (updates, running) = luod()?;
        let last = updates.first();
        let slot = store.read().map_err(|why| store.failure(&why))?;
        if let Some(slot) = &slot
            && let Came::Over(report) = came(last, slot.before.as_deref())
            && report.ending == Ending::Completed
        {
            let why = slot
                .trouble
                .as_deref()
                .unwrap_or("luoctl fleet keep has not done so yet");
            let message = format!("the slot of the last update is not given back: {why}");
            return Err(Failure::new(Exit::Refused, "fleet-slot", message)
                .next("`systemctl status luod-fleet` says whether `luoctl fleet keep` runs"));
        }
        Ok(Self {
            who: who(&fleet),
            fleet,
            asking: Asking {
                running: Some(running),
                target: release(&config, target),
            },
            before: last.map(|entry| entry.update.clone()),
            store,
            lock,
            previous: slot,
            may_have: false,
        })
    }

    /// Asks once.
    ///
    /// # Errors
    /// No server can be asked, or it will never say yes as things are: no update, then.
    pub fn ask(mut self) -> Result<Answer> {
        let client = client(&self.fleet).map_err(|why| failed(&why))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        let slot = Slot {
            asked_ms: now,
            before: self.before.clone(),
            ..Slot::default()
        };
        self.store
            .write(&slot)
            .map_err(|why| self.store.failure(&why))?;
        let asked = client.pre_reboot(&self.who, Some(self.asking.clone()));
        let why = match asked {
            Ok(()) => {
                return Ok(Answer::Taken(Box::new(Taken {
                    fleet: self.fleet,
                    who: self.who,
                    store: self.store,
                    _lock: self.lock,
                })));
            }
            Err(why) => why,
        };
        self.may_have |= !matches!(&why, Error::Refused { status, .. } if *status < 500);
        self.not_taken(slot)?;
        match &why {
            Error::Refused {
                status,
                refusal,
                again,
            } if !matches!(status, 400 | 401 | 403 | 404) => {
                let again = again.map_or(Duration::from_secs(15), Duration::from_secs);
                let again = again.clamp(LEAST, LONGEST);
                let words = refusal.value.clone();
                Ok(Answer::Wait(Box::new(self), words, again))
            }
            _ => Err(failed(&why)),
        }
    }

    /// The server has not said yes. A slot that there was before stays as it is; one that there
    /// may be, because an answer was lost, is to be given back; else there is none.
    fn not_taken(&self, mut slot: Slot) -> Result<()> {
        let noted = match &self.previous {
            Some(previous) => self.store.write(previous),
            None if self.may_have => {
                let mut report = Report::new(Ending::Cancelled);
                report.reason = Some("no update began".to_owned());
                slot.report = Some(report);
                self.store.write(&slot)
            }
            None => self.store.remove(),
        };
        noted.map_err(|why| self.store.failure(&why))
    }
}

impl Taken {
    /// The update did not take place: the slot is given back. If that does not work out now,
    /// `luoctl fleet keep` goes on with it.
    ///
    /// # Errors
    /// In words: it is not given back yet.
    pub fn cancelled(self, reason: &str) -> core::result::Result<(), String> {
        let mut report = Report::new(Ending::Cancelled);
        report.reason = Some(reason.to_owned());
        let mut slot = self.store.read().ok().flatten().unwrap_or_default();
        slot.report = Some(report.clone());
        self.store.write(&slot).map_err(|why| why.to_string())?;
        let client = client(&self.fleet).map_err(|why| why.to_string())?;
        let back = client.steady_state(&self.who, Some(report));
        back.map_err(|why| why.to_string())?;
        self.store.remove().map_err(|why| why.to_string())
    }
}
