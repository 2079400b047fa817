// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers of open files that have no inode of their own, as eventfds and timers: only the same
//! open file is the same object, and the kernel tells by kcmp(2) only whether two are.

use std::sync::{Mutex, Weak};

use crate::descriptor::Descriptor;
use crate::descriptor::File;
use crate::lock::lock;

/// Those that somebody has asked for and that are held still.
#[derive(Default)]
pub(crate) struct OpenFiles(Mutex<State>);

#[derive(Default)]
struct State {
    last: u64,
    known: Vec<(u64, Weak<Descriptor>)>,
}

/// Where the numbers begin: those of other objects are made of inode numbers, which are small.
const FIRST: u64 = 1 << 63;

impl OpenFiles {
    /// The number of an open file. It is the same as long as somebody holds the descriptor that
    /// it was asked for with.
    pub(crate) fn number(&self, file: &File) -> u64 {
        let mut state = lock(&self.0);
        state.known.retain(|(_, known)| known.strong_count() > 0);
        let same = state.known.iter().find(|(_, known)| {
            let known = known.upgrade();
            known.is_some_and(|known| luo_sys::same::open_file(&*known, &**file).unwrap_or(false))
        });
        let number = match same {
            Some((number, _)) => *number,
            None => {
                state.last = state.last.wrapping_add(1);
                FIRST | state.last
            }
        };
        state.known.push((number, std::sync::Arc::downgrade(file)));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn eventfd() -> File {
        let flags = rustix::event::EventfdFlags::CLOEXEC;
        Arc::new(rustix::event::eventfd(0, flags).unwrap().into())
    }

    #[test]
    fn the_same_open_file_has_the_same_number_while_it_is_held() {
        let (files, one, other) = (OpenFiles::default(), eventfd(), eventfd());
        let number = files.number(&one);
        let duplicate: File = Arc::new(one.try_clone().unwrap().into());
        assert_eq!(files.number(&duplicate), number);
        assert_ne!(files.number(&other), number);
        drop(one);
        assert_eq!(files.number(&duplicate), number);
        drop(duplicate);
        drop(other);
        assert_ne!(files.number(&eventfd()), number);
        // What is held no more is forgotten at the next question.
        files.number(&eventfd());
        assert_eq!(lock(&files.0).known.len(), 1);
    }
}
