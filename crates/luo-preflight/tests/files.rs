// SPDX-License-Identifier: MIT OR Apache-2.0
//! Facts and checks of real descriptors.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

use luo_preflight::file::{self, Facts, Kind, look, together};
use luo_preflight::limits::MEMORY_RESERVE;
use luo_preflight::memfds::Memfds;
use luo_preflight::memory::Memory;
use luo_preflight::{Check, CheckStatus, Known};
use rustix::fs::{FileType, MemfdFlags, Mode, OFlags, SealFlags};

const MIB: u64 = 1 << 20;

/// Mainline's handler in both kernels.
const MAINLINE: Memfds = Memfds {
    here: false,
    there: None,
};

/// The handler in Rust in the running kernel.
const fn ours(there: Option<bool>) -> Memfds {
    Memfds { here: true, there }
}

fn checks(
    name: &str,
    facts: &Facts,
    memory: &Known<Memory>,
    handlers: Option<&[String]>,
) -> Vec<Check> {
    file::checks(name, facts, memory, handlers, MAINLINE)
}

fn memfd() -> File {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    File::from(rustix::fs::memfd_create("test", flags).unwrap())
}

fn page() -> u64 {
    rustix::param::page_size() as u64
}

fn memory(available: u64) -> Known<Memory> {
    Ok(Memory {
        movable: 0,
        total: u64::MAX,
        available,
    })
}

fn status(checks: &[Check], name: &str) -> CheckStatus {
    let named: Vec<_> = checks.iter().filter(|check| check.name == name).collect();
    assert_eq!(named.len(), 1, "{name} in {checks:?}");
    named[0].status
}

fn kind_of(fd: impl AsFd) -> Kind {
    let facts = look(fd).unwrap();
    let handlers = ["memfd-v2".to_owned(), "luo-memfd-v1".to_owned()];
    let checks = checks("it", &facts, &memory(u64::MAX), Some(&handlers));
    let expected = match facts.kind {
        Kind::Memfd => CheckStatus::Ok,
        _ => CheckStatus::Failed,
    };
    assert_eq!(status(&checks, "file-kind"), expected);
    facts.kind
}

#[test]
fn a_full_memfd_is_fine() {
    let mut file = memfd();
    file.write_all(&[1; 10_000]).unwrap();
    let facts = look(&file).unwrap();
    assert_eq!(facts.kind, Kind::Memfd);
    assert_eq!((facts.size, facts.holes), (10_000, 0));
    let checks = checks("it", &facts, &memory(u64::MAX), None);
    assert!(
        checks.iter().all(|check| check.status == CheckStatus::Ok),
        "{checks:?}"
    );
}

#[test]
fn an_empty_memfd_is_fine() {
    let facts = look(memfd()).unwrap();
    assert_eq!(
        (facts.size, facts.holes, facts.to_allocate(MAINLINE)),
        (0, 0, 0)
    );
    let checks = checks("it", &facts, &memory(MEMORY_RESERVE), None);
    assert!(
        checks.iter().all(|check| check.status == CheckStatus::Ok),
        "{checks:?}"
    );
}

#[test]
fn holes_are_counted_in_whole_pages() {
    let page = page();
    let mut file = memfd();
    // Data in pages 0, 5 and 6; a hole from 7 into the middle of 9.
    for (at, count) in [(0, 1), (5 * page + 17, page)] {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&vec![1; count as usize]).unwrap();
    }
    file.set_len(9 * page + 100).unwrap();
    assert_eq!(look(&file).unwrap().holes, (4 + 3) * page);
    // A part of a page at the end that has data is none.
    file.seek(SeekFrom::Start(9 * page)).unwrap();
    file.write_all(&[1]).unwrap();
    assert_eq!(look(&file).unwrap().holes, (4 + 2) * page);
}

#[test]
fn looking_moves_no_position() {
    let mut file = memfd();
    file.write_all(&[1; 100]).unwrap();
    file.set_len(100 * page()).unwrap();
    file.seek(SeekFrom::Start(42)).unwrap();
    look(&file).unwrap();
    assert_eq!(file.stream_position().unwrap(), 42);
}

#[test]
fn a_sparse_memfd_larger_than_memory_is_refused() {
    let file = memfd();
    file.set_len(1 << 40).unwrap();
    let facts = look(&file).unwrap();
    assert_eq!(facts.holes, 1 << 40);
    let found = checks("it", &facts, &memory(1 << 39), None);
    assert_eq!(status(&found, "file-memory"), CheckStatus::Failed);
    // There is enough, but it is said.
    let found = checks("it", &facts, &memory(1 << 42), None);
    assert_eq!(status(&found, "file-memory"), CheckStatus::Warning);
    let found = checks("it", &facts, &Err("no /proc".into()), None);
    assert_eq!(status(&found, "file-memory"), CheckStatus::Unknown);
}

#[test]
fn the_records_of_pages_are_counted_and_the_reserve_stays() {
    let facts = Facts {
        page: page(),
        ..Facts::plain(Kind::Memfd, 1024 * page())
    };
    assert_eq!(facts.to_allocate(MAINLINE), 1024 * 24);
    let status_with = |available| {
        status(
            &checks("it", &facts, &memory(available), None),
            "file-memory",
        )
    };
    assert_eq!(status_with(MEMORY_RESERVE + 1024 * 24), CheckStatus::Ok);
    assert_eq!(
        status_with(MEMORY_RESERVE + 1024 * 24 - 1),
        CheckStatus::Failed
    );
}

#[test]
fn a_file_of_more_pages_than_an_int_counts_is_refused() {
    let facts = |pages: u64| Facts::plain(Kind::Memfd, pages * 4096);
    let found = checks(
        "it",
        &facts(u64::from(u32::MAX) + 1),
        &memory(u64::MAX),
        None,
    );
    assert_eq!(status(&found, "file-size"), CheckStatus::Failed);
    let found = checks("it", &facts(u64::from(u32::MAX)), &memory(u64::MAX), None);
    assert!(found.iter().all(|check| check.name != "file-size"));
}

#[test]
fn seals_are_those_of_the_handler() {
    let file = memfd();
    let known = SealFlags::GROW | SealFlags::SHRINK | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, known).unwrap();
    let facts = look(&file).unwrap();
    assert_eq!(facts.seals, known.bits());
    let found = checks("it", &facts, &memory(u64::MAX), None);
    assert!(found.iter().all(|check| check.status == CheckStatus::Ok));
    // No kernel has this one yet.
    let unknown = Facts {
        seals: 0x40,
        ..facts
    };
    let found = checks("it", &unknown, &memory(u64::MAX), None);
    assert_eq!(status(&found, "file-seals"), CheckStatus::Failed);
}

/// The kernel's handler makes one that may be executed, and adds the seals to it.
#[test]
fn memory_that_must_not_be_executed_would_come_back_sealed() {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL;
    let file = rustix::fs::memfd_create("ram", flags).unwrap();
    let found = checks("it", &look(&file).unwrap(), &memory(u64::MAX), None);
    assert_eq!(status(&found, "file-seals"), CheckStatus::Failed);
    // With the handler in Rust in both kernels it is as it was; where the other is not known
    // it is said.
    let facts = look(&file).unwrap();
    let of = |memfds| {
        let found = file::checks("it", &facts, &memory(u64::MAX), None, memfds);
        let found = found.into_iter().filter(|check| check.name == "file-seals");
        found.map(|check| check.status).collect::<Vec<_>>()
    };
    assert_eq!(of(ours(Some(true))), []);
    assert_eq!(of(ours(None)), [CheckStatus::Warning]);
    assert_eq!(of(ours(Some(false))), [CheckStatus::Failed]);
    // What is not written any more anyway loses nothing.
    rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE).unwrap();
    let found = checks("it", &look(&file).unwrap(), &memory(u64::MAX), None);
    assert!(found.iter().all(|check| check.name != "file-seals"));
}

#[test]
fn what_mainlines_handler_loses_is_told() {
    let file = memfd();
    rustix::fs::fchmod(&file, Mode::from_bits_retain(0o600)).unwrap();
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND).unwrap();
    let facts = look(&file).unwrap();
    let of = |memfds| {
        let found = file::checks("it", &facts, &memory(u64::MAX), None, memfds);
        found.into_iter().find(|check| check.name == "file-facts")
    };
    assert!(of(ours(Some(true))).is_none());
    assert!(of(ours(None)).is_none());
    for memfds in [MAINLINE, ours(Some(false))] {
        let check = of(memfds).unwrap();
        assert_eq!(check.status, CheckStatus::Warning);
        assert!(check.found.contains("0o600"), "{check:?}");
        assert!(check.found.contains("O_APPEND"), "{check:?}");
    }
}

/// Only mainline's handler fills holes.
#[test]
fn holes_take_no_memory_with_the_handler_in_rust() {
    let file = memfd();
    file.set_len(1 << 40).unwrap();
    let facts = look(&file).unwrap();
    let found = file::checks("it", &facts, &memory(1 << 39), None, ours(None));
    assert_eq!(status(&found, "file-memory"), CheckStatus::Ok);
    assert!(facts.to_allocate(ours(None)) < facts.to_allocate(MAINLINE));
}

#[test]
fn other_kinds_are_refused() {
    assert_eq!(kind_of(memfd()), Kind::Memfd);
    let (pipe, _) = rustix::pipe::pipe().unwrap();
    assert_eq!(kind_of(pipe), Kind::Small(&luo_preflight::small::ALL[2]));
    let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(kind_of(socket), Kind::Other("a socket"));
    assert_eq!(kind_of(File::open("/").unwrap()), Kind::Other("a folder"));
    let null = File::open("/dev/null").unwrap();
    assert_eq!(kind_of(null), Kind::Object("a character device"));
    let path: OwnedFd = rustix::fs::open("/", OFlags::PATH, Mode::empty()).unwrap();
    assert_eq!(kind_of(path), Kind::Path);
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).unwrap();
    assert_eq!(kind_of(event), Kind::Small(&luo_preflight::small::ALL[0]));
    let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::empty()).unwrap();
    assert!(matches!(kind_of(epoll), Kind::Object(_)));
    let proc = File::open("/proc/self/status").unwrap();
    assert_eq!(kind_of(proc), Kind::Other("a file on a file system"));
}

#[test]
fn what_cannot_be_made_everywhere_is_judged_by_its_numbers() {
    const TMPFS: u64 = 0x0102_1994;
    let regular = FileType::RegularFile;
    assert_eq!(file::kind(TMPFS, regular, 0), Kind::Memfd);
    assert_eq!(file::kind(TMPFS, regular, 1), Kind::Named);
    assert_eq!(file::kind(0x9584_58f6, regular, 0), Kind::HugeTlb);
    // As machines say it whose words are signed.
    assert_eq!(file::kind(0xffff_ffff_9584_58f6, regular, 0), Kind::HugeTlb);
    assert_eq!(
        file::kind(0x5345_434d, regular, 0),
        Kind::Other("secret memory")
    );
    assert_eq!(
        file::kind(TMPFS, FileType::Directory, 0),
        Kind::Other("a folder")
    );
}

#[test]
fn a_hugetlb_memfd_is_refused() {
    let made = rustix::fs::memfd_create("huge", MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB);
    let facts = match &made {
        Ok(fd) => look(fd).unwrap(),
        // Judged by its numbers then.
        Err(why) => {
            eprintln!("NOT RUN with a real one: this kernel makes no hugetlb memfd ({why})");
            Facts {
                page: page(),
                ..Facts::plain(file::kind(0x9584_58f6, FileType::RegularFile, 0), 2 * MIB)
            }
        }
    };
    assert_eq!(facts.kind, Kind::HugeTlb);
    let found = checks("the memfd \"ram\"", &facts, &memory(u64::MAX), None);
    assert_eq!(status(&found, "file-kind"), CheckStatus::Failed);
    assert!(found[0].found.contains("hugetlb") && found[0].found.contains("\"ram\""));
    assert!(found[0].remedy.as_deref().unwrap().contains("MFD_HUGETLB"));
}

#[test]
fn files_count_together_and_once() {
    let sparse = |size| {
        let file = memfd();
        file.set_len(size).unwrap();
        look(&file).map(|facts| (file, facts)).unwrap()
    };
    let ((_a, a), (_b, b)) = (sparse(4 * MIB), sparse(8 * MIB));
    let one = a.to_allocate(MAINLINE);
    assert_eq!(one, 4 * MIB + 4 * MIB / page() * 24);
    let both = [("a".to_string(), a.clone()), ("b".to_string(), b.clone())];
    assert_eq!(
        together(&both, MAINLINE),
        (one + b.to_allocate(MAINLINE), vec![])
    );
    let same = [("a".to_string(), a.clone()), ("c".to_string(), a)];
    let (total, found) = together(&same, MAINLINE);
    assert_eq!(total, one);
    assert_eq!(status(&found, "file-object"), CheckStatus::Failed);
}

/// All objects without a file have one number, and so have all that have opened one device.
#[test]
fn what_shares_a_number_is_not_the_same_file() {
    let device = || File::open("/dev/null").unwrap();
    let object = || rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC);
    let looks = |fds: [OwnedFd; 2]| {
        let all = fds.map(|fd| look(&fd).unwrap());
        assert_eq!(all[0].object, all[1].object);
        let [a, b] = all;
        assert!(matches!(a.kind, Kind::Object(_)), "{a:?}");
        [("a".to_string(), a), ("b".to_string(), b)]
    };
    for both in [
        [device().into(), device().into()],
        [object().unwrap(), object().unwrap()],
    ] {
        assert_eq!(together(&looks(both), MAINLINE).1, vec![]);
    }
}

/// All its pages have to be there when it is preserved.
/// A filter of calls keeps the kernel from being asked, say.
#[test]
fn what_is_swapped_out_and_not_known_is_not_taken_for_nothing() {
    let facts = Facts {
        swapped: None,
        page: page(),
        ..Facts::plain(Kind::Memfd, 1024 * page())
    };
    let found = checks("it", &facts, &memory(u64::MAX), None);
    assert_eq!(status(&found, "file-memory"), CheckStatus::Unknown);
    let found = &found
        .iter()
        .find(|check| check.name == "file-memory")
        .unwrap()
        .found;
    assert!(
        found.contains("up to 4096 KiB may be swapped out"),
        "{found}"
    );
    // What is all hole has nothing that could be.
    let empty = Facts {
        holes: facts.size,
        ..facts
    };
    let found = checks("it", &empty, &memory(u64::MAX), None);
    assert_ne!(status(&found, "file-memory"), CheckStatus::Unknown);
}

#[test]
fn what_is_swapped_out_is_read_in() {
    let facts = Facts {
        swapped: Some(112 * MIB),
        page: page(),
        ..Facts::plain(Kind::Memfd, 200 * MIB)
    };
    assert!(facts.to_allocate(MAINLINE) > 112 * MIB);
    let status_with = |available| {
        let found = checks("it", &facts, &memory(available), None);
        status(&found, "file-memory")
    };
    assert_eq!(status_with(128 * MIB), CheckStatus::Failed);
    assert_eq!(status_with(1024 * MIB), CheckStatus::Warning);
    // Of one that is there, nothing is.
    let mut file = memfd();
    file.write_all(&vec![1; 3 * page() as usize]).unwrap();
    assert_eq!(look(&file).unwrap().swapped, Some(0));
}

/// The kernel says what it can carry.
#[test]
fn which_kinds_are_preserved_is_asked_of_the_kernel() {
    let check = |kind, handlers: Option<&[&str]>| {
        let handlers: Option<Vec<String>> =
            handlers.map(|all| all.iter().map(ToString::to_string).collect());
        file::kind_check("it", kind, handlers.as_deref()).status
    };
    let device = Kind::Object("a character device");
    assert_eq!(check(device, Some(&["memfd-v2"])), CheckStatus::Failed);
    assert_eq!(check(device, Some(&[])), CheckStatus::Failed);
    let with_vfio = ["memfd-v2", "vfio-v1"];
    assert_eq!(check(device, Some(&with_vfio)), CheckStatus::Unknown);
    assert_eq!(check(Kind::HugeTlb, Some(&with_vfio)), CheckStatus::Unknown);
    assert_eq!(check(Kind::Path, Some(&with_vfio)), CheckStatus::Failed);
    // Mainline does not say.
    assert_eq!(check(device, None), CheckStatus::Unknown);
    assert_eq!(check(Kind::HugeTlb, None), CheckStatus::Failed);
    assert_eq!(check(Kind::Memfd, None), CheckStatus::Ok);
    assert_eq!(check(Kind::Memfd, Some(&["vfio-v1"])), CheckStatus::Failed);
}
