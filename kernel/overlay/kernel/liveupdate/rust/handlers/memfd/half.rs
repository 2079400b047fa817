// SPDX-License-Identifier: GPL-2.0-only
//! Memfds that are being restored. One whose pages do not fit is kept as far as it has come.

use kernel::fs::File;
use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNodeReservation};
use kernel::sync::aref::ARef;
use luo_abi::errno::Errno;
use luo_core::Unrestored;
use luo_memfd::{read, read_strings, Facts, Format, Found, Run, Strings, Unread, MOST_AT_ONCE};

use super::owners::Path;
use super::SEALS;
use crate::errno;
use crate::host::in_turn;
use crate::say::Say;
use crate::sys::kho::{self, Handed};
use crate::sys::memfd::{join_order, Back, Group, Made, Previous};
use crate::sys::{account, log, memory};

/// Pages for which it is not looked whether there is room: they are one batch, for all of which
/// somebody is charged, or for nothing.
const FEW: u64 = 32;

/// Pages that told of runs which are given away at once.
const PAGES: usize = 64;

type Place = RBTreeNodeReservation<u64, Option<Half>>;

/// Memfds that did not fit when they were retrieved, by their handles.
pub(crate) struct Halves(RBTree<u64, Option<Half>>);

impl Halves {
    /// None.
    pub(crate) fn new() -> Self {
        Self(RBTree::new())
    }

    /// Takes one out.
    pub(crate) fn take(&mut self, data: u64) -> Option<Half> {
        let half = self.0.get_mut(&data)?.take();
        let node = self.0.remove_node(&data)?;
        let mut half = half?;
        half.place = Some(node.into_reservation());
        Some(half)
    }

    /// Puts one in.
    pub(crate) fn keep(&mut self, data: u64, mut half: Half) {
        // Each has one that is not in here.
        if let Some(place) = half.place.take() {
            self.0.insert(place.into_node(data, Some(half)));
        }
    }
}

/// A file that is being restored.
pub(crate) struct Half {
    /// A place among those that are kept, so that keeping it takes no memory.
    place: Option<Place>,
    file: Made,
    group: Option<Group>,
    /// Pages that came back and are not in the file yet.
    back: Back,
    /// Pages that are not in the file yet.
    missing: u64,
    /// The pages after them.
    left: Left,
}

/// Runs of the previous kernel's that nobody has got yet, and the pages that told of them.
struct Left {
    format: Format,
    found: Found,
    /// Runs that have been got back, or of which the rest is to be.
    got: usize,
    rest: Option<Run>,
}

impl Left {
    /// The next run, or the next part of one that is long, with what is left of that.
    fn next(&self) -> Option<(Run, Option<Run>)> {
        let run = self
            .rest
            .or_else(|| self.found.runs.get(self.got).copied())?;
        Some(run.cut(self.format.step(&run)))
    }

    /// That part is got back, or gone.
    fn pass(&mut self, rest: Option<Run>) {
        if self.rest.is_none() {
            self.got = self.got.saturating_add(1);
        }
        self.rest = rest;
    }

    fn is_left(&self) -> bool {
        self.rest.is_some() || self.got < self.found.runs.len()
    }

    /// Gets the next runs back, as many as there is room for. False if one is gone.
    ///
    /// # Errors
    /// ENOMEM.
    fn get(&mut self, back: &mut Back) -> Result<bool> {
        // Memory for the room is asked for before others have to wait.
        back.make_room()?;
        while self.is_left() && back.has_room() {
            // The lock is not a user's thread's to have: that may not be let run.
            if !in_turn(|| self.get_some(back, &Handed::lock())) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gets back what others wait for in one piece: [`MOST_AT_ONCE`] pages at most, or one part of
    /// a run that is longer. False if one is gone.
    fn get_some(&mut self, back: &mut Back, alone: &Handed) -> bool {
        let mut most = MOST_AT_ONCE;
        while back.has_room() {
            let Some((part, rest)) = self.next() else {
                break;
            };
            if most < MOST_AT_ONCE && part.pages > most {
                break;
            }
            most = most.saturating_sub(part.pages);
            self.pass(rest);
            if !back.get(alone, part) {
                return false;
            }
        }
        true
    }

    /// Gives everything to the allocator. The room that it takes for a moment is charged to
    /// nobody: a group that is full would keep the memory of a file from everybody.
    fn free(self) {
        account::of_machine(|| self.free_all());
    }

    fn free_all(mut self) {
        let mut back = Back::new(self.format, join_order(self.format));
        while self.is_left() {
            // Pages that are gone are passed over. Without memory for a list, the others stay
            // reserved until the next reboot.
            if self.get(&mut back).is_err() {
                if log::may_say_more() {
                    pr_warn!("memory of a memfd stays reserved until the next reboot: no memory\n");
                }
                break;
            }
            back.free();
        }
        self.free_lists();
    }

    /// Gives the pages to the allocator that told of the runs.
    fn free_lists(self) {
        // In parts, for each of which others wait once.
        for part in self.found.pages.chunks(PAGES) {
            in_turn(|| part.iter().copied().for_each(kho::give_to_allocator));
        }
    }
}

fn unread(data: u64, why: Unread) -> Unrestored {
    match why {
        Unread::NoMemory => Unrestored::Now(Errno::ENOMEM),
        why => {
            // Nobody can tell to which file the rest belongs: it stays reserved until the next reboot.
            if log::may_say_more() {
                pr_err!("memfd at {data:#x} is not restored: {}\n", Say(why));
            }
            Unrestored::Ever(match why {
                Unread::Unknown(_) => Errno::EOPNOTSUPP,
                _ => Errno::EINVAL,
            })
        }
    }
}

impl Half {
    /// Reads what was left, and makes a file for it.
    pub(in crate::handlers) fn begin(
        format: Format,
        data: u64,
        make: impl FnOnce(&Facts, &Strings) -> Result<Made>,
    ) -> Result<Self, Unrestored> {
        let mut strings = Strings::EMPTY;
        let found = read(&Previous, format, data, &mut strings);
        let found = found.map_err(|why| unread(data, why))?;
        let left = Left {
            format,
            found,
            got: 0,
            rest: None,
        };
        let facts = &left.found.facts;
        if facts.seals & !SEALS != 0 {
            left.free();
            return Err(Errno::EOPNOTSUPP.into());
        }
        let place = Place::new(memory::uncharged()).map_err(|_| Unrestored::Now(Errno::ENOMEM))?;
        // Until there is a file, nothing is taken: it can be tried again.
        let file = make(facts, &strings);
        let file = file.map_err(|why| Unrestored::Now(errno::of_kernel(why)))?;
        let group = Group::of_path(&strings.group);
        Ok(Self {
            place: Some(place),
            back: Back::new(format, file.join_order(format)),
            file,
            group,
            missing: left.found.runs.iter().map(|run| run.pages).sum(),
            left,
        })
    }

    /// The path of the control group that has paid for it; empty if it is not known.
    pub(super) fn owner(&self) -> Path {
        let mut strings = Strings::EMPTY;
        // The head has been read when this was begun.
        if let Some(&head) = self.left.found.pages.first() {
            let _ = read_strings(&Previous, self.left.format, head, &mut strings);
        }
        strings.group
    }

    /// Puts pages into the file until all are in it. Its group pays for them, if there is
    /// one: else the caller's.
    ///
    /// # Errors
    /// `Now` if they do not fit; `Ever` if there is less than was said.
    pub(super) fn go_on(&mut self, data: u64) -> Result<(), Unrestored> {
        let group = self.group.take();
        let done = match &group {
            Some(group) => group.charged(|| self.fill(data)),
            None => self.fill(data),
        };
        self.group = group;
        done
    }

    fn fill(&mut self, data: u64) -> Result<(), Unrestored> {
        let missing = self.missing;
        // A group that is filled to the brim before it is told that the rest does not fit
        // has its programs killed, for what they ask for meanwhile.
        if missing > FEW && !self.file.payer_has_room(missing) {
            return Err(Unrestored::Now(Errno::ENOMEM));
        }
        let accounted = self.file.account(missing);
        accounted.map_err(|why| Unrestored::Now(errno::of_kernel(why)))?;
        let put = self.put_all(data);
        self.file.settle_account(missing);
        put
    }

    fn put_all(&mut self, data: u64) -> Result<(), Unrestored> {
        while self.missing > 0 {
            let got = self.left.get(&mut self.back);
            if !got.map_err(|why| Unrestored::Now(errno::of_kernel(why)))? {
                if log::may_say_more() {
                    pr_err!("memfd at {data:#x} is not restored: a page of it is gone\n");
                }
                return Err(Unrestored::Ever(Errno::EIO));
            }
            let before = self.back.pages();
            let put = self.back.put_into(&self.file);
            let now = before.saturating_sub(self.back.pages());
            self.missing = self.missing.saturating_sub(now);
            put.map_err(|why| Unrestored::Now(errno::of_kernel(why)))?;
            if before == 0 {
                // There are fewer pages than the runs say together.
                return Err(Unrestored::Ever(Errno::EIO));
            }
        }
        Ok(())
    }

    /// The file, which is complete.
    pub(super) fn into_file(self) -> ARef<File> {
        self.left.free_lists();
        self.file.into_file()
    }

    /// Lets go of everything.
    pub(in crate::handlers) fn free(self) {
        drop(self.back);
        self.left.free();
    }
}

/// Frees what nobody has retrieved.
pub(in crate::handlers) fn discard(format: Format, data: u64) {
    match read(&Previous, format, data, &mut Strings::EMPTY.clone()) {
        Ok(found) => Left {
            format,
            found,
            got: 0,
            rest: None,
        }
        .free(),
        Err(why) if log::may_say_more() => pr_warn!(
            "memory of a memfd at {data:#x} stays reserved until the next reboot: {}\n",
            Say(why)
        ),
        Err(_) => {}
    }
}
