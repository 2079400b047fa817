// SPDX-License-Identifier: MIT OR Apache-2.0
//! A memfd comes back as it was: not its contents alone, which are in `memfds`, but all
//! that a program can see of it.
//!
//! Each case is in both formats that a kernel with this orchestrator hands memfds over in.

mod future_write;
mod joined;
mod large;
mod of_users;
mod opened;
mod pages;
mod stamps;

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use anyhow::{Context as _, Result, ensure};
use luo_sys::memfd::{self, Seals};
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, Timespec, Timestamps};

use super::tools::{FIRST, NO_SYSFS, incoming, session};
use crate::case::{Case, Context, alone, shared};
use crate::check::{kept, same, skip};
use crate::difference::{Expect, absent, loses, simulated};
use crate::implementation::Implementation;
use crate::look::set_sysfs;
use large::{folios, lying_so};
use opened::{direct, write_only};
use pages::{PAGE, is_plain, plain, unchanged};

/// Two cases of each property: in the format of mainline, and in runs of pages. Before them stand
/// those that are once.
macro_rules! both {
    ([$($case:expr),* $(,)?] $($property:ident: $name:literal $(lost on mainline: $why:literal)?;)*) => {
        pub(super) const CASES: &[Case] = &[$($case,)* $(
            shared(
                $name,
                |context| leave(context, $property::make, $property::change),
                |context| arrived(context, $property::make, $property::look),
            )$(.but(&[loses($why)]))?,
            shared(
                concat!($name, "-in-runs"),
                |context| in_runs(context, $property::make, $property::change),
                |context| arrived(context, $property::make, $property::look),
            ).but(&[absent(NO_SYSFS)]),
        )*];
    };
}

both! {
    [
        alone("a-users-files-are-whose-they-were", &[of_users::leave, of_users::arrived])
            .but(&[loses("owner and mode are not handed over")]),
        shared("memory-beyond-the-end-is-nobodys", of_users::leave_more, of_users::is_no_more)
            .but(&[simulated(Expect::Unseen("the file is the same one"))]),
    ]
    no_exec: "no-exec-is-written-and-mapped-as-before"
        lost on mainline: "it makes an executable file and seals it, and so forbids to write";
    no_exec_named: "no-exec-by-mode-stays-so" lost on mainline: "the mode is not handed over";
    mode: "mode" lost on mainline: "the mode is not handed over";
    owner: "owner" lost on mainline: "the owner is not handed over";
    name: "name" lost on mainline: "the name is not handed over";
    flags: "append-and-nonblock" lost on mainline: "flags of the open file are not handed over";
    times: "times" lost on mainline: "times are not handed over";
    holes: "holes-stay-holes" lost on mainline: "holes are filled";
    fresh: "allocated-and-not-written-stays-so" lost on mainline: "such memory is written to";
    late_seals: "seals-added-after-it-was-preserved"
        lost on mainline: "seals are read when it is preserved";
    late_pages: "written-into-a-hole-after-it-was-preserved"
        lost on mainline: "the holes around it are filled";
    scattered: "every-other-page" lost on mainline: "holes are filled";
    joined: "pages-are-joined-while-it-is-preserved";
    fully_sealed: "every-seal-there-is";
    future_write: "sealed-against-writers-to-come";
    stamps: "when-it-was-changed-and-made" lost on mainline: "times are not handed over";
    direct: "opened-anew-with-direct-and-noatime"
        lost on mainline: "flags of the open file are not handed over";
    write_only: "open-for-writing-alone"
        lost on mainline: "each comes back to be read and written";
    folios: "large-folios-stay-so";
    lying_so: "pages-that-lie-as-a-large-folio-come-back-as-one"
        lost on mainline: "each page comes back as a single one";
}

/// What a case makes before it is preserved.
type Make = fn() -> Result<File>;
/// What it does to it afterwards, and looks at in the next kernel.
type Look = fn(&File) -> Result<()>;

fn leave(context: &mut Context<'_>, make: Make, change: Look) -> Result<()> {
    if context.implementation.is_kernel() {
        joined::allow();
    }
    let file = make()?;
    if context.implementation == Implementation::CKernel {
        // Now and then it preserves a page of before, and what is written to the joined one is lost.
        joined::end()?;
    }
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(&file, FIRST)?;
    change(&file)?;
    context.hold(session);
    // Its position and its flags are those of the open file, which a close would end.
    context.hold(file);
    Ok(())
}

/// The same while the kernel hands memfds over in runs.
fn in_runs(context: &mut Context<'_>, make: Make, change: Look) -> Result<()> {
    set_sysfs("memfd", "runs")?;
    let left = leave(context, make, change);
    set_sysfs("memfd", "memfd-v2")?;
    left
}

/// Takes it back and looks at it, before and after the finish.
fn arrived(context: &mut Context<'_>, _: Make, look: Look) -> Result<()> {
    let session = incoming(context.own_name())?;
    let file = File::from(session.retrieve_fd(FIRST)?);
    session.finish()?;
    look(&file)
}

/// The permission bits.
fn bits(file: &File) -> Result<u32> {
    Ok(file.metadata()?.mode() & 0o7777)
}

mod no_exec {
    use super::*;

    pub(super) use super::unchanged as change;

    pub(super) fn make() -> Result<File> {
        plain("no-exec", MemfdFlags::NOEXEC_SEAL)
    }

    pub(super) fn look(file: &File) -> Result<()> {
        is_plain(file)?;
        kept(
            "the seals",
            memfd::seals(file)?,
            Seals::from_bits_retain(0x20),
        )?;
        kept("the mode", bits(file)?, 0o666)?;
        file.write_all_at(b"x", 0).context("writing to it")?;
        luo_sys::MappedFile::new(file, 4 * PAGE as usize).context("mapping it")?;
        Ok(())
    }
}

mod no_exec_named {
    use super::*;

    pub(super) use super::unchanged as change;

    /// Somebody has taken the bits away himself; no seal says so.
    pub(super) fn make() -> Result<File> {
        let file = plain("no-exec", MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::fchmod(&file, Mode::from_bits_retain(0o640))?;
        Ok(file)
    }

    pub(super) fn look(file: &File) -> Result<()> {
        kept("the mode", bits(file)?, 0o640)?;
        kept("the seals", memfd::seals(file)?, Seals::empty())
    }
}

mod mode {
    use super::*;

    pub(super) fn make() -> Result<File> {
        plain("mode", MemfdFlags::ALLOW_SEALING)
    }

    /// What counts is what it is at the freeze.
    pub(super) fn change(file: &File) -> Result<()> {
        Ok(rustix::fs::fchmod(file, Mode::from_bits_retain(0o604))?)
    }

    pub(super) fn look(file: &File) -> Result<()> {
        is_plain(file)?;
        kept("the mode", bits(file)?, 0o604)
    }
}

mod owner {
    use super::*;

    pub(super) use super::unchanged as change;

    pub(super) fn make() -> Result<File> {
        let file = plain("owner", MemfdFlags::ALLOW_SEALING)?;
        let (owner, group) = (
            rustix::fs::Uid::from_raw(1000),
            rustix::fs::Gid::from_raw(100),
        );
        match rustix::fs::fchown(&file, Some(owner), Some(group)) {
            Err(rustix::io::Errno::PERM) => Err(skip("only root gives files away")),
            done => Ok(done.map(|()| file)?),
        }
    }

    pub(super) fn look(file: &File) -> Result<()> {
        let seen = file.metadata()?;
        kept("the owner", (seen.uid(), seen.gid()), (1000, 100))
    }
}

mod name {
    use super::*;

    pub(super) use super::unchanged as change;

    pub(super) fn make() -> Result<File> {
        plain("guest ram", MemfdFlags::ALLOW_SEALING)
    }

    pub(super) fn look(file: &File) -> Result<()> {
        let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let seen = link.to_string_lossy().into_owned();
        kept("the name", seen.as_str(), "/memfd:guest ram (deleted)")
    }
}

mod flags {
    use super::*;

    const FLAGS: OFlags = OFlags::APPEND.union(OFlags::NONBLOCK);

    pub(super) fn make() -> Result<File> {
        plain("flags", MemfdFlags::ALLOW_SEALING)
    }

    pub(super) fn change(file: &File) -> Result<()> {
        Ok(rustix::fs::fcntl_setfl(file, OFlags::RDWR | FLAGS)?)
    }

    pub(super) fn look(mut file: &File) -> Result<()> {
        let flags = rustix::fs::fcntl_getfl(file)?;
        kept("the flags", flags & FLAGS, FLAGS)?;
        // They do what they say.
        file.seek(SeekFrom::Start(0))?;
        file.write_all(b"end")?;
        same("the size", file.metadata()?.len(), 4 * PAGE + 3)
    }
}

mod times {
    use super::*;

    const THEN: [Timespec; 2] = [
        Timespec {
            tv_sec: 1_000_000_001,
            tv_nsec: 987_654_321,
        },
        Timespec {
            tv_sec: 1_000_000_002,
            tv_nsec: 1,
        },
    ];

    pub(super) use super::unchanged as change;

    pub(super) fn make() -> Result<File> {
        let file = plain("times", MemfdFlags::ALLOW_SEALING)?;
        let [last_access, last_modification] = THEN;
        rustix::fs::futimens(
            &file,
            &Timestamps {
                last_access,
                last_modification,
            },
        )?;
        Ok(file)
    }

    pub(super) fn look(file: &File) -> Result<()> {
        let seen = file.metadata()?;
        let [access, modification] = THEN;
        let of = |time: Timespec| (time.tv_sec, time.tv_nsec);
        kept("the access", (seen.atime(), seen.atime_nsec()), of(access))?;
        kept(
            "the modification",
            (seen.mtime(), seen.mtime_nsec()),
            of(modification),
        )
    }
}

mod holes {
    use super::*;

    const LENGTH: u64 = 4 << 20;

    /// Nothing was filled by preserving it.
    pub(super) fn change(file: &File) -> Result<()> {
        kept("the blocks", file.metadata()?.blocks(), 3 * PAGE / 512)
    }

    pub(super) fn make() -> Result<File> {
        let file = memfd::create("holes", LENGTH)?;
        for at in [0, LENGTH / 2, LENGTH - PAGE] {
            file.write_all_at(b"something", at)?;
        }
        Ok(file)
    }

    pub(super) fn look(file: &File) -> Result<()> {
        let seen = file.metadata()?;
        kept("the blocks", seen.blocks(), 3 * PAGE / 512)?;
        same("the size", seen.len(), LENGTH)?;
        for at in [0, LENGTH / 2, LENGTH - PAGE] {
            let mut bytes = [0; 9];
            file.read_exact_at(&mut bytes, at)?;
            same("what was written", &bytes, b"something")?;
        }
        Ok(())
    }
}

mod fresh {
    use super::*;

    pub(super) use super::unchanged as change;

    pub(super) fn make() -> Result<File> {
        let file = plain("fresh", MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 2 * PAGE, 2 * PAGE)?;
        Ok(file)
    }

    pub(super) fn look(file: &File) -> Result<()> {
        let data = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(0))?;
        kept("where data begin", data, PAGE)?;
        let hole = rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(PAGE))?;
        kept("where data end", hole, 2 * PAGE)?;
        kept("the blocks", file.metadata()?.blocks(), 3 * PAGE / 512)?;
        is_plain(file)
    }
}

mod late_seals {
    use super::*;

    pub(super) fn make() -> Result<File> {
        plain("late", MemfdFlags::ALLOW_SEALING)
    }

    pub(super) fn change(file: &File) -> Result<()> {
        Ok(memfd::add_seals(file, Seals::SHRINK | Seals::SEAL)?)
    }

    pub(super) fn look(file: &File) -> Result<()> {
        kept(
            "the seals",
            memfd::seals(file)?,
            Seals::SHRINK | Seals::SEAL,
        )?;
        is_plain(file)
    }
}

mod late_pages {
    use super::*;

    pub(super) fn make() -> Result<File> {
        let file = plain("late", MemfdFlags::ALLOW_SEALING)?;
        file.set_len(100 * PAGE)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 20 * PAGE, 4 * PAGE)?;
        Ok(file)
    }

    /// Into holes before, between and behind, and to one page of some that are allocated.
    pub(super) fn change(file: &File) -> Result<()> {
        for page in [0, 10, 11, 21, 99] {
            file.write_all_at(&[page as u8 + 1; PAGE as usize], page * PAGE)?;
        }
        Ok(())
    }

    pub(super) fn look(file: &File) -> Result<()> {
        let mut expected = vec![0; 100 * PAGE as usize];
        let mut fill = |page: usize, byte: u8| {
            expected[page * PAGE as usize..][..PAGE as usize].fill(byte);
        };
        fill(1, 0x5a);
        for page in [0, 10, 11, 21, 99] {
            fill(page, page as u8 + 1);
        }
        let mut seen = vec![0xff; 100 * PAGE as usize];
        file.read_exact_at(&mut seen, 0)?;
        ensure!(seen == expected, "the contents differ");
        // One was there, five have come, and three more were allocated.
        kept("the blocks", file.metadata()?.blocks(), 9 * PAGE / 512)
    }
}

mod scattered {
    use super::*;

    /// More records than one page of a list has, in either format.
    const PAGES: u64 = 700;

    pub(super) use super::unchanged as change;

    pub(super) fn make() -> Result<File> {
        let file = memfd::create("scattered", 2 * PAGES * PAGE)?;
        for at in 0..PAGES {
            file.write_all_at(&at.to_ne_bytes(), 2 * at * PAGE)?;
        }
        Ok(file)
    }

    pub(super) fn look(file: &File) -> Result<()> {
        for at in 0..PAGES {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, 2 * at * PAGE)?;
            same("the number of a page", u64::from_ne_bytes(bytes), at)?;
        }
        kept("the blocks", file.metadata()?.blocks(), PAGES * PAGE / 512)
    }
}

mod fully_sealed {
    use super::*;

    pub(super) use super::unchanged as change;

    pub(super) fn make() -> Result<File> {
        let file = plain("sealed", MemfdFlags::ALLOW_SEALING)?;
        memfd::add_seals(&file, Seals::from_bits_retain(0x3f))?;
        Ok(file)
    }

    /// It can be executed, as a copy of a program that nobody can change.
    pub(super) fn look(file: &File) -> Result<()> {
        is_plain(file)?;
        same("the seals", memfd::seals(file)?.bits(), 0x3f)?;
        same("the mode", bits(file)?, 0o777)?;
        ensure!(file.write_all_at(b"x", 0).is_err(), "it can be written");
        Ok(())
    }
}
