// SPDX-License-Identifier: MIT OR Apache-2.0
//! The manifest's format, version 1. Numbers are little-endian.
//!
//! ```text
//! offset  bytes
//!      0      8  "LUO-MEM" and a zero byte
//!      8      4  version: 1
//!     12      4  number of regions
//!     16      8  bytes of the manifest altogether
//!     24      8  bytes of metadata
//!     32     32  SHA-256 of bytes 0 to 31 and of all from 64 on
//!     64         each region, in the order of their names:
//!                8 bytes token, 8 bytes size, 2 bytes length of the name, the name
//!                then the metadata, to the end
//! ```
//!
//! A manifest comes from another kernel, and any program there may have written it. So
//! nothing in it is believed before it is checked.

use std::collections::BTreeSet;

use luo_sys::Token;
use sha2::{Digest, Sha256};

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// The manifest's token.
pub const MANIFEST: Token = Token(0);

/// The last token of a region; those above are free for other files.
pub const LAST: Token = Token(MAX_REGIONS as u64);

/// The most regions in a session.
pub const MAX_REGIONS: usize = 4096;

/// Bytes of a region's name.
pub const MAX_NAME: usize = 128;

/// Bytes of metadata.
pub const MAX_METADATA: usize = 1 << 20;

/// Bytes of a manifest.
pub const MAX_MANIFEST: usize = HEADER + MAX_REGIONS * (ENTRY + MAX_NAME) + MAX_METADATA;

const MAGIC: [u8; 8] = *b"LUO-MEM\0";
/// Bytes before the digest.
const COVERED: usize = 32;
const HEADER: usize = 64;
/// Bytes of an entry without its name.
const ENTRY: usize = 18;

/// The contents of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The regions, in the order of their names.
    pub regions: Vec<Entry>,
    /// The program's own bytes.
    pub metadata: Vec<u8>,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// Its token in the session.
    pub token: Token,
}

/// Why a manifest cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no manifest.
    #[error("it does not begin as a manifest does")]
    NotAManifest,
    /// It is of a version that this program cannot read.
    #[error(
        "its version is {found}, and this program reads version {VERSION} only; \
         nothing is released: start the program that wrote it"
    )]
    Version {
        /// Its version.
        found: u32,
    },
    /// It is shorter or longer than it says, or than any can be.
    #[error("it has not the length that it says")]
    Length,
    /// The digest does not fit: it is damaged.
    #[error("its checksum is wrong: it was damaged")]
    Checksum,
    /// A number is beyond what is allowed.
    #[error("it has more {0} than allowed")]
    TooMuch(&'static str),
    /// A region is not one that could have been written.
    #[error("a region's {0} is not valid")]
    Region(&'static str),
}

impl Manifest {
    /// The manifest's bytes.
    ///
    /// # Errors
    /// [`Refusal`], if [`Manifest::parse`] would refuse them.
    pub fn encode(&self) -> Result<Vec<u8>, Refusal> {
        self.check()?;
        let mut bytes = vec![0; HEADER];
        for region in &self.regions {
            let length = u16::try_from(region.name.len()).map_err(|_| Refusal::Region("name"))?;
            bytes.extend(region.token.0.to_le_bytes());
            bytes.extend(region.size.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            bytes.extend(region.name.as_bytes());
        }
        bytes.extend(&self.metadata);
        let count = u32::try_from(self.regions.len()).map_err(|_| Refusal::TooMuch("regions"))?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend(MAGIC);
        header.extend(VERSION.to_le_bytes());
        header.extend(count.to_le_bytes());
        header.extend((bytes.len() as u64).to_le_bytes());
        header.extend((self.metadata.len() as u64).to_le_bytes());
        let body = bytes.get(HEADER..).unwrap_or_default();
        let digest = digest(&header, body);
        header.extend(digest);
        bytes.splice(..HEADER, header);
        Ok(bytes)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`Refusal`] says what was found.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut header = Reader(bytes);
        if header.array() != Some(MAGIC) {
            return Err(Refusal::NotAManifest);
        }
        let version = header.u32().ok_or(Refusal::Length)?;
        // A manifest of another version may have another form from here on.
        if version != VERSION {
            return Err(Refusal::Version { found: version });
        }
        let count = header.u32().ok_or(Refusal::Length)?;
        let length = header.u64().ok_or(Refusal::Length)?;
        let metadata = header.u64().ok_or(Refusal::Length)?;
        let found: [u8; 32] = header.array().ok_or(Refusal::Length)?;
        if bytes.len() > MAX_MANIFEST || length != bytes.len() as u64 {
            return Err(Refusal::Length);
        }
        let covered = bytes.get(..COVERED).ok_or(Refusal::Length)?;
        if digest(covered, header.0) != found {
            return Err(Refusal::Checksum);
        }
        Self::body(header, count, metadata)
    }

    fn body(mut body: Reader<'_>, count: u32, metadata: u64) -> Result<Self, Refusal> {
        // The number is checked before memory is reserved for the regions.
        let count = usize::try_from(count).map_err(|_| Refusal::TooMuch("regions"))?;
        if count > MAX_REGIONS {
            return Err(Refusal::TooMuch("regions"));
        }
        let mut regions = Vec::with_capacity(count);
        for _ in 0..count {
            regions.push(body.entry()?);
        }
        if body.0.len() as u64 != metadata {
            return Err(Refusal::Length);
        }
        let metadata = body.0.to_vec();
        let manifest = Self { regions, metadata };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.regions.len() > MAX_REGIONS {
            return Err(Refusal::TooMuch("regions"));
        }
        if self.metadata.len() > MAX_METADATA {
            return Err(Refusal::TooMuch("metadata"));
        }
        let mut tokens = BTreeSet::new();
        let mut before: Option<&str> = None;
        for region in &self.regions {
            // The names strictly ascend, so that none is there twice.
            if !is_name(&region.name) || before.is_some_and(|before| before >= &*region.name) {
                return Err(Refusal::Region("name"));
            }
            if region.size == 0 || i64::try_from(region.size).is_err() {
                return Err(Refusal::Region("size"));
            }
            let may = region.token > MANIFEST && region.token <= LAST;
            if !may || !tokens.insert(region.token) {
                return Err(Refusal::Region("token"));
            }
            before = Some(&region.name);
        }
        Ok(())
    }
}

/// Whether a region can have this name.
pub(super) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.contains(char::is_control)
}

fn digest(covered: &[u8], body: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(covered)
        .chain_update(body)
        .finalize()
        .into()
}

/// The bytes that are left to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn entry(&mut self) -> Result<Entry, Refusal> {
        let token = self.u64().ok_or(Refusal::Length)?;
        let size = self.u64().ok_or(Refusal::Length)?;
        let length = self.array().map(u16::from_le_bytes);
        let length = length.ok_or(Refusal::Length)?;
        let split = self.0.split_at_checked(length.into());
        let (name, rest) = split.ok_or(Refusal::Length)?;
        self.0 = rest;
        let name = core::str::from_utf8(name).map_err(|_| Refusal::Region("name"))?;
        Ok(Entry {
            name: name.into(),
            size,
            token: Token(token),
        })
    }
}
