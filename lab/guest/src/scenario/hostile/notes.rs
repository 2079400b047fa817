// SPDX-License-Identifier: MIT OR Apache-2.0
//! Eventfds, timers and pipes that no kernel would hand over, a file each, in one session: damage
//! of one is no business of the others.

use anyhow::{Result, ensure};
use luo_abi::handover::FileRecord;
use luo_abi::note::{
    EVENTFD, Eventfd, Head, Held, NONBLOCK, PIPE, Piece, Pipe, READ_END, READ_NONBLOCK, TIMERFD,
    Timerfd,
};
use luo_core::note::{Note, write};
use luo_sys::{Errno, Token};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::compose::{Composer, field};
use crate::check::{device, name, refused, same};
use crate::forge::PAGE;

/// The session that they are in, that of [`Composer::files`].
const SESSION: &str = "victim";

/// What a pipe is said to be, by where what it holds is, and that.
type OfPipe = (fn(u64) -> Pipe, fn(u64) -> [u8; PAGE]);

/// A file, and what is wrong with it.
pub(super) struct File {
    name: &'static str,
    compatible: &'static str,
    /// What it has left.
    page: fn() -> [u8; PAGE],
    /// Where that is said to be, by where it is and where the first file's is.
    place: fn(u64, u64) -> u64,
    /// What a pipe is said to be.
    pipe: Option<OfPipe>,
    /// What retrieving it must give; `None` for what the first one counts.
    expected: Option<Errno>,
}

/// The count of those that are as they should be.
const COUNT: u64 = 77;

const GOOD: Eventfd = Eventfd {
    count: COUNT,
    flags: NONBLOCK,
};

/// One that has expired as often, and is not armed.
const GOOD_TIMER: Timerfd = Timerfd {
    ticks: COUNT,
    left: 0,
    interval: 0,
    wall: 0,
    clock: 1,
    flags: NONBLOCK,
};

fn page<N: Note>(note: &N) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    write(&mut page, note);
    page
}

/// A page of which the head says something else, with a checksum that is right.
fn with_head(change: impl FnOnce(&mut Head)) -> [u8; PAGE] {
    const SUMMED: usize = size_of::<Head>() - 8;
    let mut page = page(&GOOD);
    if let Ok((mut head, _)) = Head::read_from_prefix(&page) {
        change(&mut head);
        let mut digest = luo_core::Digest::new();
        digest.absorb_bytes(&head.as_bytes()[..SUMMED]);
        digest.absorb_bytes(GOOD.as_bytes());
        head.checksum = digest.finish();
        page[..size_of::<Head>()].copy_from_slice(head.as_bytes());
    }
    page
}

const fn bad(name: &'static str, page: fn() -> [u8; PAGE]) -> File {
    File {
        name,
        compatible: EVENTFD,
        page,
        place: |own, _| own,
        pipe: None,
        expected: Some(Errno::EINVAL),
    }
}

/// A pipe that holds [`COUNT`], in one record on one page.
fn good_pipe(first: u64) -> Pipe {
    Pipe {
        flags: READ_END | READ_NONBLOCK,
        slots: 16,
        bytes: 8,
        records: 1,
        pages: 1,
        first,
    }
}

/// The page of that, with a head that says something else, and a checksum that is right.
fn held_with(change: impl FnOnce(&mut Held)) -> [u8; PAGE] {
    const SUMMED: usize = size_of::<Held>() - 8;
    let record = [
        Piece {
            length: 8,
            flags: 0,
        }
        .as_bytes(),
        COUNT.as_bytes(),
    ]
    .concat();
    let mut head = Held {
        next: 0,
        count: 1,
        length: record.len() as u64,
        checksum: 0,
    };
    change(&mut head);
    let mut digest = luo_core::Digest::new();
    digest.absorb_bytes(&head.as_bytes()[..SUMMED]);
    digest.absorb_bytes(&record);
    head.checksum = digest.finish();
    let mut page = [0; PAGE];
    page[..size_of::<Held>()].copy_from_slice(head.as_bytes());
    page[size_of::<Held>()..][..record.len()].copy_from_slice(&record);
    page
}

fn good_held(_: u64) -> [u8; PAGE] {
    held_with(|_| ())
}

const fn pipe(name: &'static str, pipe: fn(u64) -> Pipe, held: fn(u64) -> [u8; PAGE]) -> File {
    File {
        compatible: PIPE,
        pipe: Some((pipe, held)),
        ..bad(name, || [0; PAGE])
    }
}

const fn placed(name: &'static str, place: fn(u64, u64) -> u64) -> File {
    File {
        place,
        ..bad(name, || page(&GOOD))
    }
}

/// All of them; the token of each is its place, from 1 on.
const FILES: &[File] = &[
    File {
        expected: None,
        ..bad("an-eventfd-as-it-should-be", || page(&GOOD))
    },
    File {
        expected: None,
        compatible: TIMERFD,
        ..bad("a-timer-as-it-should-be", || page(&GOOD_TIMER))
    },
    bad("nothing", || [0; PAGE]),
    bad("garbage", || [0xa5; PAGE]),
    bad("a-timers-note", || page(&GOOD_TIMER)),
    bad("a-mark-of-another", || with_head(|head| head.magic[4] ^= 1)),
    bad("a-checksum", || {
        let mut page = page(&GOOD);
        page[size_of::<Head>()] ^= 1;
        page
    }),
    File {
        expected: Some(Errno::EOPNOTSUPP),
        ..bad("a-feature-of-the-future", || {
            with_head(|head| head.required = 1 << 40)
        })
    },
    bad("no-length", || with_head(|head| head.length = 0)),
    bad("a-length-beyond-the-page", || {
        with_head(|head| head.length = u64::MAX)
    }),
    bad("flags-of-the-future", || {
        page(&Eventfd {
            flags: 1 << 20,
            ..GOOD
        })
    }),
    File {
        compatible: TIMERFD,
        ..bad("a-clock-that-is-none", || {
            page(&Timerfd {
                clock: 99,
                ..GOOD_TIMER
            })
        })
    },
    File {
        compatible: TIMERFD,
        ..bad("a-time-beyond-all", || {
            page(&Timerfd {
                left: u64::MAX,
                ..GOOD_TIMER
            })
        })
    },
    File {
        expected: None,
        ..pipe("a-pipe-as-it-should-be", good_pipe, good_held)
    },
    pipe(
        "a-pipe-without-ends",
        |first| Pipe {
            flags: READ_NONBLOCK,
            ..good_pipe(first)
        },
        good_held,
    ),
    pipe(
        "a-pipe-that-may-hold-nothing",
        |first| Pipe {
            slots: 0,
            ..good_pipe(first)
        },
        good_held,
    ),
    pipe(
        "a-pipe-of-all-memory",
        |first| Pipe {
            slots: 1 << 40,
            ..good_pipe(first)
        },
        good_held,
    ),
    pipe(
        "a-pipe-that-holds-more-than-it-may",
        |first| Pipe {
            slots: 1,
            bytes: 5000,
            ..good_pipe(first)
        },
        good_held,
    ),
    pipe(
        "a-pipe-with-fewer-bytes-than-it-says",
        |first| Pipe {
            bytes: 16,
            ..good_pipe(first)
        },
        good_held,
    ),
    pipe(
        "a-pipe-whose-pages-are-nowhere",
        |_| good_pipe(1 << 45),
        good_held,
    ),
    pipe(
        "a-pipe-whose-pages-have-no-end",
        |first| Pipe {
            pages: 30,
            records: 30,
            bytes: 240,
            ..good_pipe(first)
        },
        |own| held_with(|head| head.next = own),
    ),
    pipe("a-pipe-with-a-checksum", good_pipe, |_| {
        let mut page = good_held(0);
        page[size_of::<Held>() + 9] ^= 1;
        page
    }),
    pipe("a-pipe-with-more-records-than-bytes", good_pipe, |_| {
        held_with(|head| head.count = 400)
    }),
    pipe("a-pipe-with-bytes-beyond-the-page", good_pipe, |_| {
        held_with(|head| head.length = 1 << 20)
    }),
    File {
        // Of the end that is written to, which did not come along.
        place: |own, _| own | 1,
        ..pipe("an-end-that-did-not-come-along", good_pipe, good_held)
    },
    File {
        page: || page(&GOOD),
        compatible: PIPE,
        ..bad("an-eventfds-note-for-a-pipe", || page(&GOOD))
    },
    placed("beyond-memory", |_, _| 1 << 45),
    placed("where-nothing-was-preserved", |_, _| 0x8000),
    placed("between-pages", |own, _| own + 8),
    placed("at-nothing", |_, _| 0),
    // That one has been restored by then, and its page is gone.
    placed("one-page-of-two-files", |_, first| first),
];

/// A session with all of them.
pub(super) fn compose(composer: &mut Composer<'_>) -> Result<()> {
    composer.root()?;
    let mut records = Vec::new();
    let mut first = None;
    for (at, file) in FILES.iter().enumerate() {
        let (page, own) = composer.page()?;
        let written = match file.pipe {
            None => (file.page)(),
            Some((pipe, held)) => {
                let (behind, first) = composer.page()?;
                composer.put(behind, 0, &held(first))?;
                self::page(&pipe(first))
            }
        };
        composer.put(page, 0, &written)?;
        let first = *first.get_or_insert(own);
        records.push(FileRecord {
            compatible: field(file.compatible),
            data: (file.place)(own, first),
            token: at as u64 + 1,
        });
    }
    composer.files(&records)?;
    let sessions = composer.sessions_at()?;
    composer.point(sessions, 0)
}

/// Retrieves each: what is damaged is refused, then and each time after, and what is not
/// comes back.
pub(super) fn check() -> Result<()> {
    let session = device()?.retrieve_session(&name(SESSION))?;
    let mut complaints = Vec::new();
    for (at, file) in FILES.iter().enumerate() {
        let token = Token(at as u64 + 1);
        let checked = match file.expected {
            Some(errno) => refused(session.retrieve_fd(token), errno)
                .and_then(|()| refused(session.retrieve_fd(token), errno)),
            None => session
                .retrieve_fd(token)
                .map_err(anyhow::Error::from)
                .and_then(|fd| {
                    let mut count = [0; 8];
                    rustix::io::read(&fd, &mut count)?;
                    same("the count", u64::from_ne_bytes(count), COUNT)
                }),
        };
        if let Err(why) = checked {
            complaints.push(format!("{}: {why:#}", file.name));
        }
    }
    ensure!(complaints.is_empty(), "{}", complaints.join("; "));
    Ok(session.finish()?)
}
