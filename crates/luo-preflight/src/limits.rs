// SPDX-License-Identifier: MIT OR Apache-2.0
//! Limits: how much is read, and how much memory is kept free.

/// Bytes of a kernel image.
pub const MAX_IMAGE: u64 = 512 << 20;

/// Bytes of an initrd: `kexec_file_load` reads no longer file.
pub const MAX_INITRD: u64 = 4 << 30;

/// Bytes that an initrd unpacks to. Reading stops there.
pub const MAX_INITRD_UNPACKED: u64 = 16 << 30;

/// Shells around a kernel, one in another: a unified image, and compression in it.
pub const MAX_SHELLS: usize = 3;

/// Bytes of a decompressed kernel. Reading stops there, for no kernel is that large.
pub const MAX_DECOMPRESSED: u64 = 1 << 30;

/// Bytes a decompressor may take for its dictionary. Kernels are packed with up to
/// 128 MiB.
pub const MAX_DICTIONARY: u32 = 128 << 20;

/// Bytes of an embedded configuration as it stands in the kernel, compressed.
pub const MAX_PACKED_CONFIG: usize = 1 << 20;

/// Bytes of a configuration.
pub const MAX_CONFIG: usize = 4 << 20;

/// Different ABI strings that are remembered of an image.
pub const MAX_STRINGS: usize = 64;

/// Families of ABI strings that are looked for.
pub const MAX_FAMILIES: usize = 64;

/// Bytes of a small file of `/proc` or `/sys`.
pub const MAX_SMALL_FILE: usize = 64 << 10;

/// Scratch areas: a low one, a global one, and one for each node.
pub const MAX_SCRATCH_AREAS: usize = 4096;

/// Pieces of data and holes of a file that are walked; beyond that its count of blocks
/// is believed.
pub const MAX_EXTENTS: usize = 1 << 20;

/// Bytes of memory that stay free when all is preserved and loaded: what the machine
/// needs until it jumps.
pub const MEMORY_RESERVE: u64 = 64 << 20;

/// Bytes of scratch memory that the next kernel needs until it has found its own
/// memory, beside itself and its initrd.
pub const EARLY_BOOT: u64 = 16 << 20;

/// Entries of boot loaders.
pub const MAX_ENTRIES: usize = 1024;
