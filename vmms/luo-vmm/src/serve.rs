// SPDX-License-Identifier: MIT OR Apache-2.0
//! The life of the workload between two updates.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use luo_client::Session;
use luo_client::agent::{self, Event, EventKind, Refusal, Workload};
use luo_client::memory::Regions;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::begin::{self, Begun};
use crate::carry;
use crate::exit::{self, Error};
use crate::machine::Machine;
use crate::point::Point;
use crate::run::Ended;
use crate::told::Told;

/// Between two attempts to reach an agent that was lost.
const PAUSE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(500);

/// How long the end of a guest may take to be seen.
const END: Duration = Duration::from_secs(5);

/// How long its last words are waited for.
const WORDS: Duration = Duration::from_secs(1);

/// A guest as a workload.
pub struct Service<'a> {
    told: &'a Told<'a>,
    workload: Workload,
    machine: Machine,
    regions: Regions,
    session: Session,
    /// What the workload says of itself.
    words: String,
    /// RAM and room for the state are in the session.
    is_preserved: bool,
    /// The guest stands still for an update.
    stands: bool,
    /// The agent is there.
    has_agent: bool,
}

impl<'a> Service<'a> {
    /// A guest that runs.
    #[must_use]
    pub fn new(told: &'a Told<'a>, workload: Workload, begun: Begun) -> Self {
        Self {
            told,
            workload,
            machine: begun.machine,
            regions: begun.regions,
            session: begun.session,
            words: begun.words,
            is_preserved: false,
            stands: false,
            has_agent: true,
        }
    }

    /// Takes part in updates until the guest has ended; gives how.
    ///
    /// # Errors
    /// [`Error`].
    pub fn run(mut self, signals: &UnixStream) -> Result<Ended, Error> {
        loop {
            if let Some(ended) = self.look_at_guest()? {
                self.machine.said().settle(WORDS);
                self.tell_lost();
                self.leave(&ended.reason);
                return Ok(ended);
            }
            if self.machine.said().has_news() {
                self.tell_lost();
            }
            if self.look_at_agent()? {
                continue;
            }
            if self.wait(signals)? {
                let reason = "ended by a signal".to_owned();
                self.machine.said().settle(WORDS);
                self.tell_lost();
                if !self.stands {
                    self.leave(&reason);
                }
                let code = exit::DONE;
                return Ok(Ended { code, reason });
            }
        }
    }

    /// How the guest has ended, if it has: by itself, or when it was told to stand still.
    fn look_at_guest(&mut self) -> Result<Option<Ended>, Error> {
        let running = self.machine.running();
        if running.is_some_and(|guest| guest.has_ended()) {
            self.machine.stop(Instant::now() + END)?;
            if self.machine.ended().is_none() && !self.stands {
                // It did stand still, but later than anybody waited for it.
                self.machine.start()?;
            }
        }
        Ok(self.machine.ended().cloned())
    }

    /// Says what of the guest's words is lost: at once when it is the first, and then with each
    /// thing that happens.
    fn tell_lost(&self) {
        if let Some(words) = self.machine.said().lost() {
            (self.told.say)(&words);
        }
    }

    /// Does what the agent asks for; says whether there was something.
    fn look_at_agent(&mut self) -> Result<bool, Error> {
        if !self.has_agent {
            match self.workload.reconnect(ATTEMPT) {
                Ok(_) => {
                    self.has_agent = true;
                    // An agent that is lost again is seen next.
                    let _ = self.workload.describe(&self.words);
                    (self.told.say)("the agent is back");
                }
                // It is not there yet, or in an update.
                Err(why) if why.is_lost_agent() => {}
                Err(agent::Error::NoAgent { .. } | agent::Error::Refused(_)) => {}
                Err(why) => (self.told.say)(&format!("the agent: {why}")),
            }
            return Ok(false);
        }
        match self.workload.try_event() {
            Ok(Some(event)) => self.take(&event).map(|()| true),
            Ok(None) => Ok(false),
            Err(why) => self.lost(&why).map(|()| false),
        }
    }

    /// The agent is gone, and with it the update.
    fn lost(&mut self, why: &agent::Error) -> Result<(), Error> {
        self.has_agent = false;
        (self.told.say)(&format!("the agent is lost: {why}"));
        self.go_on()
    }

    fn take(&mut self, event: &Event) -> Result<(), Error> {
        self.tell_lost();
        let late = Instant::now() + Duration::from_millis(event.deadline_ms).mul_f32(0.8);
        let done = match event.kind {
            EventKind::Prepare => {
                (self.told.reach)(Point::Prepare);
                self.prepare()
            }
            EventKind::Freeze => {
                (self.told.reach)(Point::Freeze);
                self.freeze(late)?
            }
            EventKind::Cancel => {
                (self.told.reach)(Point::Cancel);
                let reason = event.reason.as_deref().unwrap_or("no reason was given");
                (self.told.say)(&format!("the update is called off: {reason}"));
                return self.go_on();
            }
        };
        let answered = match &done {
            Ok(()) => self.workload.ready(event),
            Err(reason) => {
                (self.told.say)(&format!("the update is refused: {reason}"));
                self.workload.veto(event, reason)
            }
        };
        match answered {
            Ok(()) => {
                if done.is_ok() {
                    (self.told.reach)(match event.kind {
                        EventKind::Freeze => Point::Frozen,
                        _ => Point::Ready,
                    });
                }
                Ok(())
            }
            // The answer was late: a cancel is the next event.
            Err(agent::Error::Refused(_)) => Ok(()),
            Err(why) => self.lost(&why),
        }
    }

    /// Preserves RAM and room for the state, while the guest runs.
    fn prepare(&mut self) -> Result<(), String> {
        // What an update that was called off has preserved is so still.
        if !self.is_preserved {
            let preserved = self.regions.preserve_into(&self.session);
            preserved.map_err(|why| format!("the guest's memory cannot be preserved: {why}"))?;
            self.is_preserved = true;
        }
        (self.told.reach)(Point::Preserved);
        Ok(())
    }

    /// Stops the guest, and writes its state. If that does not work the guest goes on, and the
    /// update is refused with a reason.
    fn freeze(&mut self, late: Instant) -> Result<Result<(), String>, Error> {
        let frozen = self.stop(late);
        if frozen.is_err() {
            self.go_on()?;
        }
        Ok(frozen.map_err(|why| why.to_string()))
    }

    fn stop(&mut self, late: Instant) -> Result<(), Error> {
        let began = Instant::now();
        self.stands = true;
        self.machine.stop(late)?;
        if let Some(ended) = self.machine.ended() {
            return Err(Error::Guest(ended.reason.clone()));
        }
        (self.told.reach)(Point::Stopped);
        let state = self.machine.save()?;
        let none = || Error::Guest("there is no room for its state".into());
        let room = self.regions.get(begin::STATE).ok_or_else(none)?;
        let bytes = carry::write(room, &state)?;
        (self.told.reach)(Point::Saved);
        (self.told.say)(&format!(
            "the guest's state is written: {bytes} bytes, {} ms",
            began.elapsed().as_millis()
        ));
        Ok(())
    }

    /// Lets the guest go on, if it was stopped for an update and has not ended. Its clocks have
    /// gone on.
    fn go_on(&mut self) -> Result<(), Error> {
        if !std::mem::take(&mut self.stands) {
            return Ok(());
        }
        // From here on the state is not the guest's any more.
        if let Some(room) = self.regions.get(begin::STATE) {
            carry::forget(room)?;
        }
        match self.machine.ended() {
            // That is seen next.
            Some(_) => Ok(()),
            None => self.machine.start(),
        }
    }

    /// Waits until something happens; says whether it is a signal.
    fn wait(&self, signals: &UnixStream) -> Result<bool, Error> {
        let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
        if self.has_agent {
            fds.push(PollFd::new(&self.workload, PollFlags::IN));
        }
        let news = self.machine.said().news();
        fds.push(PollFd::new(&news, PollFlags::IN));
        let end = self.machine.running().map(|guest| guest.end());
        if let Some(end) = &end {
            fds.push(PollFd::new(end, PollFlags::IN));
        }
        let time = (!self.has_agent).then_some(&PAUSE);
        match poll(&mut fds, time) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(why) => return Err(Error::system("poll")(why.into())),
        }
        let signal = fds.first();
        Ok(signal.is_some_and(|fd| !fd.revents().is_empty()))
    }

    /// Leaves the agent in an orderly way. In an update it is told why, if it asks; else it sees
    /// that this workload is gone, and calls the update off.
    fn leave(&mut self, reason: &str) {
        if !self.has_agent {
            return;
        }
        if let Ok(Some(event)) = self.workload.try_event()
            && event.kind != EventKind::Cancel
            && self.workload.veto(&event, reason).is_ok()
        {
            // The update is off; the next event says so, and then there is none.
            let _ = self.workload.next_event_within(END);
        }
        match self.workload.unregister() {
            Ok(()) | Err(agent::Error::Refused(Refusal::UpdateUnderWay { .. })) => {}
            Err(why) => (self.told.say)(&format!("the agent: {why}")),
        }
    }
}
