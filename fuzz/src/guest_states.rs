// SPDX-License-Identifier: MIT OR Apache-2.0
//! States of guests that a previous kernel left, damaged or made up.
//!
//! The first byte says what the others are:
//!
//! | first byte | the others |
//! |---|---|
//! | 0 | records of luo-vmm's state |
//! | 1 | changes of such records that a released version has written, four bytes each: where (2 bytes), what, how many times |
//! | 2, 3 | a head of luo-vmm's (2) or luo-qemu's (3) state, its mark of use, and what belongs to it |
//! | 4, 5 | which bit of such a head is changed (2 bytes), whether the state was used, and what belongs to it |

use luo_vmm::state::KIND;
use luo_vmm::state::guest::State;

use crate::show::show;

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The state was refused.
    Refused,
    /// It was read.
    Read,
}

/// Records as luo-vmm 0.1.0 has written them.
const WRITTEN: &[u8] = include_bytes!("../../vmms/luo-vmm/golden/state-0.1.0.bin");

/// Bytes of a head, and of a mark.
const HEAD: usize = 56;
const MARK: usize = 32;

/// Reads a state, and holds what comes of it to what must be true.
pub fn run(data: &[u8]) -> Outcome {
    let Some((how, rest)) = data.split_first() else {
        return Outcome::Refused;
    };
    let is_read = match how {
        0 => is_a_state(rest),
        1 => is_a_state(&changed(rest)),
        2 => is_a_head::<luo_monitor::head::Head>(rest),
        3 => is_a_head::<luo_qemu::state::Head>(rest),
        4 => is_a_changed_head::<luo_monitor::head::Head>(rest),
        5 => is_a_changed_head::<luo_qemu::state::Head>(rest),
        _ => false,
    };
    match is_read {
        true => Outcome::Read,
        false => Outcome::Refused,
    }
}

/// Reads records; what can be read is written, and read again as the same.
fn is_a_state(records: &[u8]) -> bool {
    let state = match State::decode(records) {
        Ok(state) => state,
        Err(why) => {
            show(format_args!("refused: {why}"));
            return false;
        }
    };
    let bytes = state.encode();
    let again = State::decode(&bytes).map(|state| state.encode());
    assert!(again == Ok(bytes), "another state was written");
    true
}

fn changed(changes: &[u8]) -> Vec<u8> {
    let mut records = WRITTEN.to_vec();
    for change in changes.chunks_exact(4) {
        let &[low, high, what, times] = change else {
            continue;
        };
        let from = usize::from(u16::from_le_bytes([low, high]));
        let bytes = records.iter_mut().skip(from);
        for byte in bytes.take(usize::from(times)) {
            *byte = what;
        }
    }
    records
}

/// A head, whichever.
trait Head: Sized {
    fn made(records: &[u8]) -> Self;
    fn bytes(&self) -> ([u8; HEAD], [u8; MARK]);
    fn parsed(head: &[u8; HEAD], mark: &[u8; MARK], room: u64) -> Option<Self>;
    fn is_used(&self) -> bool;
    fn is_whole(&self, records: &[u8]) -> bool;
}

impl Head for luo_monitor::head::Head {
    fn made(records: &[u8]) -> Self {
        Self::of(KIND, records)
    }

    fn bytes(&self) -> ([u8; HEAD], [u8; MARK]) {
        (self.encode(), self.mark())
    }

    fn parsed(head: &[u8; HEAD], mark: &[u8; MARK], room: u64) -> Option<Self> {
        Self::parse(KIND, head, mark, room).ok().flatten()
    }

    fn is_used(&self) -> bool {
        self.used
    }

    fn is_whole(&self, records: &[u8]) -> bool {
        self.check(records).is_ok()
    }
}

impl Head for luo_qemu::state::Head {
    fn made(records: &[u8]) -> Self {
        Self::of(records, true)
    }

    fn bytes(&self) -> ([u8; HEAD], [u8; MARK]) {
        (self.encode(), self.mark())
    }

    fn parsed(head: &[u8; HEAD], mark: &[u8; MARK], room: u64) -> Option<Self> {
        Self::parse(head, mark, room).ok().flatten()
    }

    fn is_used(&self) -> bool {
        self.used
    }

    fn is_whole(&self, records: &[u8]) -> bool {
        self.check(records).is_ok()
    }
}

fn is_a_head<H: Head>(bytes: &[u8]) -> bool {
    let Some((head, rest)) = bytes.split_first_chunk() else {
        return false;
    };
    let Some((mark, records)) = rest.split_first_chunk() else {
        return false;
    };
    let Some(read) = H::parsed(head, mark, records.len() as u64) else {
        return false;
    };
    let (again, used) = read.bytes();
    assert_eq!(again, *head, "another head was written");
    // What is used is given away: nothing but its mark says so.
    assert_eq!(read.is_used(), *mark == used);
    read.is_whole(records)
}

/// A head that is right but for one bit is neither whole, nor is it one that was used.
fn is_a_changed_head<H: Head>(bytes: &[u8]) -> bool {
    let [low, high, is_used, records @ ..] = bytes else {
        return false;
    };
    let made = H::made(records);
    let (mut head, mut mark) = made.bytes();
    if is_used & 1 == 0 {
        mark = [0; MARK];
    }
    let room = records.len() as u64;
    let good = H::parsed(&head, &mark, room);
    let good =
        good.is_some_and(|good| good.is_whole(records) && good.is_used() == (is_used & 1 > 0));
    assert!(good, "a state that was written is refused");
    let bit = usize::from(u16::from_le_bytes([*low, *high])) % (8 * (HEAD + MARK));
    let mut all = head.iter_mut().chain(&mut mark);
    if let Some(byte) = all.nth(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
    if let Some(bad) = H::parsed(&head, &mark, room) {
        assert!(!bad.is_used(), "bit {bit}: damage was taken for use");
        assert!(!bad.is_whole(records), "bit {bit}: damage was not found");
    }
    true
}
