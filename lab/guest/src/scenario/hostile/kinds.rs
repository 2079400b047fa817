// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of what can be wrong with a handover.

use std::fs;

use anyhow::{Context, Result};
use luo_abi::handover::{FILES_PER_BLOCK, MAX_FLBS, Root, SESSIONS_PER_BLOCK};
use luo_abi::supplement::Root as Supplement;

use super::compose::{Composer, RECORDS, field, file, flb, flb_header, header, root, session};
use super::supplement::{self, SESSIONS_PAGE, edge};
use super::{machines, memfds, notes};

/// What the next kernel must make of a handover.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// It is refused as a whole, once and for good.
    Refused,
    /// It is taken over.
    Accepted {
        /// With these sessions.
        sessions: &'static [Session],
        /// And these dependencies.
        needs: &'static [(FileName, FileName)],
    },
    /// It is taken over, and one file of a session waits for a handler that does not come.
    Waits(&'static str),
    /// It is taken over, with the files of [`memfds`].
    Memfds,
    /// It is taken over, with the files of [`notes`].
    Notes,
    /// It is taken over, with the files of [`machines`].
    Machines,
}

/// A session's name, and the token of a file.
pub(super) type FileName = (&'static str, u64);

/// A session's name, and its files' tokens.
pub(super) type Session = (&'static str, &'static [u64]);

/// One way to forge a handover.
pub(super) struct Kind {
    /// The case's name.
    pub(super) name: &'static str,
    /// Composes it.
    pub(super) build: fn(&mut Composer<'_>) -> Result<()>,
    /// What the next kernel must make of it.
    pub(super) expected: Expected,
}

const fn bad(name: &'static str, build: fn(&mut Composer<'_>) -> Result<()>) -> Kind {
    Kind {
        name,
        build,
        expected: Expected::Refused,
    }
}

const fn good(
    name: &'static str,
    sessions: &'static [Session],
    build: fn(&mut Composer<'_>) -> Result<()>,
) -> Kind {
    Kind {
        name,
        build,
        expected: Expected::Accepted {
            sessions,
            needs: &[],
        },
    }
}

/// A session of a user's, and one of the administrator's.
const OF_USER: &str = "uid:1000:own";
const OF_ROOT: &str = "own";

/// In such a session the token of a file that no handler takes, and that of one that can be had.
pub(super) const WAITING: [u64; 2] = [1, 2];

/// The session beside it, with one file.
pub(super) const BESIDE: (&str, u64) = ("victim", 1);

/// As many handlers as a kernel can have.
const MOST_HANDLERS: usize = 256;

/// An address beyond any memory of a test VM.
const BEYOND: u64 = 1 << 45;

/// All kinds. The valid ones show that it is the forgery that is refused.
pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "memfds",
        build: memfds::compose,
        expected: Expected::Memfds,
    },
    Kind {
        name: "notes",
        build: notes::compose,
        expected: Expected::Notes,
    },
    Kind {
        name: "machines",
        build: machines::compose,
        expected: Expected::Machines,
    },
    good("valid", &[], |c| c.root()),
    good("valid-sessions", &[("one", &[]), ("two", &[])], |c| {
        c.root()?;
        c.sessions(&[session("one", 0, 0), session("two", 0, 0)])
            .map(drop)
    }),
    good("valid-files", &[("victim", &[1, u64::MAX])], |c| {
        c.root()?;
        c.files(&[file(1), file(u64::MAX)])?;
        let (page, flbs) = c.test_flbs(2)?;
        let sessions = c.address(page - 1)?;
        c.point(sessions, flbs)
    }),
    bad("bad-magic", |c| {
        c.root()?;
        c.put(
            0,
            0,
            &Root {
                compatible: *b"notluo!!",
                ..root(0, 0)
            },
        )
    }),
    bad("future-version", |c| {
        c.root()?;
        c.put(
            0,
            0,
            &Root {
                compatible: *b"luo-v6\0\0",
                ..root(0, 0)
            },
        )
    }),
    bad("truncated-root", |c| {
        c.root()?;
        c.claim_root_size(8);
        Ok(())
    }),
    bad("sessions-unaligned", |c| {
        c.root()?;
        let (_, address) = c.sessions(&[session("one", 0, 0)])?;
        c.point(address + 8, 0)
    }),
    bad("sessions-low-memory", |c| {
        c.root()?;
        c.point(0x1000, 0)
    }),
    bad("sessions-unpreserved", |c| {
        c.root()?;
        c.point(free_memory()?, 0)
    }),
    bad("sessions-beyond-memory", |c| {
        c.root()?;
        c.point(BEYOND, 0)
    }),
    bad("block-count-zero", |c| {
        c.root()?;
        let (page, _) = c.sessions(&[session("one", 0, 0)])?;
        c.put(page, 0, &header(0, 0))
    }),
    bad("block-count-too-large", |c| {
        c.root()?;
        let (page, _) = c.sessions(&[session("one", 0, 0)])?;
        c.put(page, 0, &header(0, SESSIONS_PER_BLOCK as u64 + 1))
    }),
    bad("block-next-beyond-memory", |c| {
        c.root()?;
        let (page, _) = c.sessions(&[session("one", 0, 0)])?;
        c.put(page, 0, &header(BEYOND, 1))
    }),
    bad("block-loop-self", |c| {
        c.root()?;
        let (page, address) = c.sessions(&[session("one", 0, 0)])?;
        c.put(page, 0, &header(address, 1))
    }),
    bad("block-loop-two", |c| {
        c.root()?;
        let (first, first_address) = c.sessions(&[session("one", 0, 0)])?;
        let (second, second_address) = c.block(&[session("two", 0, 0)])?;
        c.put(first, 0, &header(second_address, 1))?;
        c.put(second, 0, &header(first_address, 1))
    }),
    bad("files-shared", |c| {
        c.root()?;
        let (_, files) = c.block(&[file(1)])?;
        c.sessions(&[session("one", files, 1), session("two", files, 1)])
            .map(drop)
    }),
    bad("files-beyond-memory", |c| {
        c.root()?;
        c.sessions(&[session("one", BEYOND, 1)]).map(drop)
    }),
    bad("files-are-the-sessions", |c| {
        c.root()?;
        let (page, address) = c.sessions(&[session("one", 0, 0)])?;
        c.put(page, RECORDS, &session("one", address, 1))
    }),
    bad("sessions-are-the-root", |c| {
        c.root()?;
        let address = c.address(0)?;
        c.point(address, 0)
    }),
    bad("session-duplicate-name", |c| {
        c.root()?;
        c.sessions(&[session("one", 0, 0), session("one", 0, 0)])
            .map(drop)
    }),
    bad("session-empty-name", |c| {
        c.root()?;
        c.sessions(&[session("", 0, 0)]).map(drop)
    }),
    bad("session-unterminated-name", |c| {
        c.root()?;
        c.sessions(&[session(&"x".repeat(64), 0, 0)]).map(drop)
    }),
    bad("file-duplicate-token", |c| {
        c.root()?;
        c.files(&[file(1), file(1)])
    }),
    bad("file-count-more", |c| {
        c.root()?;
        let (_, files) = c.block(&[file(1)])?;
        c.sessions(&[session("one", files, 2)]).map(drop)
    }),
    bad("file-count-less", |c| {
        c.root()?;
        let (_, files) = c.block(&[file(1), file(2)])?;
        c.sessions(&[session("one", files, 1)]).map(drop)
    }),
    bad("file-count-huge", |c| {
        c.root()?;
        let (_, files) = c.block(&[file(1)])?;
        c.sessions(&[session("one", files, u64::MAX)]).map(drop)
    }),
    bad("file-count-without-files", |c| {
        c.root()?;
        c.sessions(&[session("one", 0, 1)]).map(drop)
    }),
    Kind {
        name: "handler-unknown",
        build: |c| one_waits(c, OF_ROOT),
        expected: Expected::Waits(OF_ROOT),
    },
    Kind {
        name: "handler-unknown-of-a-user",
        build: |c| one_waits(c, OF_USER),
        expected: Expected::Waits(OF_USER),
    },
    bad("handlers-unknown-too-many", |c| {
        c.root()?;
        let mut next = 0;
        let mut files = MOST_HANDLERS + 1;
        let all = files;
        // From the end, as each block leads to the next.
        while files > 0 {
            let first = (files - 1) / FILES_PER_BLOCK * FILES_PER_BLOCK;
            let records: Vec<_> = (first..files)
                .map(|at| {
                    let mut record = file(at as u64);
                    record.compatible = field(&format!("nosuch-v{at}"));
                    record
                })
                .collect();
            let (page, address) = c.block(&records)?;
            c.put(page, 0, &header(next, records.len() as u64))?;
            (next, files) = (address, first);
        }
        c.sessions(&[session("one", next, all as u64)]).map(drop)
    }),
    bad("handler-unterminated", |c| {
        c.root()?;
        let mut record = file(1);
        record.compatible = field(&"x".repeat(48));
        c.files(&[record])
    }),
    bad("flb-count-too-large", |c| {
        c.root()?;
        let (page, address) = c.page()?;
        c.put(page, 0, &flb_header(MAX_FLBS as u64 + 1))?;
        c.point(0, address)
    }),
    bad("flb-unpreserved", |c| {
        c.root()?;
        c.point(0, free_memory()?)
    }),
    bad("flb-beyond-memory", |c| {
        c.root()?;
        c.point(0, BEYOND)
    }),
    bad("flb-unterminated-name", |c| {
        c.root()?;
        let (page, address) = c.page()?;
        c.put(page, 0, &flb_header(1))?;
        c.put(page, RECORDS, &flb(field(&"x".repeat(48))))?;
        c.point(0, address)
    }),
    Kind {
        name: "supplement-valid",
        build: |c| supplement::compose(c, &[edge(0, 1)], |_| (), |_| ()),
        expected: Expected::Accepted {
            sessions: &[("one", &[1]), ("two", &[1])],
            needs: &[(("one", 1), ("two", 1))],
        },
    },
    bad("supplement-future-version", |c| {
        let spoil = |root: &mut Supplement| root.compatible = *b"luo-contract-v2\0";
        supplement::compose(c, &[edge(0, 1)], spoil, |_| ())
    }),
    bad("supplement-truncated", |c| {
        supplement::compose(c, &[edge(0, 1)], |_| (), |_| ())?;
        c.claim_supplement_size(8);
        Ok(())
    }),
    bad("supplement-checksum", |c| {
        let damage = |root: &mut Supplement| root.checksum ^= 1;
        supplement::compose(c, &[edge(0, 1)], |_| (), damage)
    }),
    bad("supplement-digest", |c| {
        let spoil = |root: &mut Supplement| root.digest ^= 1;
        supplement::compose(c, &[edge(0, 1)], spoil, |_| ())
    }),
    bad("supplement-early-digest", |c| {
        let spoil = |root: &mut Supplement| root.early_digest ^= 1;
        supplement::compose(c, &[edge(0, 1)], spoil, |_| ())
    }),
    bad("supplement-of-another-update", |c| {
        let spoil = |root: &mut Supplement| root.update_number = 2;
        supplement::compose(c, &[edge(0, 1)], spoil, |_| ())
    }),
    bad("supplement-cycle", |c| {
        supplement::compose(c, &[edge(0, 1), edge(1, 0)], |_| (), |_| ())
    }),
    bad("supplement-unknown-session", |c| {
        supplement::compose(c, &[edge(0, 2)], |_| (), |_| ())
    }),
    // Well-formed, and only the digest tells.
    bad("supplement-of-other-sessions", |c| {
        supplement::compose(c, &[edge(0, 1)], |_| (), |_| ())?;
        let files = c.address(1)?;
        c.put(SESSIONS_PAGE, RECORDS, &session("six", files, 1))
    }),
];

/// A page of RAM that nobody has preserved: the middle of the largest range.
fn free_memory() -> Result<u64> {
    let map = fs::read_to_string("/proc/iomem").context("/proc/iomem")?;
    let ranges = map.lines().filter_map(ram_range);
    let (start, end) = ranges
        .max_by_key(|(start, end)| end - start)
        .context("/proc/iomem shows no RAM")?;
    Ok((start + (end - start) / 2) & !0xfff)
}

/// `00100000-7fffffff : System RAM`, if it is one; indented lines are parts.
fn ram_range(line: &str) -> Option<(u64, u64)> {
    let (range, what) = line.split_once(" : ")?;
    let (start, end) = range.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    (what == "System RAM" && end > start).then_some((start, end))
}

/// A session of which a file has no handler here, and one beside it.
fn one_waits(c: &mut Composer<'_>, own: &str) -> Result<()> {
    c.root()?;
    let [waiting, other] = WAITING;
    let mut unknown = file(waiting);
    unknown.compatible = field("nosuch-v1");
    let (_, owns) = c.block(&[unknown, file(other)])?;
    let (victim, token) = BESIDE;
    let (_, victims) = c.block(&[file(token)])?;
    let records = [session(own, owns, 2), session(victim, victims, 1)];
    let (_, sessions) = c.block(&records)?;
    let (_, flbs) = c.test_flbs(2)?;
    c.point(sessions, flbs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KINDS.len());
    }

    #[test]
    fn only_whole_ranges_count() {
        let line = "00100000-7fffffff : System RAM";
        assert_eq!(ram_range(line), Some((0x10_0000, 0x7fff_ffff)));
        assert_eq!(ram_range("  01000000-01ffffff : Kernel code"), None);
        assert_eq!(ram_range("00000000-00000fff : Reserved"), None);
    }
}
