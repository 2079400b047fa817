// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memfds that no kernel would hand over, a file each, in one session: damage of one is
//! no business of the others.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use luo_abi::errno::Errno as Code;
use luo_abi::handover::FileRecord;
use luo_abi::memfd as wire;
use luo_core::BlockMemory;
use luo_memfd::{Facts, Format, More, Run, Strings, Times, Written};
use luo_sys::{Errno, Session, Token};

use super::compose::{Composer, field};
use crate::check::{device, name, refused};
use crate::forge::PAGE;

/// The session that they are in, that of [`Composer::files`].
const SESSION: &str = "victim";

/// A memfd, and what is wrong with it.
pub(super) struct Memfd {
    name: &'static str,
    format: Format,
    /// What becomes of one page of memory that is well described, and of that of the first file.
    runs: fn(Run, Run) -> Vec<Run>,
    /// Changes the head and the pages of the lists after that.
    damage: fn(&mut Pages),
    /// What retrieving it must give; `None` for its contents.
    expected: Option<Errno>,
}

/// The pages of a memfd: the head, then those of the lists.
pub(super) struct Pages(Vec<[u8; PAGE]>);

impl Pages {
    fn change<T: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable>(
        &mut self,
        page: usize,
        offset: usize,
        change: impl FnOnce(&mut T),
    ) {
        let bytes = &mut self.0[page][offset..];
        if let Ok((mut found, _)) = T::read_from_prefix(bytes) {
            change(&mut found);
            let _ = found.write_to_prefix(bytes);
        }
    }

    fn main(&mut self, change: impl FnOnce(&mut wire::Main)) {
        self.change(0, 0, change);
    }

    /// The facts, whose checksum is right again afterwards.
    fn facts(&mut self, change: impl FnOnce(&mut wire::Facts)) {
        self.change(0, wire::FACTS_OFFSET, change);
        self.sign();
    }

    /// Main and facts are changed: the checksum is right again.
    fn sign(&mut self) {
        let head = &self.0[0];
        let part = |at: usize, length: usize| &head[at..at + length];
        let mut digest = luo_core::Digest::new();
        digest.absorb_bytes(part(0, size_of::<wire::Main>()));
        digest.absorb_bytes(part(wire::FACTS_OFFSET, size_of::<wire::Facts>() - 8));
        // As long as the name of all of them, in words.
        digest.absorb_bytes(part(wire::NAME_OFFSET, 8));
        let sum = digest.finish();
        self.change(0, wire::FACTS_OFFSET, |facts: &mut wire::Facts| {
            facts.checksum = sum;
        });
    }

    fn signed_main(&mut self, change: impl FnOnce(&mut wire::Main)) {
        self.main(change);
        self.sign();
    }

    fn run(&mut self, change: impl FnOnce(&mut wire::RunRecord)) {
        self.change(1, size_of::<wire::ListHeader>(), change);
        let list = &self.0[1];
        let count = 1;
        let records = size_of::<wire::ListHeader>();
        let length = count * size_of::<wire::RunRecord>();
        let mut digest = luo_core::Digest::new();
        digest.absorb_bytes(&list[..16]);
        digest.absorb_bytes(&list[records..records + length]);
        let sum = digest.finish();
        self.change(1, 0, |header: &mut wire::ListHeader| header.checksum = sum);
    }
}

/// Addresses where no page was preserved: far beyond the machine, and in its first MiB.
const BEYOND: u64 = 1 << 45;
const LOW: u64 = 0x8000;

const fn runs(name: &'static str, damage: fn(&mut Pages)) -> Memfd {
    Memfd {
        name,
        format: Format::Runs,
        runs: one,
        damage,
        expected: Some(Errno::EINVAL),
    }
}

const fn mainline(name: &'static str, damage: fn(&mut Pages)) -> Memfd {
    Memfd {
        format: Format::Mainline,
        ..runs(name, damage)
    }
}

/// A file of huge pages of 2 MiB, which says of one small page that it has it.
const fn huge(name: &'static str, damage: fn(&mut Pages)) -> Memfd {
    Memfd {
        format: Format::Huge,
        ..runs(name, damage)
    }
}

const fn of_runs(name: &'static str, runs: fn(Run, Run) -> Vec<Run>) -> Memfd {
    Memfd {
        name,
        format: Format::Runs,
        runs,
        damage: |_| (),
        expected: Some(Errno::EINVAL),
    }
}

fn one(run: Run, _: Run) -> Vec<Run> {
    vec![run]
}

/// The file with a page of its own that must stay as it is: in the end it is looked at again.
const WATCHED: &str = "a-page-of-its-own-and-one-of-another-file";

/// All of them; the token of each is its place, from 1 on.
pub(super) const MEMFDS: &[Memfd] = &[
    Memfd {
        expected: None,
        ..runs("runs-as-they-should-be", |_| ())
    },
    Memfd {
        expected: None,
        ..mainline("folios-as-they-should-be", |_| ())
    },
    runs("facts-without-their-mark", |p| {
        p.facts(|facts| facts.magic[0] ^= 1);
    }),
    runs("a-checksum-of-facts", |p| {
        p.change(0, wire::FACTS_OFFSET, |facts: &mut wire::Facts| {
            facts.mode ^= 0o111;
        });
    }),
    runs("a-size-that-changed", |p| p.main(|main| main.size += 1)),
    Memfd {
        expected: Some(Errno::EOPNOTSUPP),
        ..runs("a-feature-of-the-future", |p| {
            p.facts(|facts| facts.required = 1 << 40);
        })
    },
    runs("a-size-beyond-all", |p| {
        p.signed_main(|main| main.size = u64::MAX);
    }),
    runs("a-name-beyond-its-room", |p| {
        p.facts(|facts| facts.name_length = u32::MAX);
    }),
    runs("a-time-that-is-none", |p| {
        p.facts(|facts| facts.times[1][1] = 1_000_000_000);
    }),
    runs("a-list-beyond-memory", |p| {
        p.signed_main(|main| main.first = BEYOND);
    }),
    runs("a-list-where-nothing-was-preserved", |p| {
        p.signed_main(|main| main.first = LOW);
    }),
    runs("a-list-between-pages", |p| {
        p.signed_main(|main| main.first += 8);
    }),
    runs("more-records-than-pages", |p| {
        p.signed_main(|main| main.count = 1 << 20);
    }),
    runs("more-records-than-the-file-has-pages", |p| {
        p.signed_main(|main| main.count = 100);
    }),
    runs("more-records-than-a-page-says", |p| {
        p.signed_main(|main| main.count = 2);
    }),
    runs("a-checksum-of-runs", |p| {
        p.change(
            1,
            size_of::<wire::ListHeader>(),
            |run: &mut wire::RunRecord| {
                run.index ^= 1;
            },
        );
    }),
    runs("a-run-of-nothing", |p| p.run(|run| run.pages = 0)),
    runs("a-run-of-the-first-frame", |p| p.run(|run| run.frame = 0)),
    runs("a-run-beyond-memory", |p| {
        p.run(|run| run.frame = BEYOND >> 12);
    }),
    runs("a-run-where-nothing-was-preserved", |p| {
        p.run(|run| run.frame = LOW >> 12);
    }),
    runs("a-run-longer-than-was-preserved", |p| {
        p.signed_main(|main| main.size = 64 * PAGE as u64);
        p.run(|run| run.pages = 64);
    }),
    runs("a-run-that-wraps-around", |p| {
        p.run(|run| run.index = u64::MAX);
    }),
    runs("a-folio-that-is-none", |p| p.run(|run| run.order = 60)),
    runs("a-run-with-flags-of-the-future", |p| {
        p.run(|run| run.flags = 0x80);
    }),
    of_runs("a-run-behind-the-end", |run, _| {
        vec![Run { index: 9, ..run }]
    }),
    of_runs("two-runs-at-one-place", |run, _| vec![run, run]),
    Memfd {
        expected: Some(Errno::EIO),
        ..of_runs("one-page-at-two-places", |run, _| {
            vec![run, Run { index: 1, ..run }]
        })
    },
    of_runs("the-page-of-another-file", |_, first| vec![first]),
    of_runs(WATCHED, |run, first| vec![run, Run { index: 1, ..first }]),
    Memfd {
        expected: Some(Errno::EOPNOTSUPP),
        ..runs("a-seal-of-the-future", |p| {
            p.signed_main(|main| main.seals = 0x40);
        })
    },
    Memfd {
        expected: Some(Errno::EOPNOTSUPP),
        ..runs("a-mark-of-huge-pages-where-none-are", |p| {
            p.facts(|facts| facts.required = wire::REQUIRED_HUGE);
        })
    },
    huge("huge-pages-that-are-small", |_| ()),
    huge("huge-pages-without-their-mark", |p| {
        p.facts(|facts| facts.required = 0);
    }),
    huge("huge-pages-of-no-size", |p| {
        p.signed_main(|main| main.flags = 0)
    }),
    huge("huge-pages-beyond-all-sizes", |p| {
        p.signed_main(|main| main.flags = 60);
    }),
    huge("huge-pages-in-part", |p| {
        p.signed_main(|main| main.size = PAGE as u64);
    }),
    huge("a-huge-page-that-was-not-preserved-so", |p| {
        p.run(|run| (run.order, run.pages, run.frame) = (9, 512, run.frame & !511));
    }),
    Memfd {
        expected: Some(Errno::ENODEV),
        runs: |_, _| Vec::new(),
        ..huge("huge-pages-of-a-size-that-no-kernel-has", |p| {
            p.signed_main(|main| main.flags = 5);
        })
    },
    mainline("folios-beyond-memory", |p| {
        p.change(2, 0, |folio: &mut wire::FolioRecord| {
            folio.frame |= wire::FOLIO_FRAME >> 2;
        });
    }),
    mainline("folios-where-nothing-was-preserved", |p| {
        p.change(2, 0, |folio: &mut wire::FolioRecord| {
            folio.frame = LOW >> 12 | wire::FOLIO_DIRTY;
        });
    }),
    mainline("folios-with-flags-of-the-future", |p| {
        p.change(2, 0, |folio: &mut wire::FolioRecord| folio.frame |= 1 << 63);
    }),
    mainline("a-page-of-addresses-beyond-memory", |p| {
        p.signed_main(|main| main.first = BEYOND);
    }),
    mainline("addresses-beyond-memory", |p| {
        p.change(1, 8, |address: &mut u64| *address = BEYOND);
    }),
    mainline("an-area-of-large-pages", |p| {
        p.signed_main(|main| main.order = 9);
    }),
    mainline("fewer-pages-than-records", |p| {
        p.signed_main(|main| main.pages = 7);
    }),
];

/// What is in the page of a memfd.
fn contents(of: usize) -> [u8; PAGE] {
    [of as u8 ^ 0x5a; PAGE]
}

/// A page of the composer's, whose bytes are written to it at the end.
struct Block {
    page: usize,
    address: u64,
    bytes: [u8; PAGE],
}

impl BlockMemory for Block {
    fn address(&self) -> u64 {
        self.address
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// Two files that are both well described and name one page, which are asked for at one moment.
const TWINS: [&Memfd; 2] = [
    &runs("one-of-two-files-with-one-page", |_| ()),
    &mainline("the-other-of-two-files-with-one-page", |_| ()),
];

/// The page of the composer's that [`WATCHED`] has: the second.
pub(super) const WATCHED_PAGE: usize = 1;

/// A session with all of them.
pub(super) fn compose(composer: &mut Composer<'_>) -> Result<()> {
    composer.root()?;
    let watched = composer.page()?;
    let mut records = Vec::new();
    let mut first = None;
    for (at, memfd) in MEMFDS.iter().enumerate() {
        let page = match memfd.name {
            WATCHED => watched,
            _ => composer.page()?,
        };
        let run = run_of(composer, page, at)?;
        let first = *first.get_or_insert(run);
        records.push(leave(composer, memfd, run, first)?);
    }
    let page = composer.page()?;
    let run = run_of(composer, page, MEMFDS.len())?;
    for twin in TWINS {
        records.push(leave(composer, twin, run, run)?);
    }
    let tokens = (1..).zip(records);
    let records: Vec<_> = tokens
        .map(|(token, (compatible, data))| FileRecord {
            compatible: field(compatible),
            data,
            token,
        })
        .collect();
    composer.files(&records)?;
    let sessions = composer.sessions_at()?;
    let (_, flbs) = composer.test_flbs(records.len() as u64)?;
    composer.point(sessions, flbs)
}

/// A page of memory with its contents, well described.
fn run_of(composer: &mut Composer<'_>, (page, address): (usize, u64), at: usize) -> Result<Run> {
    composer.put(page, 0, &contents(at))?;
    Ok(Run {
        index: 0,
        frame: address / PAGE as u64,
        pages: 1,
        order: 0,
        fresh: false,
    })
}

/// Leaves one memfd; the name of its handler, and the address of its head.
fn leave(
    composer: &mut Composer<'_>,
    memfd: &Memfd,
    run: Run,
    first: Run,
) -> Result<(&'static str, u64)> {
    let head = leave_runs(composer, memfd, (memfd.runs)(run, first)).context(memfd.name)?;
    Ok((memfd.format.compatible(), head))
}

fn leave_runs(composer: &mut Composer<'_>, memfd: &Memfd, runs: Vec<Run>) -> Result<u64> {
    let facts = Facts {
        size: PAGE as u64
            * match memfd.format {
                Format::Huge => 512,
                _ if runs.len() > 1 => 2,
                _ => 1,
            },
        position: 0,
        seals: 0,
        huge: match memfd.format {
            Format::Huge => 9,
            Format::Mainline | Format::Runs => 0,
        },
        more: Some(More {
            flags: 0,
            mode: 0o600,
            uid: 0,
            gid: 0,
            times: Times::default(),
        }),
    };
    let mut strings = Strings::EMPTY;
    strings.name.fill(|room| {
        room[..7].copy_from_slice(b"memfd:x");
        7
    });
    let mut block = || {
        let (page, address) = composer.page().map_err(|_| Code::ENOMEM)?;
        let bytes = [0; PAGE];
        Ok::<_, Code>(Block {
            page,
            address,
            bytes,
        })
    };
    let no_pages = |_: Code| anyhow::anyhow!("there are too few pages");
    let mut written = Written::new(block().map_err(no_pages)?);
    let made = written.make_room(memfd.format, &runs, &mut block);
    made.map_err(no_pages)?;
    written.write(memfd.format, &facts, &strings, &runs);
    let head = written.address();
    let (first, lists) = written.into_parts();
    let blocks: Vec<Block> = core::iter::once(first).chain(lists).collect();
    let mut pages = Pages(blocks.iter().map(|block| block.bytes).collect());
    (memfd.damage)(&mut pages);
    for (block, bytes) in blocks.iter().zip(&pages.0) {
        composer.put(block.page, 0, bytes)?;
    }
    Ok(head)
}

/// What has come back.
pub(super) struct Taken {
    session: Session,
    /// Files with the numbers of their contents.
    files: Vec<(usize, File)>,
}

impl Taken {
    /// Whether the files are what they were, whatever came after them, and ends the session.
    pub(super) fn are_whole(self) -> Result<()> {
        for (at, file) in &self.files {
            is_whole(file, *at).with_context(|| format!("file {at}, at the end"))?;
        }
        Ok(self.session.finish()?)
    }
}

fn is_whole(file: &File, at: usize) -> Result<()> {
    let mut seen = [0; PAGE];
    file.read_exact_at(&mut seen, 0)?;
    ensure!(seen == contents(at), "its contents are others");
    Ok(())
}

/// Retrieves each: what is damaged is refused, then and each time after, and what is not
/// comes back.
pub(super) fn check() -> Result<Taken> {
    let session = device()?.retrieve_session(&name(SESSION))?;
    let mut complaints = Vec::new();
    let mut files = Vec::new();
    for (at, memfd) in MEMFDS.iter().enumerate() {
        let token = Token(at as u64 + 1);
        let checked = match memfd.expected {
            Some(errno) => refused(session.retrieve_fd(token), errno)
                .and_then(|()| refused(session.retrieve_fd(token), errno)),
            None => session
                .retrieve_fd(token)
                .map_err(anyhow::Error::from)
                .and_then(|fd| {
                    let file = File::from(fd);
                    is_whole(&file, at)?;
                    files.push((at, file));
                    Ok(())
                }),
        };
        if let Err(why) = checked {
            complaints.push(format!("{}: {why:#}", memfd.name));
        }
    }
    match twins(&session) {
        Ok(file) => files.push((MEMFDS.len(), file)),
        Err(why) => complaints.push(format!("two files with one page: {why:#}")),
    }
    ensure!(complaints.is_empty(), "{}", complaints.join("; "));
    Ok(Taken { session, files })
}

/// Of two files that name one page, and are asked for at one moment, one comes back.
fn twins(session: &Session) -> Result<File> {
    let first = MEMFDS.len() as u64 + 1;
    let [one, other] = thread::scope(|scope| {
        let asks = |token| scope.spawn(move || session.retrieve_fd(Token(token)));
        [first, first + 1].map(asks).map(|asked| asked.join())
    });
    let (Ok(one), Ok(other)) = (one, other) else {
        bail!("a thread has panicked");
    };
    let (file, why) = match (one, other) {
        (Ok(file), Err(why)) | (Err(why), Ok(file)) => (File::from(file), why),
        (Ok(_), Ok(_)) => bail!("both have it"),
        (Err(one), Err(other)) => bail!("nobody has it: {one}, {other}"),
    };
    // Found to be gone when it was looked at, or when it was to be taken.
    let errno = why.errno();
    ensure!(
        [Errno::EINVAL, Errno::EIO].contains(&errno),
        "the other: {why}"
    );
    is_whole(&file, MEMFDS.len())?;
    Ok(file)
}
