// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! How an argument structure grows without breaking either side.
//!
//! The first field of each structure is the size its user knows. Whoever reads
//! it knows `T`, which may be shorter or longer:
//!
//! | user's size | is |
//! |---|---|
//! | below [`Argument::MIN_SIZE`] | EINVAL |
//! | above [`MAX_SIZE`] | E2BIG |
//! | shorter than `T` | accepted; the missing fields read as zero |
//! | longer than `T`, rest zero | accepted; the rest is ignored |
//! | longer than `T`, rest not zero | E2BIG: it asks for what this reader cannot do |
//!
//! The answer is written back with the shorter of the two sizes, so that a
//! program never gets more bytes than it has room for.

use core::mem::size_of;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::errno::Errno;
use crate::uapi::Argument;

/// The longest argument that is looked at, in bytes. No structure of this ABI
/// comes near; the limit bounds the work a hostile size can cause.
pub const MAX_SIZE: usize = 4096;

/// Says whether a structure of `size` bytes may be read as a `T`, before a
/// single byte beyond the size field is touched.
///
/// # Errors
/// EINVAL if it is shorter than the first published form, E2BIG if it is
/// longer than [`MAX_SIZE`].
pub const fn admit<T: Argument>(size: u32) -> Result<usize, Errno> {
    // A u32 always fits: this code runs on 64-bit kernels and hosts only.
    let size = size as usize;
    if size < T::MIN_SIZE {
        return Err(Errno::EINVAL);
    }
    if size > MAX_SIZE {
        return Err(Errno::E2BIG);
    }
    Ok(size)
}

/// Bytes behind the known part that are looked at together.
const TAIL: usize = 64;

/// Reads a `T` from a structure of `size` bytes, which [`admit`] has let through.
/// `copy` fetches bytes of it, from an offset on. All of it is fetched before any of it
/// is judged, so that a structure that cannot be read ends with the error of `copy`,
/// whatever the readable part of it says.
///
/// # Errors
/// Those of `copy`, and as the table in the module's documentation says.
pub fn read<T>(
    size: usize,
    mut copy: impl FnMut(usize, &mut [u8]) -> Result<(), Errno>,
) -> Result<T, Errno>
where
    T: Argument + FromBytes + FromZeros + IntoBytes,
{
    let mut value = T::new_zeroed();
    let known = answer_len::<T>(size);
    let head = value.as_mut_bytes().get_mut(..known);
    copy(0, head.ok_or(Errno::EINVAL)?)?;
    let mut asks_for_more = false;
    let mut tail = [0; TAIL];
    for at in (known..size).step_by(TAIL) {
        let length = TAIL.min(size.saturating_sub(at));
        let part = tail.get_mut(..length).ok_or(Errno::EINVAL)?;
        copy(at, part)?;
        asks_for_more |= part.iter().any(|&byte| byte != 0);
    }
    if asks_for_more {
        return Err(Errno::E2BIG);
    }
    Ok(value)
}

/// How many bytes of a `T` go back to a user whose structure has `size` bytes.
#[must_use]
pub fn answer_len<T>(size: usize) -> usize {
    size.min(size_of::<T>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;
    use zerocopy_derive::{FromBytes, Immutable, IntoBytes};

    /// A structure in its second form: the third field came later.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq, FromBytes, Immutable, IntoBytes)]
    struct Grown {
        size: u32,
        first: u32,
        second: u64,
    }

    impl Argument for Grown {
        const MIN_SIZE: usize = 8;
    }

    /// Reads a `T` from the whole of what the user passed: `bytes` is as long as the
    /// size field says.
    fn decode<T>(bytes: &[u8]) -> Result<T, Errno>
    where
        T: Argument + FromBytes + FromZeros + IntoBytes,
    {
        read(
            admit::<T>(u32::try_from(bytes.len()).unwrap())?,
            |at, to| {
                to.copy_from_slice(&bytes[at..at + to.len()]);
                Ok(())
            },
        )
    }

    proptest! {
        /// The table of the module's documentation, spelled out independently.
        #[test]
        fn decoding_follows_the_table(bytes in proptest::collection::vec(
            prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..64)) {
            let outcome = decode::<Grown>(&bytes);
            let whole = size_of::<Grown>();
            if bytes.len() < Grown::MIN_SIZE {
                prop_assert_eq!(outcome, Err(Errno::EINVAL));
            } else if bytes.iter().skip(whole).any(|&b| b != 0) {
                prop_assert_eq!(outcome, Err(Errno::E2BIG));
            } else {
                let mut padded: Vec<u8> = bytes.iter().copied().take(whole).collect();
                padded.resize(whole, 0);
                let value = outcome.unwrap();
                prop_assert_eq!(value.as_bytes(), padded.as_slice());
            }
        }

        /// A structure that cannot be read whole is not judged.
        #[test]
        fn what_cannot_be_read_is_not_judged(
            bytes in proptest::collection::vec(any::<u8>(), 8..300), end in 0usize..300) {
            let end = end.min(bytes.len() - 1);
            let outcome = read::<Grown>(bytes.len(), |at, to| {
                let from = bytes[..end].get(at..at + to.len()).ok_or(Errno::EFAULT)?;
                to.copy_from_slice(from);
                Ok(())
            });
            prop_assert_eq!(outcome, Err(Errno::EFAULT));
        }

        /// Growing a structure by zeros never changes what is read.
        #[test]
        fn zeros_behind_change_nothing(
            head in proptest::collection::vec(any::<u8>(), 16), more in 0usize..256) {
            let mut longer = head.clone();
            longer.resize(head.len() + more, 0);
            prop_assert_eq!(decode::<Grown>(&head), decode::<Grown>(&longer));
        }

        /// The answer fits both sides.
        #[test]
        fn the_answer_fits_both(size in 0usize..8192) {
            let n = answer_len::<Grown>(size);
            prop_assert!(n <= size && n <= size_of::<Grown>());
        }
    }

    #[test]
    fn sizes_are_bounded_before_anything_is_read() {
        assert_eq!(admit::<Grown>(7), Err(Errno::EINVAL));
        assert_eq!(admit::<Grown>(8), Ok(8));
        assert_eq!(admit::<Grown>(4096), Ok(4096));
        assert_eq!(admit::<Grown>(4097), Err(Errno::E2BIG));
        assert_eq!(admit::<Grown>(u32::MAX), Err(Errno::E2BIG));
    }
}
