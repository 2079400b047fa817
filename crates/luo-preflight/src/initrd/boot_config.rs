// SPDX-License-Identifier: MIT OR Apache-2.0
//! The boot configuration that may stand behind an initrd, see
//! `Documentation/admin-guide/bootconfig.rst` of Linux. The kernel takes it off.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: &[u8] = b"#BOOTCONFIG\n";

/// Bytes of a configuration at most.
const MAX: u32 = (1 << 15) - 1;

/// Bytes that boot loaders may put behind it.
const PADDING: usize = 3;

/// The length and the checksum before the magic.
const NUMBERS: usize = 8;

/// Bytes at the end of a file that are no part of the initrd; `None` if there is no boot
/// configuration that the kernel would take.
pub(super) fn length(file: &File, bytes: u64) -> io::Result<Option<u64>> {
    let most = MAX as usize + NUMBERS + MAGIC.len() + PADDING;
    let most = most.min(usize::try_from(bytes).unwrap_or(usize::MAX));
    let mut tail = vec![0; most];
    let from = bytes.saturating_sub(most as u64);
    match file.read_exact_at(&mut tail, from) {
        Ok(()) => Ok(at_end(&tail).map(|length| length as u64)),
        // It has become shorter meanwhile; who reads it finds that out.
        Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(why) => Err(why),
    }
}

fn at_end(tail: &[u8]) -> Option<usize> {
    let before = (0..=PADDING).find_map(|padding| {
        let end = tail.len().checked_sub(padding)?;
        tail.get(..end)?.strip_suffix(MAGIC)
    })?;
    let (before, numbers) = before.split_last_chunk::<NUMBERS>()?;
    let length = u32::from_le_bytes(*numbers.first_chunk()?);
    let sum = u32::from_le_bytes(*numbers.last_chunk()?);
    let start = before.len().checked_sub(length as usize)?;
    let data = before.get(start..)?;
    let add = |sum: u32, byte: &u8| sum.wrapping_add((*byte).into());
    let is_right = length <= MAX && data.iter().fold(0, add) == sum;
    is_right.then(|| tail.len().saturating_sub(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(data: &[u8], length: u32, sum: u32, padding: usize) -> Vec<u8> {
        let mut all = b"initrd".to_vec();
        all.extend(data);
        all.extend(length.to_le_bytes());
        all.extend(sum.to_le_bytes());
        all.extend(MAGIC);
        all.resize(all.len() + padding, 0);
        all
    }

    #[test]
    fn one_that_the_kernel_takes_off_is_found() {
        for padding in 0..=3 {
            assert_eq!(at_end(&with(b"a\x01", 2, 98, padding)), Some(22 + padding));
        }
        for none in [
            with(b"a\x01", 2, 98, 4),
            with(b"a\x01", 2, 99, 0),
            with(b"a\x01", 200, 98, 0),
            b"#BOOTCONFIG\n".to_vec(),
            Vec::new(),
        ] {
            assert_eq!(at_end(&none), None);
        }
    }
}
