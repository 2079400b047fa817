// SPDX-License-Identifier: MIT OR Apache-2.0
//! The check of the target's initrd.

use luo_varlink::Check;

use super::{Archive, Unusable};
use crate::check::{bytes, failed, ok, unknown, warning};
use crate::image::{Compression, Error, Image};

const NAME: &str = "target-initrd";

/// Judges it; nothing is said where there is none.
pub(crate) fn check(
    initrd: Result<Option<&Archive>, &Unusable>,
    image: Option<&Image>,
) -> Option<Check> {
    let archive = match initrd {
        Ok(archive) => archive?,
        Err(unusable) => return Some(refused(unusable)),
    };
    let config = image.and_then(|image| image.contents.config.as_ref());
    let lacking = archive.packed.iter().copied();
    let lacking = lacking.map(|packed| (packed, option(packed)));
    let mut lacking = lacking.filter(|(_, option)| config.is_some_and(|it| !it.has(option)));
    if let Some((packed, option)) = lacking.next() {
        let found = format!(
            "the initrd is compressed with {packed}, and the target is built without \
             CONFIG_{option}: it would not unpack it"
        );
        let remedy = "make the initrd with another compression, or build the target with that";
        return Some(failed(NAME, found, remedy));
    }
    let what = describe(archive);
    if let Some(at) = archive.junk {
        let found = format!(
            "{what}; at byte {at} something begins behind it that is no archive: the kernel \
             complains, and starts with what comes before"
        );
        let remedy = "look whether something is missing there, or make the initrd again";
        return Some(warning(NAME, found, remedy));
    }
    if let Some(packed) = archive.closed {
        let found = format!(
            "{what}; its end is there, but {packed} cannot be looked into: whether it is damaged \
             cannot be told"
        );
        let remedy = "make the initrd with another compression";
        return Some(unknown(NAME, found, remedy));
    }
    Some(ok(NAME, what))
}

fn describe(archive: &Archive) -> String {
    let packed = archive.packed.iter().map(|packed| packed.name());
    let packed: Vec<_> = packed.collect();
    let how = match packed.is_empty() {
        true => "not compressed".to_owned(),
        false => packed.join(", "),
    };
    let mut what = format!(
        "the initrd is whole: {}, {how}; {} entries, {} unpacked",
        bytes(archive.bytes),
        archive.entries,
        bytes(archive.unpacked)
    );
    if let Some(more) = archive.boot_config {
        what.push_str(&format!(", a boot configuration of {}", bytes(more)));
    }
    if !archive.has_init && archive.closed.is_none() {
        what.push_str("; it has no /init, so the kernel mounts its root by itself");
    }
    if !archive.is_summed && archive.closed.is_none() {
        what.push_str(
            "; not all of it has a checksum, so whether its contents are right cannot be told",
        );
    }
    what
}

fn refused(unusable: &Unusable) -> Check {
    let remedy = match unusable.why {
        Error::Archive { .. } | Error::Damaged(_) | Error::Decompress { .. } => {
            "copy or make the initrd again, and look whether its disk is full"
        }
        Error::TooLong(_) | Error::TooLongToLoad(_) | Error::Bomb(_) => "name a smaller initrd",
        _ => "name a file as /boot/initrd.img-*, and install it again if it is damaged",
    };
    let found = format!("the initrd cannot be used: {unusable}");
    failed(NAME, found, remedy)
}

/// The option of a kernel that unpacks this.
fn option(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "RD_GZIP",
        Compression::Bzip2 => "RD_BZIP2",
        Compression::Lzma => "RD_LZMA",
        Compression::Xz => "RD_XZ",
        Compression::Lzo => "RD_LZO",
        Compression::Lz4 => "RD_LZ4",
        Compression::Zstd => "RD_ZSTD",
    }
}
