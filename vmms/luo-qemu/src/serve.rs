// SPDX-License-Identifier: MIT OR Apache-2.0
//! The life of the workload between two updates.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use luo_client::Session;
use luo_client::agent::{self, Event, EventKind, Refusal, Workload};
use luo_client::memory::Regions;
use luo_monitor::point::Point;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::about::About;
use crate::begin::{self, Begun, is_lost};
use crate::carry;
use crate::disks::Found;
use crate::exit::{self, Error};
use crate::gap;
use crate::guest::{ANSWER, Ended, Guest};
use crate::guest_agent;
use crate::resume::{Left, Place, resume};
use crate::room::Room;
use crate::told::Told;

/// Between two attempts to reach an agent that was lost.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one attempt may take: the guest waits meanwhile if it has something to tell.
const ATTEMPT: Duration = Duration::from_millis(500);

/// A guest as a workload.
pub struct Service<'a> {
    room: &'a Room,
    told: &'a Told<'a>,
    workload: Workload,
    /// It is gone only while the guest stands still with its state written.
    guest: Option<Guest>,
    regions: Regions,
    session: Session,
    about: About,
    /// What the workload says of itself.
    words: String,
    /// RAM and room for the state are in the session.
    is_preserved: bool,
    /// The guest stands still for an update: whether its state is written.
    standing: Option<bool>,
    /// The agent is there.
    has_agent: bool,
    /// The guest was asked to shut down.
    has_asked: bool,
    /// The guest has gone on, and is to be told the time.
    has_stood_still: bool,
    /// Where it is said what came of telling it.
    telling: Option<UnixStream>,
}

impl<'a> Service<'a> {
    /// A guest that is there.
    pub fn new(room: &'a Room, told: &'a Told<'a>, workload: Workload, begun: Begun) -> Self {
        Self {
            room,
            told,
            workload,
            guest: Some(begun.guest),
            regions: begun.regions,
            session: begun.session,
            about: begun.about,
            words: begun.words,
            is_preserved: false,
            standing: None,
            has_agent: true,
            has_asked: false,
            has_stood_still: begun.stood_still,
            telling: None,
        }
    }

    /// Takes part in updates until the guest has ended; gives how.
    ///
    /// # Errors
    /// [`Error`].
    pub fn run(mut self, signals: &UnixStream) -> Result<Ended, Error> {
        let found = self.look();
        for obstacle in found.obstacles {
            (self.told.say)(&format!("an update would be refused: {obstacle}"));
        }
        self.warn(&found.warnings);
        loop {
            if let Some(ended) = self.look_at_guest() {
                self.leave(&ended);
                return Ok(ended);
            }
            self.look_at_clock();
            if self.look_at_agent()? {
                continue;
            }
            if self.wait(signals)?
                && let Some(ended) = self.asked_to_end(signals)
            {
                return Ok(ended);
            }
        }
    }

    fn look(&mut self) -> Found {
        let Some(guest) = &mut self.guest else {
            return Found::default();
        };
        guest.look(&self.about).unwrap_or_else(|why| Found {
            obstacles: vec![format!("QEMU: {why}")],
            ..Found::default()
        })
    }

    fn warn(&self, warnings: &[String]) {
        for warning in warnings {
            (self.told.say)(&format!("for an update: {warning}"));
        }
    }

    /// Tells of what QEMU has told; gives how it has ended, if that is the end of the guest.
    fn look_at_guest(&mut self) -> Option<Ended> {
        let guest = self.guest.as_mut()?;
        for line in guest.news() {
            (self.told.say)(&line);
        }
        let ended = guest.ended()?;
        (self.told.say)(&ended.reason);
        if self.standing != Some(true) {
            return Some(ended);
        }
        // The guest is in memory now, and needs no QEMU.
        (self.told.say)(
            "its state is written: the guest goes on with the update, or when it is off",
        );
        self.guest = None;
        None
    }

    /// Has the guest told that its clock stood still, if an agent in it can be told, and says what came of
    /// that. Nobody waits for it.
    fn look_at_clock(&mut self) {
        if std::mem::take(&mut self.has_stood_still) {
            let About {
                arguments, folder, ..
            } = &self.about;
            let told = guest_agent::socket(arguments, folder).map(guest_agent::tell_the_time);
            match told.transpose() {
                Ok(telling) => self.telling = telling,
                Err(why) => (self.told.say)(&format!("the guest's agent is not asked: {why}")),
            }
        }
        let Some(telling) = &mut self.telling else {
            return;
        };
        let mut fds = [PollFd::new(&*telling, PollFlags::IN)];
        if poll(&mut fds, Some(&Timespec::default())) != Ok(1) {
            return;
        }
        // It is written as one, and short.
        let mut line = [0; 1024];
        let count = rustix::io::read(&*telling, &mut line).unwrap_or_default();
        let line = line.get(..count).unwrap_or_default();
        if !line.is_empty() {
            (self.told.say)(&String::from_utf8_lossy(line));
        }
        self.telling = None;
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
                Err(why) if is_lost(&why) => return Ok(false),
                // It is in an update, or has not yet seen that the connection is over.
                Err(agent::Error::Refused(
                    Refusal::UpdateUnderWay { .. } | Refusal::WorkloadTaken { .. },
                )) => return Ok(false),
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
        let end = Instant::now() + Duration::from_millis(event.deadline_ms).mul_f32(0.8);
        let done = match event.kind {
            EventKind::Prepare => {
                (self.told.reach)(Point::Prepare);
                self.prepare()
            }
            EventKind::Freeze => {
                (self.told.reach)(Point::Freeze);
                self.freeze(end)
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
            Ok(()) if done.is_err() => Ok(()),
            Ok(()) => {
                (self.told.reach)(match event.kind {
                    EventKind::Freeze => Point::Frozen,
                    _ => Point::Ready,
                });
                Ok(())
            }
            // The answer was late: a cancel is the next event.
            Err(agent::Error::Refused(_)) => Ok(()),
            Err(why) => self.lost(&why),
        }
    }

    /// Preserves RAM and room for the state, while the guest runs.
    fn prepare(&mut self) -> Result<(), String> {
        let found = self.look();
        self.warn(&found.warnings);
        if !found.obstacles.is_empty() {
            return Err(found.obstacles.join("; "));
        }
        // What an update that was called off has preserved is so still.
        if !self.is_preserved {
            let preserved = self.regions.preserve_into(&self.session);
            preserved.map_err(|why| format!("the guest's memory cannot be preserved: {why}"))?;
            self.is_preserved = true;
        }
        (self.told.reach)(Point::Preserved);
        Ok(())
    }

    /// Stops the guest, and writes its state. If that does not work it goes on.
    fn freeze(&mut self, end: Instant) -> Result<(), String> {
        let frozen = self.stop(end);
        frozen.map_err(|why| {
            let gone_on = self.go_on();
            match gone_on {
                Ok(()) => why.to_string(),
                Err(then) => format!("{why}; and then: {then}"),
            }
        })
    }

    fn stop(&mut self, end: Instant) -> Result<(), Error> {
        let gone = || Error::Ended("before the freeze".into());
        let guest = self.guest.as_mut().ok_or_else(gone)?;
        let status = guest.status(end)?;
        let ran = match &*status {
            "running" | "suspended" => true,
            "paused" | "postmigrate" => false,
            status => {
                return Err(Error::Ended(format!(
                    "not yet, but the guest is in the state '{status}'"
                )));
            }
        };
        if ran {
            self.room.set_stopped(true)?;
        }
        self.standing = Some(false);
        let stopped = self.told.clock.moment();
        guest.qmp().call("stop", serde_json::json!({}), end)?;
        (self.told.reach)(Point::Stopped);
        let none = || Error::Ended("there is no room for the state".into());
        let state = self.regions.get(begin::STATE).ok_or_else(none)?;
        let bytes = carry::save(guest, state, ran, end)?;
        gap::note(state, &stopped).map_err(Error::system("the guest's state"))?;
        self.standing = Some(true);
        (self.told.reach)(Point::Saved);
        (self.told.say)(&format!("the guest's state is written: {bytes} bytes"));
        Ok(())
    }

    /// Lets the guest go on, if it was stopped for an update.
    fn go_on(&mut self) -> Result<(), Error> {
        let Some(is_written) = self.standing.take() else {
            return Ok(());
        };
        let none = || Error::Ended("there is no room for the state".into());
        let state = self.regions.get(begin::STATE).ok_or_else(none)?;
        let head = carry::head(state)?.filter(|_| is_written);
        // From here on the state is not the guest's any more.
        carry::forget(state)?;
        if let Some(guest) = &mut self.guest {
            if !self.room.is_stopped() {
                // It stood still before the update, too.
                return Ok(());
            }
            match guest.go_on() {
                Ok(()) => {
                    self.has_stood_still = true;
                    return self.room.set_stopped(false);
                }
                Err(_) if guest.ended_while_it_stood() => {}
                // How QEMU has ended is seen and told next.
                Err(why) => {
                    (self.told.say)(&format!("the guest does not go on: {why}"));
                    return Ok(());
                }
            }
        }
        let Some(head) = head else {
            return Ok(());
        };
        (self.told.say)("QEMU has ended, and the guest goes on in a new one");
        carry::remember(state, &head)?;
        self.resume_here()
    }

    /// QEMU has ended while the guest stood still: a new one goes on from the state, in this
    /// kernel.
    fn resume_here(&mut self) -> Result<(), Error> {
        self.guest = None;
        let none = || Error::NotResumed("its memory or its state is missing".into());
        let ram = self.regions.get(begin::RAM).ok_or_else(none)?;
        let state = self.regions.get(begin::STATE).ok_or_else(none)?;
        let lives = || Error::NotResumed("another QEMU lives".into());
        let lock = self.room.vacant()?.ok_or_else(lives)?;
        let left = Left {
            about: &self.about,
            ram: ram.file(),
            state,
        };
        let (guest, _) = resume(self.room, left, Place::Vacant(lock), self.told)?;
        carry::forget(state)?;
        self.guest = Some(guest);
        self.has_stood_still = true;
        Ok(())
    }

    /// Waits until something happens; says whether it is a signal.
    fn wait(&self, signals: &UnixStream) -> Result<bool, Error> {
        let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
        if self.has_agent {
            fds.push(PollFd::new(&self.workload, PollFlags::IN));
        }
        if let Some(telling) = &self.telling {
            fds.push(PollFd::new(telling, PollFlags::IN));
        }
        let (qmp, process) = match &self.guest {
            Some(guest) => {
                let (qmp, process) = guest.descriptors();
                (qmp, Some(process))
            }
            None => (None, None),
        };
        for fd in [&qmp, &process].into_iter().flatten() {
            fds.push(PollFd::new(fd, PollFlags::IN));
        }
        let pause = Timespec {
            tv_sec: PAUSE.as_secs().try_into().unwrap_or(1),
            tv_nsec: 0,
        };
        let time = (!self.has_agent).then_some(&pause);
        match poll(&mut fds, time) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(why) => return Err(Error::system("poll")(why.into())),
        }
        let signal = fds.first();
        Ok(signal.is_some_and(|fd| !fd.revents().is_empty()))
    }

    /// A signal: the guest is asked to shut down, and at the second one QEMU is told to quit.
    /// While the guest stands still for an update nothing is touched: the machine shuts down, and
    /// what is preserved is the agent's to keep.
    fn asked_to_end(&mut self, signals: &UnixStream) -> Option<Ended> {
        // Each byte is a signal; more than these are not different.
        let _ = rustix::io::read(signals, &mut [0; 16]);
        if self.standing.is_some() {
            return Some(Ended {
                code: exit::DONE,
                reason: "ended by a signal; the guest stands still, in preserved memory".into(),
            });
        }
        let guest = self.guest.as_mut()?;
        let (done, what) = if std::mem::replace(&mut self.has_asked, true) {
            (guest.quit(), "QEMU is told to quit")
        } else {
            (guest.power_down(), "the guest is asked to shut down")
        };
        match done {
            Ok(()) => (self.told.say)(&format!("a signal: {what}")),
            // It ends already, which is seen next.
            Err(why) => (self.told.say)(&format!("a signal: QEMU: {why}")),
        }
        None
    }

    /// Leaves the agent in an orderly way, if no update is under way. In one it is told why, if
    /// it asks; else it sees that this workload is gone, and calls the update off.
    fn leave(&mut self, ended: &Ended) {
        if !self.has_agent {
            return;
        }
        if let Ok(Some(event)) = self.workload.try_event()
            && event.kind != EventKind::Cancel
            && self.workload.veto(&event, &ended.reason).is_ok()
        {
            // The update is off; the next event says so, and then there is none.
            let _ = self.workload.next_event_within(ANSWER);
        }
        if let Err(why) = self.workload.unregister() {
            (self.told.say)(&format!("the agent: {why}"));
        }
    }
}
