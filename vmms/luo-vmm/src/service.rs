// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest as a workload: how it is stopped for an update, and goes on if that is called off.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use luo_client::memory::Region;
use luo_monitor::carry;
use luo_monitor::exit::Ended;
use luo_monitor::point::Point;
use luo_monitor::serve;
use luo_monitor::told::Told;

use crate::doorbell::Doorbell;
use crate::exit::Error;
use crate::machine::Machine;
use crate::preserved::Files;
use crate::state::KIND;

/// How long the end of a guest may take to be seen.
const END: Duration = Duration::from_secs(5);

/// How long its last words are waited for.
const WORDS: Duration = Duration::from_secs(1);

impl serve::Guest for Machine {
    type Error = Error;

    fn look(&mut self, stands: bool) -> Result<Option<Ended>, Error> {
        if self.running().is_some_and(|guest| guest.has_ended()) {
            if Self::stop(self, Instant::now() + END).is_err() {
                // One of its processors has stopped, and another one does not yet.
                return Ok(None);
            }
            if self.ended().is_none() && !stands {
                // It did stand still, but later than anybody waited for it.
                self.start()?;
            }
        }
        if self.running().is_some()
            && let Some(bell) = self.doorbell()
        {
            bell.answer()?;
        }
        Ok(self.ended().cloned())
    }

    fn has_news(&self) -> bool {
        self.said().has_news()
    }

    /// What of the guest's words is lost is said at once when it is the first, and then with each
    /// thing that happens.
    fn say_news(&mut self, told: &Told<'_>) {
        if let Some(words) = self.said().lost() {
            (told.say)(&words);
        }
    }

    fn say_last(&mut self, told: &Told<'_>) {
        self.said().settle(WORDS);
        self.say_news(told);
    }

    fn stop(&mut self, room: &Region, late: Instant, told: &Told<'_>) -> Result<usize, Error> {
        Self::stop(self, late)?;
        if let Some(ended) = self.ended() {
            return Err(Error::Guest(ended.reason.clone()));
        }
        (told.reach)(Point::Stopped);
        let state = self.save()?;
        Ok(carry::write(KIND, room, &state.encode())?)
    }

    /// Its clocks have gone on.
    fn go_on(&mut self, room: &Region) -> Result<(), Error> {
        // From here on the state is not the guest's any more.
        carry::forget(room)?;
        match self.ended() {
            // That is seen next.
            Some(_) => Ok(()),
            None => self.start(),
        }
    }

    fn files(&self) -> Files<'_> {
        Self::files(self)
    }

    /// Nobody listens to the doorbell of a guest that stands still: what was rung stays in its
    /// eventfd, and goes over the jump there.
    fn watched(&self) -> Vec<BorrowedFd<'_>> {
        let mut watched = vec![self.said().news()];
        if let Some(guest) = self.running() {
            watched.push(guest.end());
            watched.extend(self.doorbell().map(Doorbell::rung));
        }
        watched
    }
}
