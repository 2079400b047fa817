// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts the connections of each user, and of all users together. Each connection costs a
//! descriptor and some memory, and both must last for everybody. Root has no limits.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::journal::quiet::Quiet;

/// Connections that all users but root may have together. One person can have many user
/// numbers: user namespaces give thousands to anybody who may use them.
const MOST: usize = 8192;

/// Long answers that one user may be given at a time. An answer stays in memory until its
/// peer has read it.
const LONG: usize = 4;

/// The book.
#[derive(Default)]
pub(super) struct Book {
    last: Cell<u64>,
    strangers: Cell<usize>,
    by_user: RefCell<BTreeMap<u32, User>>,
    /// Warnings about peers.
    pub(super) quiet: Quiet,
}

struct User {
    connections: usize,
    long: Arc<Semaphore>,
}

/// A connection that is counted as long as this is there.
pub(super) struct Entry {
    book: Rc<Book>,
    user: u32,
    /// The number of the connection.
    pub(super) number: u64,
    /// The permits for the user's long answers.
    pub(super) long: Arc<Semaphore>,
}

impl Book {
    /// Counts a connection of a user.
    ///
    /// # Errors
    /// In words, if there are too many.
    pub(super) fn enter(self: &Rc<Self>, user: u32, most: usize) -> Result<Entry, String> {
        let is_stranger = user != 0;
        if is_stranger && self.strangers.get() >= MOST {
            return Err(format!(
                "there are {MOST} connections: one of user {user} is closed"
            ));
        }
        let mut by_user = self.by_user.borrow_mut();
        let count = by_user.get(&user).map_or(0, |known| known.connections);
        if is_stranger && count >= most {
            return Err(format!(
                "user {user} has {count} connections: one more is closed"
            ));
        }
        let known = by_user.entry(user).or_insert_with(|| User {
            connections: 0,
            long: Arc::new(Semaphore::new(LONG)),
        });
        known.connections += 1;
        if is_stranger {
            self.strangers.set(self.strangers.get() + 1);
        }
        let number = self.last.get() + 1;
        self.last.set(number);
        Ok(Entry {
            book: Rc::clone(self),
            user,
            number,
            long: Arc::clone(&known.long),
        })
    }
}

impl Entry {
    /// Logs a warning about the peer, unless there were too many of late.
    pub(super) fn warn(&self, text: &str) {
        self.book.quiet.warn(text);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.user != 0 {
            let rest = self.book.strangers.get().saturating_sub(1);
            self.book.strangers.set(rest);
        }
        let mut by_user = self.book.by_user.borrow_mut();
        if let Some(known) = by_user.get_mut(&self.user) {
            known.connections = known.connections.saturating_sub(1);
            if known.connections == 0 {
                by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_so_many_and_root_as_many_as_it_likes() {
        let book = Rc::new(Book::default());
        let mut entries: Vec<_> = (0..3).map(|_| book.enter(7, 3)).collect();
        assert!(entries.iter().all(Result::is_ok));
        assert!(book.enter(7, 3).is_err());
        assert!(book.enter(8, 3).is_ok());
        entries.pop();
        assert!(book.enter(7, 3).is_ok(), "and it is gone again");
        let _root: Vec<_> = (0..10).map(|_| book.enter(0, 3).unwrap()).collect();
        drop(entries);
        assert_eq!(book.strangers.get(), 0);
        assert_eq!(book.by_user.borrow().len(), 1, "root");
    }

    #[test]
    fn all_together_have_so_many() {
        let book = Rc::new(Book::default());
        let all: Vec<_> = (1..=MOST as u32).map(|user| book.enter(user, 3)).collect();
        assert!(all.iter().all(Result::is_ok));
        assert!(book.enter(1, 3).is_err());
        assert!(book.enter(0, 3).is_ok());
    }
}
