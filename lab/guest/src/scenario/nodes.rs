// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine of two NUMA nodes: files that have memory of both, of small pages and of huge ones,
//! come back on the same nodes, and each node's pool has its own pages.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{MappedFile, Session, Token};
use rustix::fs::MemfdFlags;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::check::{Suite, device, name, same};
use crate::fill::{self, Prng};
use crate::init::Guest;
use crate::{kexec, memory};

const SUITE: Suite = Suite::new("nodes");
const NODES: u64 = 2;
const SMALL: Token = Token(1);
const HUGE: Token = Token(2);

/// The file of small pages: as much on each node.
const BYTES_ON_NODE: u64 = 32 << 20;
const PAGE: u64 = 4096;
/// The file of huge pages, on the nodes in turn.
const HUGE_PAGE: usize = 2 << 20;
const HUGE_PAGES: usize = 6;
/// Huge pages of the file that are of one node.
const KEPT: u64 = HUGE_PAGES as u64 / NODES;
/// As the command line asks of each node.
const POOL: u64 = 8;

/// Hands the files over, and verifies them in the next kernel.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    if guest.boot > 0 {
        // The pages of the file come into the pools with it.
        SUITE.case("each-pool-has-its-own", || {
            each_pool_is(POOL - KEPT, POOL - KEPT)
        });
        let session = device()?.retrieve_session(&name("nodes"))?;
        SUITE.case("small-pages-come-back", || small_comes_back(&session));
        SUITE.case("huge-pages-come-back", || huge_comes_back(session));
        return Ok(());
    }
    let (small, huge) = (small()?, huge()?);
    SUITE.case("each-half-lies-on-its-node", || is_spread(&small));
    SUITE.case("each-pool-has-lent-its-own", || {
        each_pool_is(POOL, POOL - KEPT)
    });
    let session = device()?.create_session(&name("nodes"))?;
    session.preserve_fd(&small, SMALL)?;
    session.preserve_fd(&huge, HUGE)?;
    kexec::go(guest, |_, _| ())
}

/// Goes on a processor of a node: what is touched first there is that node's memory.
fn go_to(node: u64) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(usize::try_from(node)?);
    sched_setaffinity(None, &set).context("moving to another processor")
}

/// A file with known contents, the first half on the first node.
fn small() -> Result<File> {
    let length = NODES * BYTES_ON_NODE;
    let file = fill::memfd("nodes", 0, contents())?;
    file.set_len(length)?;
    for node in 0..NODES {
        go_to(node)?;
        let mapped = MappedFile::new(&file, usize::try_from(length)?)?;
        for place in (node * BYTES_ON_NODE..(node + 1) * BYTES_ON_NODE).step_by(4096) {
            mapped.store(usize::try_from(place)?, 0)?;
        }
    }
    fill::write(&file, length, contents())?;
    Ok(file)
}

fn contents() -> Prng {
    Prng::of(&[NODES])
}

/// A file of huge pages, every other one on the first node.
fn huge() -> Result<File> {
    let flags = MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB | MemfdFlags::CLOEXEC;
    let file = File::from(rustix::fs::memfd_create("huge", flags)?);
    file.set_len((HUGE_PAGES * HUGE_PAGE) as u64)?;
    let mapped = MappedFile::new(&file, HUGE_PAGES * HUGE_PAGE).context("mapping it")?;
    for page in 0..HUGE_PAGES {
        go_to(page as u64 % NODES)?;
        mapped.store(page * HUGE_PAGE, !page as u64)?;
    }
    Ok(file)
}

fn small_comes_back(session: &Session) -> Result<()> {
    let file = File::from(session.retrieve_fd(SMALL)?);
    fill::verify(&file, NODES * BYTES_ON_NODE, contents())?;
    is_spread(&file)
}

fn huge_comes_back(session: Session) -> Result<()> {
    let file = File::from(session.retrieve_fd(HUGE)?);
    session.finish()?;
    for page in 0..HUGE_PAGES {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, (page * HUGE_PAGE) as u64)?;
        same("what is there", u64::from_ne_bytes(bytes), !page as u64)?;
    }
    each_pool_is(POOL, POOL - KEPT)?;
    drop(file);
    each_pool_is(POOL, POOL)
}

/// Asserts that each half of the file of small pages lies on its node.
fn is_spread(file: &File) -> Result<()> {
    let of_node = BYTES_ON_NODE / PAGE;
    for node in 0..NODES {
        let range = frames_of(node)?;
        let frames = memory::frames(file, node * of_node..(node + 1) * of_node)?;
        let elsewhere = frames.iter().filter(|frame| !range.contains(frame)).count();
        ensure!(elsewhere == 0, "{elsewhere} pages are not on node {node}");
    }
    Ok(())
}

/// The frames that are a node's.
fn frames_of(node: u64) -> Result<Range<u64>> {
    let text = fs::read_to_string("/proc/zoneinfo").context("zoneinfo")?;
    let zones = text
        .split("Node ")
        .filter(|zone| zone.starts_with(&format!("{node}, zone")));
    let range = |zone: &str| {
        let number = |key: &str| -> Option<u64> {
            let mut lines = zone.lines().map(str::trim);
            lines
                .find_map(|line| line.strip_prefix(key))?
                .trim()
                .parse()
                .ok()
        };
        let (start, spanned) = (number("start_pfn:")?, number("spanned ")?);
        (spanned > 0).then_some(start..start + spanned)
    };
    let joined =
        |all: Range<u64>, zone: Range<u64>| all.start.min(zone.start)..all.end.max(zone.end);
    let found = zones.filter_map(range).reduce(joined);
    found.with_context(|| format!("there is no node {node}"))
}

/// Asserts how many huge pages each node has, and how many of them are free.
fn each_pool_is(total: u64, free: u64) -> Result<()> {
    for node in 0..NODES {
        let number = |of: &str| -> Result<u64> {
            let pool = format!("/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB");
            let text = fs::read_to_string(format!("{pool}/{of}")).context(of.to_owned())?;
            Ok(text.trim().parse()?)
        };
        same("the pages of a node", number("nr_hugepages")?, total)?;
        same("those that are free", number("free_hugepages")?, free)?;
    }
    Ok(())
}
