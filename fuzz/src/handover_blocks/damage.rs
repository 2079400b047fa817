// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes of a handover.

use arbitrary::{Arbitrary, Result, Unstructured};
use luo_abi::handover::BLOCK_SIZE;
use luo_testhost::Handed;

/// Address of the first page of a handover that is made up.
const FIRST: u64 = 0x10_0000;

/// A place in a page, mostly in its first records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    page: u8,
    offset: usize,
}

impl<'a> Arbitrary<'a> for Place {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let page = bytes.arbitrary()?;
        let offset = match bytes.arbitrary::<u8>()? {
            255 => usize::from(bytes.arbitrary::<u16>()?) % BLOCK_SIZE,
            near => usize::from(near),
        };
        Ok(Self { page, offset })
    }
}

/// A change. Words begin at multiples of eight.
#[derive(Arbitrary, Clone, Debug)]
pub(super) enum Damage {
    Bit(Place, u8),
    Byte(Place, u8),
    /// A word that is small, as counts and kinds are.
    Small(Place, u8),
    Half(Place, u32),
    Word(Place, u64),
    /// A word that is the address of a page, or near one.
    Link(Place, u8, u8),
    /// Bytes of one place at another.
    Copy(Place, Place, u8),
    /// Two pages change places.
    Swap(u8, u8),
    /// A page is gone.
    Gone(u8),
    /// The same page at two addresses.
    Twin(u8),
    Root(u8, u8),
    RootLength(u16),
    Supplement(u8, u8),
    SupplementLength(u16),
    NoSupplement,
}

/// The address of one of the pages.
fn page(handed: &Handed, which: u8) -> u64 {
    let at = usize::from(which) % handed.pages.len().max(1);
    handed.pages.keys().nth(at).copied().unwrap_or(FIRST)
}

impl Damage {
    pub(super) fn apply(self, handed: &mut Handed) {
        match self {
            Self::Bit(at, bit) => change::<1>(handed, at, |byte| [byte[0] ^ 1 << (bit % 8)]),
            Self::Byte(at, byte) => change(handed, at, |_| [byte]),
            Self::Small(at, word) => word_at(handed, at, word.into()),
            Self::Half(mut at, word) => {
                at.offset &= !3;
                change(handed, at, |_| word.to_ne_bytes());
            }
            Self::Word(at, word) => word_at(handed, at, word),
            Self::Link(at, to, off) => {
                let to = page(handed, to).wrapping_add(near(off));
                word_at(handed, at, to);
            }
            Self::Copy(from, to, len) => copy(handed, from, to, usize::from(len)),
            Self::Swap(a, b) => {
                let (a, b) = (page(handed, a), page(handed, b));
                if let (Some(page_a), Some(page_b)) =
                    (handed.pages.get(&a).cloned(), handed.pages.get(&b).cloned())
                {
                    handed.pages.insert(a, page_b);
                    handed.pages.insert(b, page_a);
                }
            }
            Self::Gone(which) => {
                let gone = page(handed, which);
                handed.pages.remove(&gone);
            }
            Self::Twin(which) => {
                let bytes = handed.pages.get(&page(handed, which)).cloned();
                let address = handed.next_address;
                if let Some(bytes) = bytes {
                    handed.pages.insert(address, bytes);
                    handed.next_address += BLOCK_SIZE as u64;
                }
            }
            Self::Root(to, off) => handed.root = page(handed, to).wrapping_add(near(off)),
            Self::RootLength(len) => handed.len = len.into(),
            Self::Supplement(to, off) => {
                let to = page(handed, to).wrapping_add(near(off));
                let len = handed.supplement.map_or(88, |(_, len)| len);
                handed.supplement = Some((to, len));
            }
            Self::SupplementLength(len) => {
                if let Some((_, length)) = &mut handed.supplement {
                    *length = len.into();
                }
            }
            Self::NoSupplement => handed.supplement = None,
        }
    }
}

/// Mostly nothing.
fn near(off: u8) -> u64 {
    match off {
        0..192 => 0,
        _ => u64::from(off - 192) * 64,
    }
}

fn word_at(handed: &mut Handed, mut at: Place, word: u64) {
    at.offset &= !7;
    change(handed, at, |_| word.to_ne_bytes());
}

/// Changes bytes, if all of them are there.
fn change<const N: usize>(handed: &mut Handed, at: Place, with: impl FnOnce([u8; N]) -> [u8; N]) {
    let address = page(handed, at.page);
    let page = handed.pages.get_mut(&address);
    let bytes = page.and_then(|page| page.get_mut(at.offset..at.offset + N));
    if let Some(bytes) = bytes {
        let was = <[u8; N]>::try_from(&*bytes).unwrap_or([0; N]);
        bytes.copy_from_slice(&with(was));
    }
}

fn copy(handed: &mut Handed, from: Place, to: Place, len: usize) {
    let (source, target) = (page(handed, from.page), page(handed, to.page));
    let bytes = handed.pages.get(&source);
    let bytes = bytes.and_then(|page| page.get(from.offset..from.offset + len));
    let bytes = bytes.unwrap_or_default().to_vec();
    let room = handed.pages.get_mut(&target);
    let room = room.and_then(|page| page.get_mut(to.offset..to.offset + bytes.len()));
    if let Some(room) = room {
        room.copy_from_slice(&bytes);
    }
}

/// A handover out of nothing: up to eight pages, each beginning with bytes that are
/// given. The first page is the root; the second is that of what goes beside it.
pub(super) fn noise(bytes: &mut Unstructured<'_>) -> Result<Handed> {
    let count = 1 + u64::from(bytes.arbitrary::<u8>()? % 8);
    let mut handed = Handed {
        root: FIRST,
        len: 32,
        supplement: (count > 1).then_some((FIRST + BLOCK_SIZE as u64, 88)),
        next_address: FIRST + count * BLOCK_SIZE as u64,
        ..Handed::default()
    };
    for at in 0..count {
        let length = usize::from(bytes.arbitrary::<u16>()?) % BLOCK_SIZE;
        let given = bytes.bytes(length.min(bytes.len()))?;
        let mut page = vec![0; BLOCK_SIZE];
        page[..given.len()].copy_from_slice(given);
        handed.pages.insert(FIRST + at * BLOCK_SIZE as u64, page);
    }
    Ok(handed)
}
