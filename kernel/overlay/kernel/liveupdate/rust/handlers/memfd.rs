// SPDX-License-Identifier: GPL-2.0-only
//! The handler of memfds.
//!
//! Preserving holds a file still, refers to its pages where they are, and has Kexec
//! HandOver keep them; nothing is copied, and a hole stays a hole. What is written
//! afterwards arrives, too: at freeze the file is looked at again, for pages that have come
//! into its holes, and for all that is known of it.
//!
//! Retrieving makes a file of which all that is true again, and puts the pages into it.
//! They are charged to the control group that had them, if there is one of the same path. A
//! file whose pages do not fit is kept half made, and the next try goes on with it.
//!
//! The formats are `luo_memfd`; what touches memory is in `sys::memfd`.

use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use luo_abi::errno::Errno;
use luo_core::{Host as _, Unrestored};
use luo_memfd::{read, Format, Found, Run, Strings, Unread, Written, MOST_PAGES};

use crate::errno;
use crate::host::Linux;
use crate::policy;
use crate::say::Say;
use crate::sys::kho::{self, PreservedPage};
use crate::sys::memfd::{self, Back, Group, Kept, Made, Previous, Still};

/// The seals that can be handed over: `MEMFD_LUO_ALL_SEALS` of mainline.
const SEALS: u32 = 0x3f;

/// What is kept of a preserved file. Dropping it ends everything, the last field last.
pub(crate) struct Preserved {
    written: Written<PreservedPage>,
    kept: Kept,
    still: Still,
}

/// Whether the handler with a format takes a file. One of both does.
pub(crate) fn can_preserve(format: Format, file: &File) -> bool {
    memfd::is_memfd(file) && policy::memfd_format() == format
}

/// Which object a file stands for.
pub(crate) fn object_id(file: &File) -> u64 {
    memfd::object_id(file)
}

/// Pages of a file of so many bytes.
fn pages_of(size: u64) -> u64 {
    size.div_ceil(kernel::page::PAGE_SIZE as u64)
}

/// The name of a file, and who pays for it.
fn strings_of(still: &Still, kept: &Kept) -> Strings {
    let mut strings = Strings::EMPTY;
    still.look_name(&mut strings.name);
    kept.look_group(&mut strings.group);
    strings
}

/// Saves a file's state: the handle for the next kernel, and what is kept here.
///
/// # Errors
/// EBUSY if somebody writes to it and does not end; EOPNOTSUPP for a seal that is not
/// known; EFBIG; ENOMEM; those of moving pages to where they can stay.
pub(crate) fn preserve(
    linux: &Linux,
    format: Format,
    file: &ARef<File>,
) -> Result<(u64, KBox<Preserved>), Errno> {
    let still = Still::begin(file).map_err(errno::of_kernel)?;
    let (size, seals) = still.size_and_seals();
    if seals & !SEALS != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let end = pages_of(size);
    if end > MOST_PAGES {
        return Err(Errno::EFBIG);
    }
    let kept = Kept::new(format, &still, end).map_err(errno::of_kernel)?;
    let mut written = Written::new(linux.alloc_block()?);
    written.make_room(format, kept.runs(), || linux.alloc_block())?;
    let strings = strings_of(&still, &kept);
    written.write(format, &still.facts(), &strings, kept.runs());
    let address = written.address();
    let preserved = Preserved {
        written,
        kept,
        still,
    };
    let preserved = KBox::new(preserved, GFP_KERNEL_ACCOUNT).map_err(|_| Errno::ENOMEM)?;
    Ok((address, preserved))
}

/// The last look before the kexec: what was written since arrives, too, and what has
/// become of the file otherwise.
///
/// # Errors
/// As for [`preserve`].
pub(crate) fn freeze(
    linux: &Linux,
    format: Format,
    preserved: &mut Preserved,
) -> Result<(), Errno> {
    let Preserved {
        written,
        kept,
        still,
    } = preserved;
    let (size, _) = still.size_and_seals();
    let changed = kept.look_again(still, pages_of(size));
    let strings = strings_of(still, kept);
    let facts = still.facts();
    if changed.map_err(errno::of_kernel)? {
        written.make_room(format, kept.runs(), || linux.alloc_block())?;
        written.write(format, &facts, &strings, kept.runs());
    } else {
        written.write_facts(&facts, &strings);
    }
    Ok(())
}

/// A file that is being restored.
pub(crate) struct Half {
    file: Made,
    group: Option<Group>,
    /// Pages that came back and are not in the file yet.
    back: Back,
    /// Pages that are not in the file yet.
    missing: u64,
    /// What comes after them.
    left: Left,
}

/// Runs of the previous kernel's that nobody has got yet, and the pages that told of them.
struct Left {
    format: Format,
    found: Found,
    /// Runs that have been got back.
    got: usize,
}

impl Left {
    fn next(&mut self) -> Option<Run> {
        let run = self.found.runs.get(self.got).copied();
        self.got = self.got.saturating_add(usize::from(run.is_some()));
        run
    }

    /// Gets the next runs back, as many as there is room for. False if one is gone.
    ///
    /// # Errors
    /// ENOMEM.
    fn get(&mut self, back: &mut Back) -> Result<bool> {
        while back.has_room()? {
            let Some(run) = self.next() else {
                break;
            };
            if !back.get(run, self.format.step(&run)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives everything to the allocator.
    fn free(mut self) {
        let mut back = Back::new();
        while self.got < self.found.runs.len() {
            // What is gone is passed over. Without memory for a list, what is left stays
            // reserved until the next reboot.
            if self.get(&mut back).is_err() {
                pr_warn!("memory of a memfd stays reserved until the next reboot: no memory\n");
                break;
            }
            back.free();
        }
        self.free_lists();
    }

    /// Gives the pages to the allocator that told of the runs.
    fn free_lists(self) {
        for &address in self.found.pages.iter() {
            kho::give_to_allocator(address);
        }
    }
}

fn unread(data: u64, why: Unread) -> Unrestored {
    match why {
        Unread::NoMemory => Unrestored::Now(Errno::ENOMEM),
        why => {
            // Whose the rest is cannot be told: it stays reserved until the next reboot.
            pr_err!("memfd at {data:#x} is not restored: {}\n", Say(why));
            Unrestored::Ever(match why {
                Unread::Unknown(_) => Errno::EOPNOTSUPP,
                _ => Errno::EINVAL,
            })
        }
    }
}

impl Half {
    /// Reads what was left, and makes a file for it.
    fn begin(format: Format, data: u64) -> Result<KBox<Self>, Unrestored> {
        let mut strings = Strings::EMPTY;
        let found = read(&Previous, format, data, &mut strings);
        let found = found.map_err(|why| unread(data, why))?;
        let left = Left {
            format,
            found,
            got: 0,
        };
        let facts = &left.found.facts;
        if facts.seals & !SEALS != 0 {
            left.free();
            return Err(Errno::EOPNOTSUPP.into());
        }
        // Until there is a file, nothing is taken: it can be tried again.
        let file = Made::new(facts, &strings.name);
        let file = file.map_err(|why| Unrestored::Now(errno::of_kernel(why)))?;
        let group = Group::of_path(&strings.group);
        let half = Self {
            file,
            group,
            back: Back::new(),
            missing: left.found.runs.iter().map(|run| run.pages).sum(),
            left,
        };
        KBox::new(half, GFP_KERNEL_ACCOUNT).map_err(|_| Unrestored::Now(Errno::ENOMEM))
    }

    /// Puts pages into the file until all are in it.
    ///
    /// # Errors
    /// `Now` if they do not fit; `Ever` if there is less than was said.
    fn go_on(&mut self, data: u64) -> Result<(), Unrestored> {
        let missing = self.missing;
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
                pr_err!("memfd at {data:#x} is not restored: a page of it is gone\n");
                return Err(Unrestored::Ever(Errno::EIO));
            }
            let before = self.back.pages();
            let (file, back) = (&self.file, &mut self.back);
            let put = match &self.group {
                Some(group) => group.charged(|| back.put_into(file)),
                None => back.put_into(file),
            };
            let now = before.saturating_sub(self.back.pages());
            self.missing = self.missing.saturating_sub(now);
            put.map_err(|why| Unrestored::Now(errno::of_kernel(why)))?;
            if before == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Lets go of everything.
    fn free(self) {
        drop(self.back);
        self.left.free();
    }
}

/// Restores a file.
///
/// # Errors
/// `Now` if memory is short; `Ever` if what was left is damaged.
pub(crate) fn retrieve(linux: &Linux, format: Format, data: u64) -> Result<ARef<File>, Unrestored> {
    let mut half = match linux.take_half(data) {
        Some(half) => half,
        None => Half::begin(format, data)?,
    };
    match half.go_on(data) {
        Ok(()) => {
            let half = KBox::into_inner(half);
            half.left.free_lists();
            Ok(half.file.into_file())
        }
        // It cannot be kept if there is no memory for that either.
        Err(Unrestored::Now(errno)) => match linux.keep_half(data, half) {
            Ok(()) => Err(Unrestored::Now(errno)),
            Err(half) => {
                KBox::into_inner(half).free();
                Err(Unrestored::Ever(errno))
            }
        },
        Err(why) => {
            KBox::into_inner(half).free();
            Err(why)
        }
    }
}

/// Frees what nobody has retrieved.
pub(crate) fn discard(linux: &Linux, format: Format, data: u64) {
    if let Some(half) = linux.take_half(data) {
        KBox::into_inner(half).free();
        return;
    }
    match read(&Previous, format, data, &mut Strings::EMPTY.clone()) {
        Ok(found) => Left {
            format,
            found,
            got: 0,
        }
        .free(),
        Err(why) => pr_warn!(
            "memory of a memfd at {data:#x} stays reserved until the next reboot: {}\n",
            Say(why)
        ),
    }
}
