// SPDX-License-Identifier: MIT OR Apache-2.0
//! The service manager's descriptor store: what is in it outlives the agent.
//!
//! The manager of the service, systemd or `luod supervise`, names its socket in the
//! variable `NOTIFY_SOCKET`. Without a manager a crash of the agent loses what only the
//! agent holds, so nobody may leave sessions with it then.
//!
//! The store does not answer: it closes what it has no room for. So the agent counts
//! here what is in it. And systemd passes the names of all descriptors in one variable
//! (`LISTEN_FDNAMES`): with more than 128 KiB of names no process can be started any
//! more, and all is lost. So sessions go by short labels there, and the kernel tells the
//! name of each.
//!
//! A manager that reads nothing keeps nobody waiting. The owner of the store tries again to put in
//! what it has not taken ([`Store::is_behind`]).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use luo_sys::{Errno, Session};

use super::keeper::{Keeper, Manager, Which};
use super::labels::Labels;
use super::protocol::{MOST, NOTIFY, ROOM, fetch};
use crate::aside::{self, Aside};

/// How long the kernel may take to name all that the store has.
const NAMING: Duration = Duration::from_secs(10);

/// The change of the keeper since the store was last looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It is there still, or still not.
    Same,
    /// Nobody is there any more.
    Gone,
    /// Another one is there, which has nothing yet.
    Another,
}

/// How long the kernel's thread waits for a manager that takes nothing.
const BUSY: Duration = Duration::from_secs(1);

/// How long the manager may take to close what it is told to, if it takes something; and if it
/// takes nothing.
const CLOSING: Duration = Duration::from_secs(5);
const CLOSING_LATE: Duration = Duration::from_secs(60);

/// Since when the manager takes nothing.
type Behind = Arc<Mutex<Option<Instant>>>;

fn lock(behind: &Behind) -> MutexGuard<'_, Option<Instant>> {
    behind.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The store.
pub struct Store {
    keeper: Arc<dyn Keeper>,
    there: bool,
    /// Which keeper was there when it was last looked.
    seen: Cell<Option<Which>>,
    labels: RefCell<Labels>,
    behind: Behind,
    /// The descriptors that the manager was told to close lately.
    left: RefCell<BTreeMap<String, Instant>>,
}

/// A descriptor that the store has of an earlier process.
pub struct Stored {
    /// The session's name. A descriptor of something else has none: its label serves as that.
    pub name: String,
    /// The descriptor.
    pub session: Aside<Session>,
    /// Whether it is the session of that name.
    pub is_it: bool,
}

/// Has the kernel name what an earlier process has left, by label. One whose name is not
/// told in time stays where it is: to name it, the kernel waits for some program.
fn named(passed: Vec<(String, OwnedFd)>) -> (Vec<Stored>, Vec<(String, String)>) {
    let (tell, told) = mpsc::channel();
    let mut unnamed = BTreeMap::new();
    for (number, (label, fd)) in passed.into_iter().enumerate() {
        unnamed.insert(number, label);
        let tell = tell.clone();
        drop(aside::run(move || {
            let session = Session::from_fd(fd);
            let name = match session.name() {
                Ok(name) => Some(name.to_string()),
                Err(why) if why.errno() == Errno::ENOTTY => None,
                // It may be a session, and stays where it is.
                Err(why) => {
                    tracing::error!("what the descriptor store has: {why}");
                    return;
                }
            };
            // Perhaps nobody waits for it any more.
            let _ = tell.send((number, Aside::from(session), name));
        }));
    }
    drop(tell);
    let mut stored = Vec::new();
    let mut labels = Vec::new();
    let deadline = Instant::now() + NAMING;
    let left = || deadline.saturating_duration_since(Instant::now());
    while let Ok((number, session, name)) = told.recv_timeout(left()) {
        let Some(label) = unnamed.remove(&number) else {
            continue;
        };
        let is_it = name.is_some();
        let name = name.unwrap_or_else(|| label.clone());
        labels.push((name.clone(), label));
        stored.push(Stored {
            name,
            session,
            is_it,
        });
    }
    for label in unnamed.into_values() {
        tracing::error!(
            label,
            "the kernel does not tell which session this of the descriptor store is: it stays \
             there until luod is started anew"
        );
        labels.push((label.clone(), label));
    }
    (stored, labels)
}

impl Store {
    /// The store of the manager that started this process, if there is one, and what an
    /// earlier process of this service has left in it, by session.
    ///
    /// # Errors
    /// `luod supervise` is there, and does not give all that it has.
    pub fn take() -> io::Result<(Self, Vec<Stored>)> {
        let mut passed = luo_sys::descriptors::passed();
        passed.extend(fetch()?);
        let (stored, labels) = named(passed);
        let room = std::env::var(ROOM).ok().and_then(|room| room.parse().ok());
        let room = room.map_or(MOST, |room: usize| room.min(MOST));
        let keeper = Manager::of_this_process();
        let store = Self {
            seen: Cell::new(keeper.which()),
            keeper: Arc::new(keeper),
            there: std::env::var_os(NOTIFY).is_some() && room > 0,
            labels: RefCell::new(Labels::of(room, labels.into_iter())),
            behind: Behind::default(),
            left: RefCell::default(),
        };
        Ok((store, stored))
    }

    /// The empty store of a keeper.
    #[cfg(test)]
    pub(crate) fn of(keeper: impl Keeper + 'static) -> Self {
        Self::with_room(keeper, MOST)
    }

    /// The same, with room for so many.
    #[cfg(test)]
    pub(crate) fn with_room(keeper: impl Keeper + 'static, room: usize) -> Self {
        Self {
            seen: Cell::new(keeper.which()),
            keeper: Arc::new(keeper),
            there: true,
            labels: RefCell::new(Labels::of(room, std::iter::empty())),
            behind: Behind::default(),
            left: RefCell::default(),
        }
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.there
    }

    /// Whether somebody is there who keeps what is put in.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.there && self.keeper.which().is_some()
    }

    /// Whether what is in it is lost when the agent is told to end.
    #[must_use]
    pub fn ends_with_the_agent(&self) -> bool {
        !self.keeps() || self.keeper.ends_with_the_agent()
    }

    /// Looks whether its keeper is still there. Each change is told once.
    pub(crate) fn look(&self) -> Look {
        if !self.there {
            return Look::Same;
        }
        let now = self.keeper.which();
        match (self.seen.replace(now), now) {
            (Some(_), None) => Look::Gone,
            (before, Some(now)) if before != Some(now) => Look::Another,
            _ => Look::Same,
        }
    }

    /// Another keeper is there: whoever has the sessions puts them in anew. It may have some of
    /// them already, so it is told to close them, but for those that are `on_their_way`.
    pub(crate) fn begin_anew(&self, on_their_way: &BTreeSet<String>) {
        let mut labels = self.labels.borrow_mut();
        let labels = &mut *labels;
        let all = std::mem::take(&mut labels.by_session);
        for (session, label) in all {
            match on_their_way.contains(&session) {
                true => drop(labels.by_session.insert(session, label)),
                false => labels.closing.push(label),
            }
        }
    }

    /// How many descriptors it has room for; if there is none, how many one can have.
    #[must_use]
    pub fn places(&self) -> usize {
        match self.there {
            true => self.labels.borrow().room,
            false => MOST,
        }
    }

    /// Whether a session is in it.
    pub fn has(&self, session: &str) -> bool {
        self.labels.borrow().by_session.contains_key(session)
    }

    /// Since when the manager takes nothing, if it has to be told of something.
    pub fn is_behind(&self) -> Option<Instant> {
        *lock(&self.behind)
    }

    /// Whether there is room for one more.
    pub fn has_room(&self) -> bool {
        let labels = self.labels.borrow();
        self.there && labels.by_session.len() + labels.closing.len() < labels.room
    }

    /// Tells the manager what it has not taken. `rest` puts the sessions in again that it is to
    /// have.
    pub fn catch_up(&self, rest: impl FnOnce()) {
        let was = lock(&self.behind).take();
        let closing = std::mem::take(&mut self.labels.borrow_mut().closing);
        for label in closing {
            self.close(&label, &label);
        }
        rest();
        // It is behind since the first of what it has not taken.
        if let Some(behind) = &mut *lock(&self.behind) {
            *behind = was.unwrap_or(*behind);
        }
    }

    /// Whether the manager was told to close a session lately, and may not have done so: it does
    /// not answer.
    pub fn may_not_have_closed(&self, session: &str) -> bool {
        let patience = match self.is_behind() {
            Some(_) => CLOSING_LATE,
            None => CLOSING,
        };
        let left = self.left.borrow();
        left.get(session).is_some_and(|at| at.elapsed() < patience)
    }

    /// Has the manager close what it has by a label.
    fn close(&self, session: &str, label: &str) {
        let mut labels = self.labels.borrow_mut();
        match self.keeper.close(label) {
            // Until it has heard of that, the label is no other session's.
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                lock(&self.behind).get_or_insert_with(Instant::now);
                labels.closing.push(label.to_owned());
            }
            Err(why) => {
                tracing::error!(session, "it stays in the descriptor store: {why}");
                labels.frees(label);
            }
            Ok(()) => labels.frees(label),
        }
    }

    /// Puts a copy of a session's descriptor in. Says whether it is in. A manager that takes
    /// nothing is not waited for.
    pub fn put(&self, session: &str, fd: impl AsFd) -> bool {
        let filled = self.place(session).fill_within(Duration::ZERO, fd);
        if !filled {
            self.vacate(session);
        }
        filled
    }

    /// A place for a session, which any thread can fill. A caller that does not fill it
    /// calls [`Store::vacate`].
    pub fn place(&self, session: &str) -> Place {
        let place = |label| Place {
            keeper: Arc::clone(&self.keeper),
            behind: Arc::clone(&self.behind),
            session: session.to_owned(),
            label,
        };
        if !self.there {
            return place(None);
        }
        let label = self.labels.borrow_mut().give(session);
        if label.is_none() {
            let room = self.labels.borrow().room;
            tracing::error!(
                session,
                "it is not in the descriptor store, which has room for {room} \
                 (FileDescriptorStoreMax=, at most {MOST})"
            );
        }
        place(label)
    }

    /// Gives up a session's place, into which nothing was put.
    pub fn vacate(&self, session: &str) {
        self.labels.borrow_mut().take(session);
    }

    /// Takes a session out.
    pub fn remove(&self, session: &str) {
        let label = self.labels.borrow_mut().by_session.remove(session);
        let Some(label) = label else {
            return;
        };
        let mut left = self.left.borrow_mut();
        left.retain(|_, at| at.elapsed() < CLOSING_LATE);
        left.insert(session.to_owned(), Instant::now());
        drop(left);
        self.close(session, &label);
    }
}

/// A place in the store.
pub struct Place {
    keeper: Arc<dyn Keeper>,
    behind: Behind,
    session: String,
    /// The label that the session goes by; `None` if there is no store, or no room in it.
    label: Option<String>,
}

impl Place {
    /// Puts a copy of the session's descriptor in. Says whether it is in. A manager that takes
    /// nothing is waited for, but not long.
    #[must_use]
    pub fn fill(&self, fd: impl AsFd) -> bool {
        // A manager that was waited for in vain is not waited for again.
        let patience = match *lock(&self.behind) {
            Some(_) => Duration::ZERO,
            None => BUSY,
        };
        self.fill_within(patience, fd)
    }

    fn fill_within(&self, patience: Duration, fd: impl AsFd) -> bool {
        let Some(label) = &self.label else {
            return false;
        };
        let sent = self.keeper.keep(label, fd.as_fd(), patience);
        if let Err(why) = &sent {
            let session = &self.session;
            if why.kind() == io::ErrorKind::WouldBlock {
                lock(&self.behind).get_or_insert_with(Instant::now);
                tracing::debug!(session, "the service manager takes nothing just now");
            } else {
                tracing::error!(session, "it is not in the descriptor store: {why}");
            }
        }
        sent.is_ok()
    }
}
