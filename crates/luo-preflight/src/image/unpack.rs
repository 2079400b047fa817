// SPDX-License-Identifier: MIT OR Apache-2.0
//! Takes a kernel out of what distributions put around it, so that the running kernel's
//! loader takes it.
//!
//! ```text
//! unified kernel image --.linux--> bzImage
//!            (PE)      --.initrd--> initrd      .cmdline, .uname
//! vmlinuz.gz   --decompressed--> bzImage, Image
//! EFI zboot    --decompressed--> Image
//! ```
//!
//! A shell may be in another one. What was taken out lies in files without a name.

use core::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use object::pe::ImageNtHeaders64;
use object::read::ReadCache;
use object::read::pe::PeFile;
use rustix::fs::MemfdFlags;

use super::compression::Compression;
use super::source::Error;
use super::{decompress, format, head, open};
use crate::limits::{MAX_IMAGE, MAX_SHELLS, MAX_SMALL_FILE};

/// What a kernel was taken out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// A unified kernel image: an EFI program with kernel, initrd and command line.
    Unified,
    /// An EFI program that decompresses a kernel.
    Zboot,
    /// The kernel's file is compressed as a whole.
    Packed(Compression),
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unified => f.write_str("a unified kernel image"),
            Self::Zboot => f.write_str("an EFI zboot image"),
            Self::Packed(compression) => write!(f, "a file compressed with {compression}"),
        }
    }
}

/// A kernel, and what came along with it.
#[derive(Debug)]
pub struct Unpacked {
    /// The kernel. A file that is in no shell is here as it was opened.
    pub kernel: File,
    /// The initrd of a unified kernel image.
    pub initrd: Option<File>,
    /// The command line of a unified kernel image.
    pub command_line: Option<String>,
    /// The release that a unified kernel image says its kernel has.
    pub release: Option<String>,
    /// What the kernel was taken out of, the outermost first.
    pub shells: Vec<Shell>,
    /// Whether one of these has a checksum, which was good.
    pub is_summed: bool,
}

/// Opens a kernel's file, and takes the kernel out of what is around it.
///
/// # Errors
/// [`Error`]. A file that is no kernel is given as it is: who reads it says so.
pub fn unpack(path: &Path) -> Result<Unpacked, Error> {
    let mut found = Unpacked {
        kernel: open(path)?,
        initrd: None,
        command_line: None,
        release: None,
        shells: Vec::new(),
        is_summed: false,
    };
    while let Some(shell) = found.take_one_out()? {
        if found.shells.len() >= MAX_SHELLS {
            return Err(Error::Damaged("there are too many shells around it"));
        }
        found.shells.push(shell);
    }
    found.kernel.rewind().map_err(Error::Io)?;
    Ok(found)
}

impl Unpacked {
    fn take_one_out(&mut self) -> Result<Option<Shell>, Error> {
        let length = length(&mut self.kernel)?;
        let head = head(&mut self.kernel).map_err(Error::Io)?;
        if let Some(sections) = Sections::of(&self.kernel, &head)? {
            if format::pe_end(&head).is_some_and(|end| end > length) {
                return Err(Error::Damaged("it is shorter than its header says"));
            }
            self.unified(&sections, length)?;
            return Ok(Some(Shell::Unified));
        }
        if let Some((payload, compression, is_summed)) = zboot(&mut self.kernel, &head, length)? {
            self.is_summed |= is_summed;
            let source = range(&mut self.kernel, payload, length)?;
            self.kernel = decompressed(compression, source)?;
            return Ok(Some(Shell::Zboot));
        }
        let is_kernel = format::recognise(&head)?.is_some();
        let Some(compression) = Compression::recognise(&head).filter(|_| !is_kernel) else {
            return Ok(None);
        };
        self.kernel.rewind().map_err(Error::Io)?;
        self.is_summed |= compression.is_summed(&head);
        self.kernel = decompressed(compression, &mut self.kernel)?;
        Ok(Some(Shell::Packed(compression)))
    }

    fn unified(&mut self, sections: &Sections, length: u64) -> Result<(), Error> {
        let source = &mut self.kernel;
        // What an outer image says counts.
        if self.command_line.is_none() {
            self.command_line = text(source, sections.command_line, length)?;
        }
        if self.release.is_none() {
            self.release = text(source, sections.release, length)?;
        }
        let parts = [sections.microcode, sections.initrd];
        if self.initrd.is_none() && parts.iter().any(Option::is_some) {
            let mut initrd = without_name()?;
            for part in parts.into_iter().flatten() {
                let copied = io::copy(&mut range(source, part, length)?, &mut initrd);
                let copied = copied.map_err(Error::Io)?;
                // The kernel looks for the next archive at a multiple of four.
                let padding = usize::try_from(copied.wrapping_neg() & 3).unwrap_or(0);
                initrd
                    .write_all([0; 3].get(..padding).unwrap_or_default())
                    .map_err(Error::Io)?;
            }
            initrd.rewind().map_err(Error::Io)?;
            self.initrd = Some(initrd);
        }
        let mut kernel = without_name()?;
        io::copy(&mut range(source, sections.kernel, length)?, &mut kernel).map_err(Error::Io)?;
        self.kernel = kernel;
        Ok(())
    }
}

/// Bytes of a file.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: u64,
    length: u64,
}

/// The sections of a unified kernel image.
struct Sections {
    kernel: Range,
    initrd: Option<Range>,
    microcode: Option<Range>,
    command_line: Option<Range>,
    release: Option<Range>,
}

impl Sections {
    /// Finds them; `None` in what is no unified kernel image.
    fn of(file: &File, head: &[u8]) -> Result<Option<Self>, Error> {
        // A bzImage is an EFI program, too, and as a kernel it is what it is.
        if !head.starts_with(b"MZ") || format::recognise(head)?.is_some() {
            return Ok(None);
        }
        let cache = ReadCache::new(file);
        let Ok(program) = PeFile::<ImageNtHeaders64, _>::parse(&cache) else {
            return Ok(None);
        };
        let (mut kernel, mut initrd, mut microcode) = (None, None, None);
        let (mut command_line, mut release) = (None, None);
        for section in program.section_table().iter() {
            let place = match section.raw_name() {
                // Sections behind this belong to a profile, which has to be chosen.
                b".profile" => break,
                b".linux" => &mut kernel,
                b".initrd" => &mut initrd,
                b".ucode" => &mut microcode,
                b".cmdline" => &mut command_line,
                b".uname" => &mut release,
                _ => continue,
            };
            let (start, length) = section.pe_file_range();
            place.get_or_insert(Range {
                start: start.into(),
                length: length.into(),
            });
        }
        Ok(kernel.map(|kernel| Self {
            kernel,
            initrd,
            microcode,
            command_line,
            release,
        }))
    }
}

/// The payload of an EFI zboot image whose kernel can be loaded once it is decompressed, and
/// whether it has a checksum.
fn zboot(
    source: &mut File,
    head: &[u8],
    length: u64,
) -> Result<Option<(Range, Compression, bool)>, Error> {
    let Some(header) = format::recognise(head)? else {
        return Ok(None);
    };
    let is_zboot = header.format == format::Format::EfiZboot;
    let (true, Some("aarch64" | "riscv64"), Some(payload)) =
        (is_zboot, header.machine, header.payload)
    else {
        return Ok(None);
    };
    let payload = Range {
        start: payload.start,
        length: payload.length,
    };
    let start = super::head(&mut range(source, payload, length)?).map_err(Error::Io)?;
    let compression = Compression::recognise(&start);
    Ok(compression.map(|packed| (payload, packed, packed.is_summed(&start))))
}

/// A part of a file, to be read.
fn range(source: &mut File, range: Range, length: u64) -> Result<io::Take<&mut File>, Error> {
    let end = range.start.checked_add(range.length);
    if range.length == 0 || end.is_none_or(|end| end > length) {
        return Err(Error::Damaged("a part of it lies outside of the file"));
    }
    source
        .seek(SeekFrom::Start(range.start))
        .map_err(Error::Io)?;
    Ok(source.take(range.length))
}

/// The text of a section, in one line.
fn text(source: &mut File, section: Option<Range>, length: u64) -> Result<Option<String>, Error> {
    let Some(section) = section else {
        return Ok(None);
    };
    if section.length > MAX_SMALL_FILE as u64 {
        return Err(Error::Damaged("a text in it is too long"));
    }
    let mut bytes = Vec::new();
    range(source, section, length)?
        .read_to_end(&mut bytes)
        .map_err(Error::Io)?;
    let end = bytes.iter().position(|byte| *byte == 0);
    bytes.truncate(end.unwrap_or(bytes.len()));
    let text = String::from_utf8(bytes).map_err(|_| Error::Damaged("a text in it is none"))?;
    Ok(Some(text.trim().replace(['\n', '\r'], " ")))
}

fn decompressed(compression: Compression, source: impl Read) -> Result<File, Error> {
    let mut kernel = without_name()?;
    let decoder = decompress::decoder(compression, source)?;
    let mut limited = decoder.take(MAX_IMAGE.saturating_add(1));
    let mut chunk = vec![0; super::scan::CHUNK];
    let mut total: u64 = 0;
    loop {
        let count = super::source::read_up_to(&mut limited, &mut chunk);
        let count = count.map_err(|why| Error::Decompress { compression, why })?;
        let Some(bytes) = chunk.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(kernel);
        };
        total = total.saturating_add(count as u64);
        if total > MAX_IMAGE {
            return Err(Error::Bomb(MAX_IMAGE));
        }
        kernel.write_all(bytes).map_err(Error::Io)?;
    }
}

fn length(file: &mut File) -> Result<u64, Error> {
    let length = file.seek(SeekFrom::End(0)).map_err(Error::Io)?;
    if length > MAX_IMAGE {
        return Err(Error::TooLong(length));
    }
    file.rewind().map_err(Error::Io)?;
    Ok(length)
}

/// A file in memory, for this process alone.
pub(crate) fn without_name() -> Result<File, Error> {
    let flags = MemfdFlags::CLOEXEC;
    // Where programs in memory are forbidden, a file has to say that it is none; kernels
    // before 6.3 do not know the word.
    let made = rustix::fs::memfd_create("kernel", flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| rustix::fs::memfd_create("kernel", flags));
    made.map(File::from)
        .map_err(|errno| Error::Io(errno.into()))
}
