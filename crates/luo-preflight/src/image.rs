// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel to jump into, as far as its image tells.
//!
//! ```text
//! file -> [decompress] -> header -> payload -> decompress -> scan -> Contents
//!          Image.gz       bzImage, EFI zboot                 ABI strings, configuration,
//!                         Image, ELF: scanned as they are    version
//! ```
//!
//! Everything is streamed: a file of any size and content takes no more memory than
//! [`crate::limits`] allow, a decompressed kernel included.

mod compression;
mod decompress;
mod format;
mod scan;
mod source;
mod unpack;

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

pub use compression::Compression;
pub use format::{Boot, Format};
pub use scan::Contents;
pub(crate) use scan::family_of;
pub use source::Error;
pub(crate) use unpack::without_name;
pub use unpack::{Shell, Unpacked, unpack};

use source::read_up_to;

use crate::limits::{MAX_DECOMPRESSED, MAX_IMAGE};

/// The facts that an image tells of the kernel in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The format of the file.
    pub format: Format,
    /// The machine it is for, in the words of `uname -m`, if it says.
    pub machine: Option<&'static str>,
    /// What the file was taken out of, the outermost first: see [`unpack`].
    pub shells: Vec<Shell>,
    /// The release that a unified kernel image around it says it has.
    pub said_release: Option<String>,
    /// How the file as a whole is compressed.
    pub wrapped: Option<Compression>,
    /// How the kernel in it is compressed.
    pub packed: Option<Compression>,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Whether its header says how long it is. If not, one whose end is missing cannot be
    /// told from a whole one.
    pub length_is_known: bool,
    /// Whether a checksum covers the kernel in it. If not, one that is damaged cannot always be
    /// told from one that is not.
    pub is_summed: bool,
    /// The facts that a loader needs.
    pub boot: Boot,
    /// Whether it carries a signature for secure boot, or one appended as modules do.
    pub signed: bool,
    /// The findings in the decompressed kernel.
    pub contents: Contents,
}

impl Image {
    /// The release of the kernel in it: what that says itself, or else what is said of it.
    #[must_use]
    pub fn release(&self) -> Option<&str> {
        self.contents.release().or(self.said_release.as_deref())
    }
}

#[cfg(test)]
impl Image {
    /// One of which nothing is known but its configuration.
    pub(crate) fn of_config(config: &str) -> Self {
        Self {
            format: Format::BzImage,
            machine: None,
            shells: Vec::new(),
            said_release: None,
            wrapped: None,
            packed: None,
            file_bytes: 0,
            length_is_known: true,
            is_summed: true,
            boot: Boot::default(),
            signed: false,
            contents: Contents {
                config: Some(crate::kconfig::Config::parse(config)),
                ..Contents::default()
            },
        }
    }
}

/// Reads an image.
///
/// `families` are the families of the ABI strings to look for: `luo` for `luo-v5`, and so
/// on.
///
/// # Errors
/// [`Error`]; nothing that was read of the file counts then.
pub fn read_file(path: &Path, families: &[&str]) -> Result<Image, Error> {
    read(&mut open(path)?, families)
}

/// Reads an image that was taken out of what is around it.
///
/// # Errors
/// As [`read_file`].
pub fn read_unpacked(unpacked: &mut Unpacked, families: &[&str]) -> Result<Image, Error> {
    let mut image = read(&mut unpacked.kernel, families)?;
    image.shells.clone_from(&unpacked.shells);
    let said = unpacked.release.as_ref();
    image.said_release = said.filter(|said| !said.is_empty()).cloned();
    image.is_summed |= unpacked.is_summed;
    Ok(image)
}

/// Opens a regular file.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    // The open does not block: that of a FIFO would wait for a writer.
    let flags = rustix::fs::OFlags::RDONLY
        | rustix::fs::OFlags::NONBLOCK
        | rustix::fs::OFlags::NOCTTY
        | rustix::fs::OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
        .map_err(|errno| Error::Io(errno.into()))?;
    let file = File::from(file);
    if !file.metadata().map_err(Error::Io)?.is_file() {
        return Err(Error::NotAFile);
    }
    Ok(file)
}

/// Reads an image from what can be read and sought in.
///
/// # Errors
/// As [`read_file`].
pub fn read<R: Read + Seek>(source: &mut R, families: &[&str]) -> Result<Image, Error> {
    read_within(source, families, MAX_DECOMPRESSED)
}

/// As [`read`], with another limit for the decompressed kernel.
///
/// # Errors
/// As [`read_file`].
pub fn read_within<R: Read + Seek>(
    source: &mut R,
    families: &[&str],
    max_decompressed: u64,
) -> Result<Image, Error> {
    let file_bytes = source.seek(SeekFrom::End(0)).map_err(Error::Io)?;
    if file_bytes > MAX_IMAGE {
        return Err(Error::TooLong(file_bytes));
    }
    let appended = format::is_appended_signature(&tail(source, file_bytes)?);
    source.rewind().map_err(Error::Io)?;
    let head = head(source).map_err(Error::Io)?;
    let job = Job {
        file_bytes,
        families,
        max_decompressed,
    };
    let mut image = match (format::recognise(&head)?, Compression::recognise(&head)) {
        (Some(header), _) => job.plain(source, &header)?,
        (None, Some(compression)) => {
            source.rewind().map_err(Error::Io)?;
            job.wrapped(source, compression, &head)?
        }
        (None, None) => return Err(Error::NotAKernel),
    };
    // Many files are ELF files; each kernel says which it is.
    if image.format == Format::Elf && image.contents.banner.is_none() {
        return Err(Error::NotAKernel);
    }
    image.signed |= appended;
    Ok(image)
}

/// The bytes that a header is in, or all of a shorter file.
fn head(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(format::HEAD);
    source
        .take(format::HEAD as u64)
        .read_to_end(&mut head)
        .map(|_| head)
}

fn tail<R: Read + Seek>(source: &mut R, file_bytes: u64) -> Result<Vec<u8>, Error> {
    let from = file_bytes.saturating_sub(format::TAIL);
    source.seek(SeekFrom::Start(from)).map_err(Error::Io)?;
    let mut tail = Vec::new();
    let mut limited = source.take(format::TAIL);
    limited.read_to_end(&mut tail).map_err(Error::Io)?;
    Ok(tail)
}

/// The last four bytes of a payload, as a number.
fn last_word<R: Read + Seek>(source: &mut R, payload: format::Payload) -> Result<u32, Error> {
    let end = payload.start.saturating_add(payload.length);
    let at = SeekFrom::Start(end.saturating_sub(4));
    source.seek(at).map_err(Error::Io)?;
    let mut word = [0; 4];
    source.read_exact(&mut word).map_err(Error::Io)?;
    Ok(u32::from_le_bytes(word))
}

/// The limits of reading an image, and what it looks for.
struct Job<'a> {
    file_bytes: u64,
    families: &'a [&'a str],
    max_decompressed: u64,
}

impl Job<'_> {
    fn image(&self, header: &format::Header, contents: Contents) -> Image {
        Image {
            format: header.format,
            machine: header.machine,
            shells: Vec::new(),
            said_release: None,
            wrapped: None,
            packed: None,
            file_bytes: self.file_bytes,
            length_is_known: header.least.is_some(),
            is_summed: false,
            boot: header.boot,
            signed: header.signed,
            contents,
        }
    }

    /// A file that begins with a header.
    fn plain<R: Read + Seek>(
        &self,
        source: &mut R,
        header: &format::Header,
    ) -> Result<Image, Error> {
        if header.least.is_some_and(|least| least > self.file_bytes) {
            return Err(Error::Damaged("it is shorter than its header says"));
        }
        let Some(payload) = header.payload else {
            source.rewind().map_err(Error::Io)?;
            let contents = self.scan(source, None)?;
            return Ok(self.image(header, contents));
        };
        let end = payload.start.checked_add(payload.length);
        if payload.length == 0 || end.is_none_or(|end| end > self.file_bytes) {
            return Err(Error::Damaged("its payload lies outside of the file"));
        }
        let mut start = [0; 8];
        source
            .seek(SeekFrom::Start(payload.start))
            .map_err(Error::Io)?;
        let mut payload_bytes = source.take(payload.length);
        let count = read_up_to(&mut payload_bytes, &mut start).map_err(Error::Io)?;
        let start = start.get(..count).unwrap_or_default();
        let packed = Compression::recognise(start);
        if packed.is_none() && !format::is_elf(start) {
            return Err(Error::Damaged("its payload is of no known kind"));
        }
        let whole = Cursor::new(start).chain(payload_bytes);
        let contents = match packed {
            Some(compression) => {
                let mut decoder = self.decoder(compression, whole)?;
                self.scan(&mut decoder, Some(compression))?
            }
            None => self.scan(whole, None)?,
        };
        if header.format == Format::BzImage && packed.is_some() {
            // Not every compression has a checksum, but each payload ends with its length
            // unpacked.
            let said = last_word(source, payload)?;
            if u64::from(said) != contents.bytes & u64::from(u32::MAX) {
                return Err(Error::Damaged(
                    "unpacked it has not the length that it should have",
                ));
            }
        }
        let mut image = self.image(header, contents);
        image.packed = packed;
        image.is_summed = packed.is_some_and(|packed| packed.is_summed(start));
        Ok(image)
    }

    /// A file that is compressed as a whole.
    ///
    /// `head` is its beginning.
    fn wrapped<R: Read>(
        &self,
        source: &mut R,
        compression: Compression,
        head: &[u8],
    ) -> Result<Image, Error> {
        let is_summed = compression.is_summed(head);
        let mut decoder = self.decoder(compression, source)?;
        let head =
            self::head(&mut decoder).map_err(|why| Error::Decompress { compression, why })?;
        let header = format::recognise(&head)?.ok_or(Error::NotAKernel)?;
        if header.payload.is_some() {
            // Such a file would have to be decompressed twice, and nothing boots it.
            return Err(Error::NotAKernel);
        }
        let contents = self.scan(Cursor::new(head).chain(decoder), Some(compression))?;
        let mut image = self.image(&header, contents);
        image.wrapped = Some(compression);
        image.is_summed = is_summed;
        Ok(image)
    }

    fn decoder<'r, R: Read + 'r>(
        &self,
        compression: Compression,
        source: R,
    ) -> Result<Box<dyn Read + 'r>, Error> {
        decompress::decoder(compression, source)
    }

    fn scan(
        &self,
        mut source: impl Read,
        compression: Option<Compression>,
    ) -> Result<Contents, Error> {
        let mut scanner = scan::Scanner::new(self.families);
        let mut chunk = vec![0; scan::CHUNK];
        let mut total: u64 = 0;
        loop {
            let count = match (read_up_to(&mut source, &mut chunk), compression) {
                (Ok(count), _) => count,
                (Err(why), Some(compression)) => {
                    return Err(Error::Decompress { compression, why });
                }
                (Err(why), None) => return Err(Error::Io(why)),
            };
            let Some(bytes) = chunk.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok(scanner.finish());
            };
            total = total.saturating_add(count as u64);
            if total > self.max_decompressed {
                return Err(Error::Bomb(self.max_decompressed));
            }
            scanner.feed(bytes);
        }
    }
}

/// The ABI strings of some families in a piece of memory.
pub(crate) fn abi_strings(bytes: &[u8], families: &[&str]) -> Vec<String> {
    let mut scanner = scan::Scanner::new(families);
    scanner.feed(bytes);
    scanner.finish().strings.into_iter().collect()
}
