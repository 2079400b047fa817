// SPDX-License-Identifier: MIT OR Apache-2.0
//! The life of a workload between two updates.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use luo_client::agent::{self, Event, EventKind, Refusal, Workload};
use luo_client::memory::{Region, Regions};
use luo_client::{Session, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::exit::{self, Ended, Error};
use crate::point::Point;
use crate::told::Told;

/// The region for a guest's state.
pub const STATE: &str = "state";

/// Between two attempts to reach an agent that was lost.
const PAUSE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(500);

/// How long the end of an update that was refused may take to be told.
const END: Duration = Duration::from_secs(5);

/// A guest that runs.
pub trait Guest {
    /// What can go wrong with it. It ends the monitor, if it is not the answer to an update.
    type Error: From<Error> + fmt::Display;

    /// How the guest has ended, if it has. `stands` is whether it stands still for an update.
    ///
    /// # Errors
    /// Its own.
    fn look(&mut self, stands: bool) -> Result<Option<Ended>, Self::Error>;

    /// Whether there is something to say at once.
    fn has_news(&self) -> bool {
        false
    }

    /// Says what there is to say, and waits for nothing.
    fn say_news(&mut self, _told: &Told<'_>) {}

    /// The guest has ended, or is about to: says what is left to say.
    fn say_last(&mut self, _told: &Told<'_>) {}

    /// Adds to the regions what is to be preserved and is not among them yet. The guest runs.
    ///
    /// # Errors
    /// Why the update is to be refused, in words.
    fn gather(&mut self, _regions: &mut Regions) -> Result<(), String> {
        Ok(())
    }

    /// Files that are preserved beside the regions, each with its token. They go before the regions,
    /// for the kernel may say that a region needs one of them.
    fn files(&self) -> Vec<(Token, BorrowedFd<'_>)> {
        Vec::new()
    }

    /// Has the guest stand still, and writes its state into `room`; gives the state's bytes.
    ///
    /// # Errors
    /// Its own: the update is refused for that reason, and [`Guest::go_on`] is called.
    fn stop(&mut self, room: &Region, late: Instant, told: &Told<'_>)
    -> Result<usize, Self::Error>;

    /// Lets a guest go on that was stopped for an update, or that did not stop. What `room` has
    /// is no longer its state.
    ///
    /// # Errors
    /// Its own.
    fn go_on(&mut self, room: &Region) -> Result<(), Self::Error>;

    /// What can be read from when there is something to look at.
    fn watched(&self) -> Vec<BorrowedFd<'_>>;
}

/// A guest as a workload.
pub struct Service<'a, G> {
    told: &'a Told<'a>,
    workload: Workload,
    guest: G,
    regions: Regions,
    session: Session,
    /// What the workload says of itself.
    words: String,
    /// Memory and room for the state are in the session.
    is_preserved: bool,
    /// The guest stands still for an update.
    stands: bool,
    /// The agent is there.
    has_agent: bool,
}

impl<'a, G: Guest> Service<'a, G> {
    /// A guest that runs; its memory and the room for its state ([`STATE`]); the session for the
    /// next kernel; and what the workload says of itself.
    #[must_use]
    pub fn new(
        told: &'a Told<'a>,
        workload: Workload,
        guest: G,
        regions: Regions,
        session: Session,
        words: String,
    ) -> Self {
        Self {
            told,
            workload,
            guest,
            regions,
            session,
            words,
            is_preserved: false,
            stands: false,
            has_agent: true,
        }
    }

    /// Takes part in updates until the guest has ended; gives how.
    ///
    /// # Errors
    /// The guest's, and [`Error`].
    pub fn run(mut self, signals: &UnixStream) -> Result<Ended, G::Error> {
        loop {
            if let Some(ended) = self.guest.look(self.stands)? {
                self.guest.say_last(self.told);
                self.leave(&ended.reason);
                return Ok(ended);
            }
            if self.guest.has_news() {
                self.guest.say_news(self.told);
            }
            if self.look_at_agent()? {
                continue;
            }
            if self.wait(signals)? {
                let reason = "ended by a signal".to_owned();
                self.guest.say_last(self.told);
                if !self.stands {
                    self.leave(&reason);
                }
                let code = exit::DONE;
                return Ok(Ended { code, reason });
            }
        }
    }

    /// Does what the agent asks for; says whether there was something.
    fn look_at_agent(&mut self) -> Result<bool, G::Error> {
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
    fn lost(&mut self, why: &agent::Error) -> Result<(), G::Error> {
        self.has_agent = false;
        (self.told.say)(&format!("the agent is lost: {why}"));
        self.go_on()
    }

    fn take(&mut self, event: &Event) -> Result<(), G::Error> {
        self.guest.say_news(self.told);
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

    /// Preserves memory and room for the state, while the guest runs.
    fn prepare(&mut self) -> Result<(), String> {
        // What an update that was called off has preserved is so still.
        if !self.is_preserved {
            self.guest.gather(&mut self.regions)?;
            preserve(&self.session, &self.guest.files(), &self.regions)?;
            self.is_preserved = true;
        }
        (self.told.reach)(Point::Preserved);
        Ok(())
    }

    /// Stops the guest, and writes its state. If that does not work the guest goes on, and the
    /// update is refused with a reason.
    fn freeze(&mut self, late: Instant) -> Result<Result<(), String>, G::Error> {
        let frozen = self.stop(late);
        if frozen.is_err() {
            self.go_on()?;
        }
        Ok(frozen.map_err(|why| why.to_string()))
    }

    fn stop(&mut self, late: Instant) -> Result<(), G::Error> {
        let began = Instant::now();
        self.stands = true;
        let bytes = self.guest.stop(room(&self.regions)?, late, self.told)?;
        (self.told.reach)(Point::Saved);
        (self.told.say)(&format!(
            "the guest's state is written: {bytes} bytes, {} ms",
            began.elapsed().as_millis()
        ));
        Ok(())
    }

    /// Lets the guest go on, if it was stopped for an update.
    fn go_on(&mut self) -> Result<(), G::Error> {
        if !std::mem::take(&mut self.stands) {
            return Ok(());
        }
        self.guest.go_on(room(&self.regions)?)
    }

    /// Waits until something happens; says whether it is a signal.
    fn wait(&self, signals: &UnixStream) -> Result<bool, G::Error> {
        let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
        if self.has_agent {
            fds.push(PollFd::new(&self.workload, PollFlags::IN));
        }
        let watched = self.guest.watched();
        fds.extend(watched.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let time = (!self.has_agent).then_some(&PAUSE);
        match poll(&mut fds, time) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(why) => return Err(Error::system("poll")(why.into()).into()),
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

/// Preserves files, and then regions; all of them, or none.
fn preserve(
    session: &Session,
    files: &[(Token, BorrowedFd<'_>)],
    regions: &Regions,
) -> Result<(), String> {
    let mut done = Vec::new();
    let mut all = || {
        for (token, file) in files {
            let preserved = session.preserve_fd(file, *token);
            preserved.map_err(|why| format!("file {token} cannot be preserved: {why}"))?;
            done.push(*token);
        }
        let preserved = regions.preserve_into(session);
        preserved.map_err(|why| format!("the guest's memory cannot be preserved: {why}"))
    };
    all().inspect_err(|_| {
        for token in done.into_iter().rev() {
            // The first error is told: it says what went wrong.
            let _ = session.unpreserve_fd(token);
        }
    })
}

/// The room for the state.
fn room(regions: &Regions) -> Result<&Region, Error> {
    let none =
        || Error::system("the room for the guest's state")(std::io::ErrorKind::NotFound.into());
    regions.get(STATE).ok_or_else(none)
}
