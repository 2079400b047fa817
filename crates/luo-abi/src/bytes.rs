// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Copying between slices without a way to panic.
//!
//! `copy_from_slice` panics on slices of unequal lengths, and the compiler keeps that path
//! where it cannot see that they are equal. The kernel has no place for it.

/// Copies as many bytes as both slices have, from the start.
pub fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::copy;

    #[test]
    fn the_shorter_one_decides() {
        let mut room = [9; 3];
        copy(&mut room, &[1, 2]);
        assert_eq!(room, [1, 2, 9]);
        copy(&mut room, &[4, 5, 6, 7]);
        assert_eq!(room, [4, 5, 6]);
    }
}
