// SPDX-License-Identifier: MIT OR Apache-2.0
//! Walks an initrd from its beginning to its end, as the kernel (`init/initramfs.c` of Linux)
//! unpacks it:
//!
//! ```text
//! initrd  = (zeros | archive | compressed archives)*
//! archive = entries, the last one of them TRAILER!!!
//! ```
//!
//! The kernel says nothing of an archive that ends too early, and starts with what it has.
//! Behind an archive it gives up where neither an archive nor a compression begins, and
//! starts with what it has unpacked.

use std::io::{BufRead, Read};

use super::cpio::Cpio;
use super::packed::{self, Packed};
use super::source::{Source, Stop};
use crate::image::{Compression, Error};

/// An initrd that was read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    /// Bytes that the kernel gets.
    pub bytes: u64,
    /// Bytes that it unpacks to.
    pub unpacked: u64,
    /// Files, folders and so on in it.
    pub entries: u64,
    /// How its parts are compressed, each once, in order.
    pub packed: Vec<Compression>,
    /// Whether an `/init` was found, which the kernel would start.
    pub has_init: bool,
    /// The compression that could not be looked into.
    pub closed: Option<Compression>,
    /// Whether checksums cover all of it.
    pub is_summed: bool,
    /// Where something begins behind the archives that is none.
    pub junk: Option<u64>,
    /// Bytes of a boot configuration behind it, which the kernel takes off.
    pub boot_config: Option<u64>,
    /// Whether the kernel would take what follows for a part of it.
    pub is_endless: bool,
}

/// Reads a source to its end.
pub(super) fn walk(source: impl Read, stop: &Stop) -> Result<Archive, Error> {
    let mut source = Source::new(source, stop.clone());
    let mut found = Archive {
        is_summed: true,
        ..Archive::default()
    };
    let mut plain = Cpio::at(0);
    loop {
        let at = source.position();
        let fault = |why| Error::Archive { at, why };
        let head = source.peek(6).map_err(Error::Io)?;
        let Some(first) = head.first() else {
            plain.is_whole().map_err(fault)?;
            break;
        };
        if plain.takes(*first) {
            let taken = plain.feed(head).map_err(fault)?;
            source.consume(taken);
            found.unpacked = found.unpacked.saturating_add(taken as u64);
            continue;
        }
        if head.starts_with(b"07070") {
            return Err(fault(
                "an archive begins where the kernel does not look for one (not at a multiple of \
                 four bytes)",
            ));
        }
        plain.is_whole().map_err(fault)?;
        let Some(compression) = packed::recognise(head) else {
            if plain.entries == 0 && found.packed.is_empty() {
                return Err(Error::NotAnArchive);
            }
            found.junk = Some(at);
            break;
        };
        found.part(compression, &mut source)?;
        plain.go_on_at(source.position());
    }
    found.bytes = source.position();
    found.entries = found.entries.saturating_add(plain.entries);
    found.has_init |= plain.has_init;
    found.is_summed &= plain.entries == 0;
    match found.entries == 0 && found.closed.is_none() {
        true => Err(Error::NotAnArchive),
        false => Ok(found),
    }
}

impl Archive {
    /// Unpacks a compressed part. Archives in it begin and end with it.
    fn part<R: Read>(
        &mut self,
        compression: Compression,
        source: &mut Source<R>,
    ) -> Result<(), Error> {
        let at = source.position();
        let fault = |why| Error::Archive { at, why };
        let mut inner = Cpio::at(0);
        let part = Packed {
            compression,
            source,
            sink: |bytes: &[u8]| match inner.feed(bytes).map_err(fault)? == bytes.len() {
                true => Ok(()),
                false => Err(fault(
                    "in what is compressed stands something that is no archive",
                )),
            },
            unpacked: &mut self.unpacked,
        };
        let known = part.unpack()?;
        if known.is_closed {
            self.closed = Some(compression);
        } else {
            inner.is_whole().map_err(fault)?;
            if inner.entries == 0 {
                return Err(fault("what is compressed is no archive"));
            }
        }
        self.entries = self.entries.saturating_add(inner.entries);
        self.has_init |= inner.has_init;
        self.is_summed &= known.is_summed;
        self.is_endless = known.is_endless;
        if !self.packed.contains(&compression) {
            self.packed.push(compression);
        }
        Ok(())
    }

    /// Puts another one behind it.
    pub(super) fn and(mut self, next: Self) -> Self {
        self.bytes = self.bytes.next_multiple_of(4).saturating_add(next.bytes);
        self.unpacked = self.unpacked.saturating_add(next.unpacked);
        self.entries = self.entries.saturating_add(next.entries);
        for compression in next.packed {
            if !self.packed.contains(&compression) {
                self.packed.push(compression);
            }
        }
        self.has_init |= next.has_init;
        self.closed = self.closed.or(next.closed);
        self.is_summed &= next.is_summed;
        Self {
            junk: next.junk,
            boot_config: next.boot_config,
            is_endless: next.is_endless,
            ..self
        }
    }
}
