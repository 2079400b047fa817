// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an offload gives that is not memory, as bytes in preserved memory. Numbers are
//! little-endian.
//!
//! ```text
//! bytes
//!     6  what the start had of its own: the version of the protocol
//!     2  slots
//!        for each its number (4), and the number of the region that is its memory (4)
//!     8  bytes of the configuration, and those
//!     8  bytes of the state, and those
//! ```

use luo_monitor::head::Kind;

/// Whose states they are.
pub const KIND: Kind = Kind {
    magic: *b"LUO-CH\0\0",
    version: 1,
};

/// The most slots of memory: what fits into a manifest beside the state.
pub const MOST_SLOTS: usize = 512;

/// The most bytes of a configuration, and of a state. A state has some 0.2 MB.
pub const MOST: u64 = 8 << 20;

/// Why bytes are no such state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It ends too early.
    #[error("it ends within its {0}")]
    Cut(&'static str),
    /// It has more than there can be.
    #[error("it has more {0} than there can be")]
    TooMany(&'static str),
    /// Something follows it.
    #[error("something follows it")]
    Longer,
    /// A slot is there twice.
    #[error("it has slot {0} twice")]
    Twice(u32),
}

/// A slot of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its number.
    pub number: u32,
    /// The region that is its memory. Slots may share one.
    pub region: u32,
}

/// What is not memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What the start had of its own.
    pub start: [u8; 6],
    /// In the order in which they came.
    pub slots: Vec<Slot>,
    /// As it came.
    pub config: Vec<u8>,
    /// As it came.
    pub state: Vec<u8>,
}

impl State {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.start.to_vec();
        // There are MOST_SLOTS at most.
        let slots = u16::try_from(self.slots.len()).unwrap_or(u16::MAX);
        bytes.extend(slots.to_le_bytes());
        for slot in &self.slots {
            bytes.extend(slot.number.to_le_bytes());
            bytes.extend(slot.region.to_le_bytes());
        }
        for part in [&self.config, &self.state] {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part);
        }
        bytes
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut rest = bytes;
        let start = array(&mut rest, "start")?;
        let count = usize::from(u16::from_le_bytes(array(&mut rest, "slots")?));
        if count > MOST_SLOTS {
            return Err(Refusal::TooMany("slots"));
        }
        let mut slots: Vec<Slot> = Vec::with_capacity(count);
        for _ in 0..count {
            let number = u32::from_le_bytes(array(&mut rest, "slots")?);
            let region = u32::from_le_bytes(array(&mut rest, "slots")?);
            if slots.iter().any(|slot| slot.number == number) {
                return Err(Refusal::Twice(number));
            }
            slots.push(Slot { number, region });
        }
        let config = part(&mut rest, "configuration")?;
        let state = part(&mut rest, "state")?;
        if !rest.is_empty() {
            return Err(Refusal::Longer);
        }
        Ok(Self {
            start,
            slots,
            config,
            state,
        })
    }
}

fn array<const N: usize>(rest: &mut &[u8], what: &'static str) -> Result<[u8; N], Refusal> {
    let (array, behind) = rest.split_first_chunk().ok_or(Refusal::Cut(what))?;
    *rest = behind;
    Ok(*array)
}

fn part(rest: &mut &[u8], what: &'static str) -> Result<Vec<u8>, Refusal> {
    let length = u64::from_le_bytes(array(rest, what)?);
    if length > MOST {
        return Err(Refusal::TooMany("bytes"));
    }
    let length = usize::try_from(length).map_err(|_| Refusal::TooMany("bytes"))?;
    let (part, behind) = rest.split_at_checked(length).ok_or(Refusal::Cut(what))?;
    *rest = behind;
    Ok(part.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> State {
        State {
            start: [1, 0, 0, 0, 0, 0],
            slots: vec![
                Slot {
                    number: 0,
                    region: 1,
                },
                Slot {
                    number: 4,
                    region: 1,
                },
            ],
            config: b"{\"config\":1}".to_vec(),
            state: b"{\"state\":[]}".to_vec(),
        }
    }

    #[test]
    fn the_first_version_is_read_for_good() {
        let golden: &[u8] = include_bytes!("../golden/state-0.1.0.bin");
        assert_eq!(State::decode(golden), Ok(some()));
        assert_eq!(some().encode(), golden);
    }

    #[test]
    fn each_cut_and_what_follows_is_refused() {
        let good = some().encode();
        assert_eq!(State::decode(&good), Ok(some()));
        for length in 0..good.len() {
            assert!(
                matches!(State::decode(&good[..length]), Err(Refusal::Cut(_))),
                "{length}"
            );
        }
        let longer = [&good[..], &[0]].concat();
        assert_eq!(State::decode(&longer), Err(Refusal::Longer));
        let mut twice = some();
        twice.slots[1].number = 0;
        assert_eq!(State::decode(&twice.encode()), Err(Refusal::Twice(0)));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_as_it_was(bytes: Vec<u8>) {
            if let Ok(state) = State::decode(&bytes) {
                prop_assert_eq!(state.encode(), bytes);
            }
        }
    }
}
