// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the entries of a list go.

use luo_abi::contract::{FileInfo, List, LIST_FILES};
use luo_abi::errno::Errno;
use luo_core::SessionId;
use luo_testhost::TestHost;
use zerocopy::FromBytes;

use crate::program::{Numbers, Program, BASE};

/// Where the entries go: far behind the argument.
const ENTRIES: usize = 1024;
const FILE: usize = size_of::<FileInfo>();

fn session() -> (TestHost, SessionId, Program) {
    let host = TestHost::cold();
    let session = host.create("vm");
    for token in 1..=3 {
        host.preserve(session, token, token).unwrap();
    }
    (host, session, Program::new(Numbers::Early))
}

pub fn asked(entry_size: usize) -> List {
    List {
        size: size_of::<List>() as u32,
        flags: 0,
        cursor: 0,
        entries: BASE + ENTRIES as u64,
        entry_size: entry_size as u32,
        capacity: 3,
        count: 0,
        reserved: 0,
        total: 0,
        token: 0,
    }
}

/// What a newer program knows of an entry is zero, and nothing is written behind it.
#[test]
fn entries_of_any_size_are_filled() {
    for size in [FILE, FILE + 1, FILE + 64, FILE + 65, FILE + 200] {
        let (host, session, program) = session();
        program.put(&vec![0xaa; 8192]);
        assert_eq!(
            program.session(&host, session, LIST_FILES, &asked(size)),
            Ok(())
        );
        let list: List = program.argument();
        assert_eq!((list.count, list.total, list.cursor), (3, 3, 0));
        for index in 0..3 {
            let entry = program.bytes(ENTRIES + index * size, size);
            let (file, rest) = FileInfo::read_from_prefix(&entry).unwrap();
            assert_eq!(file.token, index as u64 + 1, "{size}");
            assert!(rest.iter().all(|&byte| byte == 0), "{size}");
        }
        assert_eq!(program.bytes(ENTRIES + 3 * size, 8), [0xaa; 8], "{size}");
    }
}

#[test]
fn entries_that_cannot_be_written_are_efault() {
    let (host, session, program) = session();
    for size in [FILE, FILE + 8] {
        for entries in [0, BASE - 1, u64::MAX, u64::MAX - FILE as u64] {
            let argument = List {
                entries,
                ..asked(size)
            };
            let done = program.session(&host, session, LIST_FILES, &argument);
            assert_eq!(done, Err(Errno::EFAULT), "{entries:#x}");
        }
        // None are asked for, and none written.
        let argument = List {
            entries: 0,
            capacity: 0,
            ..asked(size)
        };
        let done = program.session(&host, session, LIST_FILES, &argument);
        assert_eq!(done, Ok(()));
    }
}
