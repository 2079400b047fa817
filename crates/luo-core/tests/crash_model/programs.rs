// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What the clients and the agent do, and what they may be told.

use luo_abi::errno::Errno;
use luo_abi::rfc::State;
use luo_core::ops::{self, Needed};
use luo_core::{Error, SessionId};

use super::choice::{How, Place, Who, AGENT};
use super::oracle::Rule;
use super::schedule::{Control, Over};
use super::Broken;
use crate::support::{name, TestHost};

pub const NAMES: [&str; 2] = ["a", "b"];
/// Both clients use the same tokens.
pub const TOKENS: [u64; 2] = [7, 9];

pub const fn object_of(client: usize, file: usize) -> u64 {
    1 + 2 * client as u64 + file as u64
}

/// What the agent can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    Prepare,
    Freeze,
    Cancel,
    Reboot,
    /// The kexec takes place. Any other act after a reboot: it was refused.
    Jump,
    Finish,
    /// Nothing any more.
    Rest,
}

/// A program and the machine it runs on.
pub struct Scene<'a> {
    pub host: &'a TestHost,
    pub control: &'a Control,
    pub me: Who,
}

impl Scene<'_> {
    /// From its first turn to its end, or to the end of the run.
    pub fn run(&self) -> Result<(), Over> {
        self.control.begin(self.me)?;
        let after = self.control.run().oracle.after;
        match self.me {
            AGENT => self.agent(),
            _ if after => self.client_after(),
            _ => self.client_before(),
        }?;
        self.control.leave(self.host, self.me)
    }

    fn wrong(&self, rule: Rule, what: String) {
        self.control.run().oracle.note(rule, what);
    }

    /// An error that the client's own call explains: something was made to fail in it.
    fn explain(&self, what: &str, why: impl std::fmt::Debug, also: bool) {
        if !also && !self.control.was_faulted(self.me) {
            self.wrong(Rule::Refused, format!("{what} of {}: {why:?}", self.me));
        }
    }

    /// Between two calls; `at` is where in its program it is.
    fn between(&self, at: u64) -> Result<How, Over> {
        let killable = true;
        let place = Place::Between { at, killable };
        self.control.between(self.host, self.me, place)
    }

    /// Whether a file of the other client needs one of this client's.
    fn is_needed(&self, why: &Error) -> bool {
        self.control.config().across && matches!(why, Error::Needed { .. })
    }

    fn client_before(&self) -> Result<(), Over> {
        self.control.first(self.me);
        let session = match self.host.try_create(NAMES[self.me]) {
            Ok(session) => session,
            Err(why) => {
                let closed = matches!(why, Error::Prepared | Error::Frozen);
                self.explain("create", why, closed);
                return Ok(());
            }
        };
        {
            let mut run = self.control.run();
            let client = &mut run.oracle.clients[self.me];
            (client.made, client.session) = (true, Some(session));
        }
        let files = self.control.config().files[self.me];
        let mut killed = false;
        for file in 0..files {
            killed = self.between(30 + file as u64)? == How::Kill;
            if killed {
                break;
            }
            self.preserve(session, file);
        }
        let killed = killed || self.depend(session)? || self.freeze(session)?;
        if !killed {
            self.control.between(self.host, self.me, Place::Resting)?;
        }
        self.close_before(session);
        Ok(())
    }

    fn preserve(&self, session: SessionId, file: usize) {
        let object = object_of(self.me, file);
        let done = self.host.preserve(session, TOKENS[file], object);
        let mut run = self.control.run();
        let preserved = run.oracle.tally(self.me, file).preserved == 1;
        run.oracle.clients[self.me].told[file] = done.is_ok();
        if preserved != done.is_ok() {
            let what = format!("preserve says {done:?}, its handler {preserved}");
            run.oracle.note(Rule::Leaked, what);
        }
        drop(run);
        if let Err(why) = done {
            let closed = matches!(why, Error::Prepared | Error::Frozen);
            self.explain("preserve", why, closed);
        }
    }

    /// Declares that a file needs another; true if it is killed before.
    fn depend(&self, session: SessionId) -> Result<bool, Over> {
        let on = match (self.control.config().depend, self.me) {
            (true, 0) => Needed::Here(TOKENS[1]),
            (true, _) if self.control.config().across => Needed::In(name(NAMES[0]), TOKENS[1]),
            _ => return Ok(false),
        };
        if self.between(40)? == How::Kill {
            return Ok(true);
        }
        if let Err(why) = self.host.needs(session, TOKENS[0], on) {
            let told = self.control.run().oracle.clients[0].told;
            let missing = matches!(why, Error::NoToken | Error::NoSession);
            let closed = matches!(why, Error::Prepared | Error::Frozen);
            let missing = missing && (told != [true; 2] || self.me != 0);
            self.explain("depend", why, closed || missing);
        }
        Ok(false)
    }

    /// Freezes its session before the others are; true if it is killed before.
    fn freeze(&self, session: SessionId) -> Result<bool, Over> {
        if !self.control.config().early || self.me != 0 {
            return Ok(false);
        }
        if self.between(50)? == How::Kill {
            return Ok(true);
        }
        if let Err(why) = ops::freeze_session(self.host, session) {
            // Or the other has to be first, or has gone.
            let across = self.control.config().across && matches!(why, Error::NeededFirst { .. });
            self.explain("freeze", why, across || why == Error::Frozen);
        }
        Ok(false)
    }

    fn close_before(&self, session: SessionId) {
        self.control.run().oracle.clients[self.me].closing = true;
        if self.control.config().broken == Some(Broken::ForgetsToClose) {
            return;
        }
        if let Err(why) = self.host.close(session) {
            self.wrong(Rule::Leaked, format!("close: {why}"));
        }
        self.control.run().oracle.clients[self.me].closed = true;
    }

    fn client_after(&self) -> Result<(), Over> {
        self.control.first(self.me);
        let mut opened = self.host.open();
        let mut number = 10 + 20 * self.me as u32;
        while let Err(why) = opened {
            let went = self.control.run().oracle.handler_went;
            self.explain("open", why, went && matches!(why, Error::Refused(_)));
            if self.between(1 + u64::from(matches!(why, Error::Refused(_))))? == How::Kill {
                return Ok(());
            }
            // A handler that is registered makes it worth trying again.
            if matches!(why, Error::Refused(_)) {
                self.host.register(number);
                number += 1;
            }
            opened = self.host.open();
        }
        if self.between(3)? == How::Kill {
            return Ok(());
        }
        let handed = self.control.run().oracle.clients[self.me].handed;
        let session = match self.host.claim(NAMES[self.me]) {
            Ok(session) => session,
            Err(why) => {
                let finishing = self.control.run().oracle.finishing;
                let gone = why == Error::NoSession && (!handed || finishing);
                if !gone {
                    self.wrong(Rule::Lost, format!("claim of {}: {why}", self.me));
                }
                return Ok(());
            }
        };
        if !handed {
            self.wrong(Rule::WrongOwner, format!("{} had no session", self.me));
        }
        // Held until the end.
        let mut files = Vec::new();
        let count = self.control.config().files[self.me];
        // The second client asks for its last file first.
        let order = (0..count).map(|at| if self.me == 0 { at } else { count - 1 - at });
        let mut killed = false;
        'files: for file in order {
            loop {
                killed = self.between(10 + file as u64)? == How::Kill;
                if killed {
                    break 'files;
                }
                if let Ok(got) = self.retrieve(session, file) {
                    files.extend(got);
                    break;
                }
            }
        }
        if !killed && self.between(20)? == How::Well {
            if let Err(why) = self.host.finish(session) {
                self.explain("finish", why, self.is_needed(&why));
            }
            self.between(21)?;
        }
        if let Err(why) = self.host.close(session) {
            self.explain("close", why, self.is_needed(&why));
        }
        self.control.run().oracle.clients[self.me].closed = true;
        Ok(())
    }

    /// Gets a file back; an error if that is to be tried again.
    fn retrieve(
        &self,
        session: SessionId,
        file: usize,
    ) -> Result<Option<crate::support::host::TestFile>, ()> {
        let got = self.host.retrieve(session, TOKENS[file]);
        let mut run = self.control.run();
        let failed = run.oracle.tallies.iter().any(|tally| tally.failed);
        let finishing = run.oracle.finishing;
        let tally = *run.oracle.tally(self.me, file);
        match got {
            Ok(got) => {
                if got.object != object_of(self.me, file) || !tally.handed {
                    let what = format!("{} has got object {}", self.me, got.object);
                    run.oracle.note(Rule::WrongOwner, what);
                }
                run.oracle.clients[self.me].told[file] = true;
                return Ok(Some(got));
            }
            Err(Error::NoToken) if !tally.handed || finishing => {}
            Err(Error::Host(_)) if tally.failed => {}
            Err(Error::DependencyFailed { .. }) if failed => {}
            Err(Error::NoMemory) => {
                drop(run);
                self.explain("retrieve", Error::NoMemory, false);
                return Err(());
            }
            Err(why) => {
                let what = format!("file {file} of {}: {why}, {tally:?}", self.me);
                run.oracle.note(Rule::Lost, what);
            }
        }
        Ok(None)
    }

    fn agent(&self) -> Result<(), Over> {
        let mut how = self.control.first(self.me);
        loop {
            let How::Act(act) = how else { return Ok(()) };
            let before = self.host.state();
            let errno = match act {
                Act::Prepare => ops::prepare(self.host).map_err(|why| why.errno()).err(),
                Act::Freeze => ops::freeze(self.host).map_err(|why| why.errno()).err(),
                Act::Reboot => self.host.reboot().map_err(|why| why.errno()).err(),
                Act::Cancel => ops::cancel(self.host).map_err(|why| why.errno()).err(),
                Act::Finish => self.host.finish_update().map_err(|why| why.errno()).err(),
                Act::Jump | Act::Rest => return Ok(()),
            };
            self.judge(act, before, errno);
            if act == Act::Cancel || errno.is_some() {
                // It does not try again.
                return Ok(());
            }
            how = self.control.between(self.host, self.me, Place::Deciding)?;
        }
    }

    fn judge(&self, act: Act, before: State, errno: Option<Errno>) {
        self.control.run().oracle.ended(act, errno.is_none());
        let state = self.host.state();
        // Another may have ended the update meanwhile.
        let late = act == Act::Finish && errno == Some(Errno::EINVAL) && state == State::Normal;
        let killed = errno == Some(Errno::EAGAIN);
        let missing = errno == Some(Errno::ENOLINK) && self.control.config().across;
        if let Some(errno) = errno {
            self.explain("transition", (act, errno), killed || late || missing);
        }
        // An agent that is killed while it waits has ended nothing; but the last session may have been
        // finished meanwhile, and the update with it. That it has, if nothing is left, is
        // looked at when all are at rest.
        let info = |engine: &mut luo_core::Engine<TestHost>| {
            engine.info(luo_core::Actor::Administrator, "", 0)
        };
        let is_over = state == State::Normal
            && self.host.arrived_pages() == 0
            && self.host.engine(info).incoming == 0;
        let to = match (act, errno) {
            (Act::Finish, Some(Errno::EAGAIN)) if is_over => State::Normal,
            (_, Some(Errno::EAGAIN)) => before,
            (_, Some(_)) | (Act::Cancel | Act::Finish, None) => State::Normal,
            (Act::Prepare, None) => State::Prepared,
            (_, None) => State::Frozen,
        };
        if state != to {
            let what = format!("{state} after {act:?}, which says {errno:?}");
            self.wrong(Rule::State, what);
        }
    }
}
