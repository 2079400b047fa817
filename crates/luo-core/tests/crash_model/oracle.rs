// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What must hold: an account of each file, as its handler and its owner see it.

use std::hash::Hash;

use luo_abi::rfc::State;
use luo_core::{ops, Direction, Error, SessionId};

use super::choice::{How, CLIENTS};
use super::print::Print;
use super::programs::{object_of, Act, NAMES, TOKENS};
use super::{Broken, Config};
use crate::support::{Call, TestHost};

/// What was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Lost,
    Leaked,
    WrongOwner,
    State,
    /// An error that nothing explains.
    Refused,
    Stuck,
    /// The host's protocol, by its own assertions.
    Protocol,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict(pub Rule, pub String);

pub fn verdict<T>(rule: Rule, what: impl Into<String>) -> Result<T, Verdict> {
    Err(Verdict(rule, what.into()))
}

/// What a handler has done for a file, less what it has undone.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub struct Tally {
    pub preserved: i8,
    pub frozen: i8,
    /// The previous kernel handed it over.
    pub handed: bool,
    pub retrieved: i8,
    /// It could not be restored.
    pub failed: bool,
    pub finished: i8,
}

/// What a client knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// It was told that it has a session.
    pub made: bool,
    /// It was told that its files are preserved, or has got them back.
    pub told: [bool; 2],
    pub closing: bool,
    pub closed: bool,
    /// The previous kernel handed its session over.
    pub handed: bool,
    pub session: Option<SessionId>,
}

#[derive(Clone, Debug, Default)]
pub struct Oracle {
    pub after: bool,
    pub tallies: [Tally; 2 * CLIENTS],
    pub clients: [Client; CLIENTS],
    /// A handler could not be kept: what needs it may be refused.
    pub handler_went: bool,
    acts: u8,
    /// The last act of the agent went well.
    ready: bool,
    pub finishing: bool,
    pub verdict: Option<Verdict>,
}

impl Oracle {
    pub fn hash(&self, into: &mut Print) {
        self.tallies.hash(into);
        for client in &self.clients {
            (client.made, client.told, client.closing).hash(into);
            (client.closed, client.handed).hash(into);
        }
        let flags = (self.handler_went, self.ready, self.finishing);
        (self.after, self.acts, flags).hash(into);
    }

    /// Remembers the first thing that is wrong.
    pub fn note(&mut self, rule: Rule, what: impl Into<String>) {
        self.verdict
            .get_or_insert_with(|| Verdict(rule, what.into()));
    }

    pub fn tally(&mut self, client: usize, file: usize) -> &mut Tally {
        &mut self.tallies[2 * client + file]
    }

    /// A program begins its next call.
    pub fn acted(&mut self, how: How) {
        if let How::Act(act) = how {
            self.acts += 1;
            self.ready = false;
            self.finishing |= act == Act::Finish;
        }
    }

    /// A call of the agent is over.
    pub fn ended(&mut self, act: Act, went_well: bool) {
        self.ready = went_well && act == Act::Reboot;
        if !went_well || act == Act::Cancel {
            // It was the last; what came before does not matter any more.
            self.acts = 0;
        }
    }

    /// What the agent may do next.
    pub fn acts(&self, state: State, config: Config) -> Vec<Act> {
        let more = self.acts < config.acts;
        if self.after {
            let finish = config.finish && !self.finishing && state == State::Updated;
            return if finish {
                vec![Act::Rest, Act::Finish]
            } else {
                vec![Act::Rest]
            };
        }
        match state {
            State::Prepared if config.broken == Some(Broken::JumpsAnyway) => vec![Act::Jump],
            State::Normal if more => vec![Act::Rest, Act::Prepare, Act::Reboot],
            State::Prepared if more => vec![Act::Freeze, Act::Reboot, Act::Cancel],
            State::Frozen if self.ready => vec![Act::Jump, Act::Cancel],
            State::Frozen if more => vec![Act::Reboot, Act::Cancel],
            State::Prepared | State::Frozen => vec![Act::Cancel],
            _ => vec![Act::Rest],
        }
    }

    /// A callback has been made and says yes or no.
    pub fn called(&mut self, call: Call, object: u64, agreed: bool) {
        if call == Call::PinHandler {
            self.handler_went |= !agreed;
            return;
        }
        let Some(at) = (object as usize).checked_sub(1).filter(|at| *at < 4) else {
            return;
        };
        let after = self.after;
        let tally = &mut self.tallies[at];
        match (call, agreed) {
            (Call::Preserve, true) => tally.preserved += 1,
            (Call::Unpreserve, _) => tally.preserved -= 1,
            (Call::Freeze, true) => tally.frozen += 1,
            (Call::Unfreeze, _) => tally.frozen -= 1,
            (Call::Retrieve, true) => tally.retrieved += 1,
            (Call::Retrieve, false) => tally.failed = true,
            (Call::Finish, _) => tally.finished += 1,
            _ => return,
        }
        let once = [tally.preserved, tally.frozen, tally.retrieved];
        let once = once.iter().all(|count| (0..=1).contains(count));
        let gone = tally.finished > 0 && call == Call::Retrieve;
        let wrong = !once || tally.frozen > tally.preserved || gone || tally.finished > 1;
        if wrong || (after != tally.handed && after) {
            let tally = *tally;
            self.note(Rule::Protocol, format!("{call:?} of {object}: {tally:?}"));
        }
    }

    /// What goes to the next kernel, if the machine jumps now.
    pub fn jump(&self) -> Result<Self, Verdict> {
        let mut next = Self {
            after: true,
            ..Self::default()
        };
        for (client, known) in self.clients.iter().enumerate() {
            next.clients[client].handed = known.made && !known.closing;
            for file in 0..2 {
                let tally = self.tallies[2 * client + file];
                let told = known.told[file] && !known.closing;
                if told && tally.preserved == 0 || tally.preserved != tally.frozen {
                    let what = format!("file {file} of {client} at the jump: {tally:?}");
                    return verdict(Rule::Lost, what);
                }
                next.tally(client, file).handed = tally.frozen == 1;
            }
        }
        Ok(next)
    }

    /// Looks whether just what was handed over has come, in a machine of its own.
    pub fn arrived(&mut self, host: &TestHost) -> Result<(), Verdict> {
        if let Err(why) = host.open() {
            return verdict(Rule::Lost, format!("handed over, and refused: {why}"));
        }
        let mut files = 0;
        for client in 0..CLIENTS {
            let session = host.claim(NAMES[client]);
            if session.is_err() && self.clients[client].handed {
                return verdict(Rule::Lost, format!("no session of {client}"));
            }
            self.clients[client].handed = session.is_ok();
            for file in 0..2 {
                let handed = self.tally(client, file).handed;
                files += usize::from(handed);
                let got = session.and_then(|session| host.retrieve(session, TOKENS[file]));
                match got {
                    Ok(got) if got.object != object_of(client, file) => {
                        let what = format!("{client} has got object {}", got.object);
                        return verdict(Rule::WrongOwner, what);
                    }
                    Ok(_) if handed => {}
                    Err(Error::NoToken | Error::NoSession) if !handed => {}
                    got => {
                        let what = format!("file {file} of {client}: {:?}", got.err());
                        return verdict(Rule::Lost, what);
                    }
                }
            }
        }
        if host.visible().files != files {
            return verdict(Rule::WrongOwner, "files that nobody handed over");
        }
        Ok(())
    }

    /// Lets go of what is left when all programs are at rest; then nothing may be.
    pub fn end(&self, host: &TestHost) -> Result<(), Verdict> {
        if self.after {
            self.end_after(host)?;
        } else {
            if host.state() != State::Normal {
                if let Err(why) = ops::cancel(host) {
                    return verdict(Rule::State, format!("cancel: {why}"));
                }
            }
            for client in self.clients.iter().filter(|client| !client.closing) {
                if let Some(Err(why)) = client.session.map(|session| host.close(session)) {
                    return verdict(Rule::Leaked, format!("close: {why}"));
                }
            }
        }
        let (visible, pages) = (host.visible(), host.arrived_pages());
        if visible.state != State::Normal {
            return verdict(Rule::State, format!("{} at the end", visible.state));
        }
        let left = (visible.outgoing, visible.incoming, visible.files, pages);
        if left != (0, 0, 0, 0) || visible.counts != TestHost::cold().counts() {
            let what = format!("{left:?}, {:?} at the end", visible.counts);
            return verdict(Rule::Leaked, what);
        }
        self.settled(&host.take_log())
    }

    fn end_after(&self, host: &TestHost) -> Result<(), Verdict> {
        // A new handler: who was refused for want of one may try again.
        host.register(60);
        let incoming = host.engine(|engine| engine.session_count(Direction::Incoming));
        let taken = host.arrived_pages() == 0;
        if taken && incoming == 0 && host.state() != State::Normal {
            let what = format!("{}, and all is finished", host.state());
            return verdict(Rule::State, what);
        }
        if host.state() == State::Updated {
            if let Err(why) = host.finish_update() {
                return verdict(Rule::State, format!("finish: {why}"));
            }
        }
        if let Err(why) = host.open() {
            return verdict(Rule::Leaked, format!("open: {why}"));
        }
        Ok(())
    }

    /// Looks at the account of each file once all is over.
    fn settled(&self, log: &[String]) -> Result<(), Verdict> {
        for (at, tally) in self.tallies.iter().enumerate() {
            let object = at + 1;
            let times = |what: &str| {
                let line = format!("{what} {object}");
                log.iter().filter(|other| **other == line).count()
            };
            // What the engine lets go of here is not in the tally.
            let finished = times("finish");
            if finished != usize::from(tally.handed) {
                let what = format!("object {object} was finished {finished} times");
                return verdict(Rule::Leaked, what);
            }
        }
        Ok(())
    }
}
