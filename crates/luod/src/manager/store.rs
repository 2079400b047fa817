// SPDX-License-Identifier: MIT OR Apache-2.0
//! The service manager's descriptor store: what is in it outlives the agent.
//!
//! Who manages the service says so in `NOTIFY_SOCKET`: systemd, or `luod supervise`.
//! Without one a crash of the agent loses what only the agent holds, so nobody may
//! leave sessions with it then.
//!
//! The store does not answer: what it has no room for it closes. So it is counted here
//! what is in it. And systemd gives the names of all in one variable (`LISTEN_FDNAMES`):
//! with more than 128 KiB of names no process can be started any more, and all is lost.
//! So sessions go by short labels there, and tell their names themselves.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};

use luo_sys::Session;
use sd_notify::NotifyState;

/// Sessions that are put in at most: all labels together have 96 KiB then.
pub const MOST: usize = 16_384;

/// The variable in which a manager says how many descriptors it keeps: systemd 254 and
/// newer, and `luod supervise`.
pub(crate) const ROOM: &str = "FDSTORE";

/// The store.
#[derive(Debug, Default)]
pub struct Store {
    there: bool,
    labels: RefCell<Labels>,
    /// It takes everything, and there is no manager.
    #[cfg(test)]
    made_up: bool,
}

/// Which label each session in the store has.
#[derive(Debug, Default)]
struct Labels {
    room: usize,
    by_session: BTreeMap<String, String>,
    /// Numbers that are nobody's, below the next one.
    free: BTreeSet<usize>,
    next: usize,
}

impl Labels {
    /// Those of what is in the store already.
    fn of(room: usize, stored: impl Iterator<Item = (String, String)>) -> Self {
        let by_session: BTreeMap<_, _> = stored.collect();
        let taken: BTreeSet<usize> = by_session
            .values()
            .filter_map(|label| label.parse().ok().filter(|&number| number < MOST))
            .collect();
        let next = taken.last().map_or(0, |last| last + 1);
        Self {
            room,
            by_session,
            free: (0..next).filter(|number| !taken.contains(number)).collect(),
            next,
        }
    }

    /// A label for a session; none if there is no room.
    fn give(&mut self, session: &str) -> Option<String> {
        if let Some(label) = self.by_session.get(session) {
            return Some(label.clone());
        }
        if self.by_session.len() >= self.room {
            return None;
        }
        let number = self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let label = number.to_string();
        self.by_session.insert(session.to_owned(), label.clone());
        Some(label)
    }

    /// The label of a session that goes.
    fn take(&mut self, session: &str) -> Option<String> {
        let label = self.by_session.remove(session)?;
        self.free.extend(
            label
                .parse()
                .ok()
                .filter(|&number: &usize| number < self.next),
        );
        Some(label)
    }
}

impl Store {
    /// The store of the manager that started this process, if there is one, and what an
    /// earlier process of this service has left in it, by session.
    #[must_use]
    pub fn take() -> (Self, Vec<(String, OwnedFd)>) {
        let mut passed = luo_sys::descriptors::passed();
        match crate::supervise::fetch() {
            Ok(kept) => passed.extend(kept),
            Err(why) => tracing::error!("the descriptor store cannot be read: {why}"),
        }
        let mut labels = Vec::new();
        let mut stored = Vec::new();
        for (label, fd) in passed {
            let session = Session::from_fd(fd);
            // What is no session is nobody's, and goes under the label that it has.
            let name = session.name();
            let name = name.map_or_else(|_| label.clone(), |name| name.to_string());
            labels.push((name.clone(), label));
            stored.push((name, session.into_fd()));
        }
        let room = std::env::var(ROOM).ok().and_then(|room| room.parse().ok());
        let room = room.map_or(MOST, |room: usize| room.min(MOST));
        let store = Self {
            there: std::env::var_os("NOTIFY_SOCKET").is_some() && room > 0,
            labels: RefCell::new(Labels::of(room, labels.into_iter())),
            #[cfg(test)]
            made_up: false,
        };
        (store, stored)
    }

    /// One for tests, that takes everything.
    #[cfg(test)]
    pub(crate) fn made_up() -> Self {
        Self {
            there: true,
            labels: RefCell::default(),
            made_up: true,
        }
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.there
    }

    /// Puts a copy of a session's descriptor in. Says whether it is in.
    pub fn put(&self, session: &str, fd: impl AsFd) -> bool {
        let filled = self.place(session).fill(fd);
        if !filled {
            self.vacate(session);
        }
        filled
    }

    /// A place for a session, which any thread can fill. Who does not calls
    /// [`Store::vacate`].
    pub fn place(&self, session: &str) -> Place {
        let place = |what| Place {
            session: session.to_owned(),
            what,
        };
        #[cfg(test)]
        if self.made_up {
            return place(What::MadeUp);
        }
        if !self.there {
            return place(What::None);
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
        place(label.map_or(What::None, What::Label))
    }

    /// Nothing was put into a session's place.
    pub fn vacate(&self, session: &str) {
        self.labels.borrow_mut().take(session);
    }

    /// Takes it out.
    pub fn remove(&self, session: &str) {
        #[cfg(test)]
        if self.made_up {
            return;
        }
        let Some(label) = self.labels.borrow_mut().take(session) else {
            return;
        };
        let state = [NotifyState::FdStoreRemove, NotifyState::FdName(&label)];
        if let Err(why) = sd_notify::notify(&state) {
            tracing::error!(session, "it stays in the descriptor store: {why}");
        }
    }
}

/// A place in the store.
#[derive(Debug)]
pub struct Place {
    session: String,
    what: What,
}

#[derive(Debug)]
enum What {
    /// There is no store, or no room in it.
    None,
    /// The label that the session goes by.
    Label(String),
    /// One that takes everything.
    #[cfg(test)]
    MadeUp,
}

impl Place {
    /// Puts a copy of the session's descriptor in. Says whether it is in.
    #[must_use]
    pub fn fill(&self, fd: impl AsFd) -> bool {
        let label = match &self.what {
            What::None => return false,
            What::Label(label) => label,
            #[cfg(test)]
            What::MadeUp => return true,
        };
        // Not watched by the manager: a session's descriptor is no stream.
        let state = [
            NotifyState::FdStore,
            NotifyState::FdName(label),
            NotifyState::Custom("FDPOLL=0"),
        ];
        let sent = sd_notify::notify_with_fds(&state, &[fd.as_fd()]);
        if let Err(why) = &sent {
            let session = &self.session;
            tracing::error!(session, "it is not in the descriptor store: {why}");
        }
        sent.is_ok()
    }
}

/// Tells the manager that the service is up and, in a line, how it stands.
pub fn ready(line: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(line)]);
}

/// Tells the manager, in a line, how it stands.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// Tells the manager that the service is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(state) {
        tracing::warn!("the service manager: {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_used_again() {
        let mut labels = Labels::of(MOST, std::iter::empty());
        let mut bytes = 0;
        for number in 0..MOST {
            let label = labels.give(&format!("session-{number}")).unwrap();
            bytes += label.len() + 1;
        }
        // What one variable of a process may have, its name and the end included.
        assert!("LISTEN_FDNAMES=".len() + bytes < 128 * 1024, "{bytes}");
        assert_eq!(labels.give("one more"), None);
        assert_eq!(labels.take("session-7").as_deref(), Some("7"));
        assert_eq!(labels.take("session-7"), None);
        assert_eq!(labels.give("one more").as_deref(), Some("7"));
        assert_eq!(labels.give("one more").as_deref(), Some("7"));
    }

    #[test]
    fn labels_of_an_earlier_process_stay() {
        let stored = [("a", "4"), ("b", "0"), ("c", "a name")];
        let stored = stored.map(|(session, label)| (session.to_owned(), label.to_owned()));
        let mut labels = Labels::of(6, stored.into_iter());
        assert_eq!(labels.give("a").as_deref(), Some("4"));
        let given: Vec<_> = ["d", "e", "f", "g"]
            .into_iter()
            .filter_map(|session| labels.give(session))
            .collect();
        assert_eq!(given, ["1", "2", "3"]);
        assert_eq!(labels.take("c").as_deref(), Some("a name"));
        assert_eq!(labels.give("g").as_deref(), Some("5"));
    }
}
