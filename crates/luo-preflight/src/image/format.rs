// SPDX-License-Identifier: MIT OR Apache-2.0
//! The headers of kernel images.
//!
//! Sources: `Documentation/arch/x86/boot.rst`, `Documentation/arch/arm64/booting.rst`,
//! `Documentation/arch/riscv/boot-image-header.rst` of Linux, the PE and ELF formats.

use core::fmt;

use super::source::Error;

/// Bytes at the start of a file that headers are looked for in.
pub(super) const HEAD: usize = 4096;

/// The last bytes of a file with a signature as modules have them.
const APPENDED: &[u8] = b"~Module signature appended~\n";

/// Bytes at the end of a file that are looked at.
pub(super) const TAIL: u64 = 64;

/// The format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// x86's bzImage.
    BzImage,
    /// `Image` of arm64 and riscv.
    Image,
    /// A kernel that decompresses itself as a program of EFI.
    EfiZboot,
    /// An ELF file: `vmlinux`.
    Elf,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::BzImage => "bzImage",
            Self::Image => "Image",
            Self::EfiZboot => "EFI zboot image",
            Self::Elf => "ELF file",
        })
    }
}

/// The facts that a loader needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// Bytes of contiguous memory that the kernel is put into; 0 if it does not say.
    pub memory_bytes: u64,
    /// The alignment of that memory: its address is a multiple of this.
    pub alignment: u64,
    /// The lowest address for it.
    pub lowest: u64,
    /// Bytes of a command line, without the zero at the end, if the header says.
    pub max_command_line: Option<u64>,
    /// The reason why the kernel's own loader would not take it, if there is one.
    pub unloadable: Option<&'static str>,
}

/// Where the kernel lies in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload {
    pub(super) start: u64,
    pub(super) length: u64,
}

/// The facts in a header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) format: Format,
    pub(super) machine: Option<&'static str>,
    /// `None` if the file itself is the kernel.
    pub(super) payload: Option<Payload>,
    pub(super) boot: Boot,
    pub(super) signed: bool,
    /// Bytes that the file has at least, if the header says: a shorter one is cut off.
    pub(super) least: Option<u64>,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

fn has(bytes: &[u8], at: usize, what: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(what))
}

pub(super) fn is_elf(head: &[u8]) -> bool {
    head.starts_with(b"\x7fELF")
}

pub(super) fn is_appended_signature(tail: &[u8]) -> bool {
    tail.ends_with(APPENDED)
}

/// Recognises a file that begins with `head`; `Ok(None)` if it has none of the formats.
pub(super) fn recognise(head: &[u8]) -> Result<Option<Header>, Error> {
    if has(head, 0x202, b"HdrS") {
        return bz_image(head).map(Some);
    }
    if head.starts_with(b"MZ") && has(head, 4, b"zimg") {
        let cut = Error::Damaged("its header is cut off");
        return efi_zboot(head).ok_or(cut).map(Some);
    }
    if has(head, 56, b"ARM\x64") {
        return Ok(Some(flat(head, "aarch64", 2 << 20)));
    }
    if has(head, 56, b"RSC\x05") {
        return Ok(Some(flat(head, "riscv64", 2 << 20)));
    }
    Ok(is_elf(head).then(|| elf(head)))
}

fn bz_image(head: &[u8]) -> Result<Header, Error> {
    const OLDEST: u16 = 0x020c;
    const LOADED_HIGH: u8 = 1;
    const KERNEL_64: u16 = 1;
    const ABOVE_4G: u16 = 2;
    let fields = || {
        let setup_sectors = *head.get(0x1f1)?;
        let real_mode = match setup_sectors {
            0 => 5 * 512,
            sectors => (u64::from(sectors) + 1) * 512,
        };
        let payload = Payload {
            start: real_mode.checked_add(u32_at(head, 0x248)?.into())?,
            length: u32_at(head, 0x24c)?.into(),
        };
        let xloadflags = u16_at(head, 0x236)?;
        let unloadable = if u16_at(head, 0x1fe)? != 0xaa55 {
            Some("it has no boot sector")
        } else if u16_at(head, 0x206)? < OLDEST {
            Some("its boot protocol is older than 2.12")
        } else if head.get(0x211)? & LOADED_HIGH == 0 {
            Some("it is a zImage")
        } else if xloadflags & KERNEL_64 == 0 {
            Some("it has no 64-bit entry")
        } else if xloadflags & ABOVE_4G == 0 {
            Some("it cannot lie above 4 GiB")
        } else {
            None
        };
        // In units of 16 bytes. What has been copied in part only is shorter.
        let code = u64::from(u32_at(head, 0x1f4)?).checked_mul(16)?;
        let least = real_mode.checked_add(code)?.max(certificates_end(head));
        let boot = Boot {
            memory_bytes: u64::from(u32_at(head, 0x260)?).next_multiple_of(4096),
            alignment: u32_at(head, 0x230)?.into(),
            lowest: u64_at(head, 0x258)?.max(1 << 20),
            max_command_line: Some(u32_at(head, 0x238)?.into()),
            unloadable,
        };
        let machine = (xloadflags & KERNEL_64 != 0).then_some("x86_64");
        Some((payload, boot, machine, least))
    };
    let (payload, boot, machine, least) =
        fields().ok_or(Error::Damaged("its header is cut off"))?;
    Ok(Header {
        format: Format::BzImage,
        machine,
        payload: Some(payload),
        boot,
        signed: is_pe_signed(head),
        least: Some(least),
    })
}

fn efi_zboot(head: &[u8]) -> Option<Header> {
    let payload = Payload {
        start: u32_at(head, 8)?.into(),
        length: u32_at(head, 12)?.into(),
    };
    Some(Header {
        format: Format::EfiZboot,
        machine: pe_machine(head),
        payload: Some(payload),
        boot: Boot::default(),
        signed: is_pe_signed(head),
        least: pe_end(head),
    })
}

/// `Image`: a header of 64 bytes that arm64 and riscv share.
fn flat(head: &[u8], machine: &'static str, alignment: u64) -> Header {
    let memory_bytes = u64_at(head, 16).unwrap_or(0);
    let unloadable = (memory_bytes == 0).then_some("it does not say how much memory it needs");
    Header {
        format: Format::Image,
        machine: Some(machine),
        payload: None,
        boot: Boot {
            memory_bytes,
            alignment,
            lowest: 0,
            max_command_line: None,
            unloadable,
        },
        signed: is_pe_signed(head),
        least: pe_end(head),
    }
}

fn elf(head: &[u8]) -> Header {
    let number = match head.get(5) {
        Some(2) => array(head, 18).map(u16::from_be_bytes),
        _ => u16_at(head, 18),
    };
    let machine = match number {
        Some(62) => Some("x86_64"),
        Some(183) => Some("aarch64"),
        Some(243) => Some("riscv64"),
        Some(258) => Some("loongarch64"),
        Some(22) => Some("s390x"),
        _ => None,
    };
    Header {
        format: Format::Elf,
        machine,
        payload: None,
        boot: Boot::default(),
        signed: false,
        least: None,
    }
}

/// Where the header of a PE file is.
fn pe(head: &[u8]) -> Option<usize> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let at = usize::try_from(u32_at(head, 0x3c)?).ok()?;
    has(head, at, b"PE\0\0").then_some(at)
}

fn pe_machine(head: &[u8]) -> Option<&'static str> {
    match u16_at(head, pe(head)?.checked_add(4)?)? {
        0x8664 => Some("x86_64"),
        0xaa64 => Some("aarch64"),
        0x5064 => Some("riscv64"),
        0x6264 => Some("loongarch64"),
        _ => None,
    }
}

/// The table of certificates of a PE file: its place in the file, and its length.
fn certificates(head: &[u8]) -> Option<(u64, u64)> {
    const PE32_PLUS: u16 = 0x20b;
    const CERTIFICATES: u32 = 4;
    let optional = pe(head)?.checked_add(24)?;
    let directories = optional.checked_add(108)?;
    let is_plus = u16_at(head, optional)? == PE32_PLUS;
    let has_entry = u32_at(head, directories)? > CERTIFICATES;
    let entry = directories.checked_add(4 + 4 * 8)?;
    let start = u32_at(head, entry)?;
    let length = u32_at(head, entry.checked_add(4)?)?;
    (is_plus && has_entry && length > 0).then_some((start.into(), length.into()))
}

fn is_pe_signed(head: &[u8]) -> bool {
    certificates(head).is_some()
}

/// Where the certificates of a PE file end; 0 if it has none.
fn certificates_end(head: &[u8]) -> u64 {
    certificates(head).map_or(0, |(start, length)| start.saturating_add(length))
}

/// Where a PE file ends at the earliest, by its sections and its certificates.
pub(super) fn pe_end(head: &[u8]) -> Option<u64> {
    const SECTION: usize = 40;
    let at = pe(head)?;
    let count = u16_at(head, at.checked_add(6)?)?;
    let optional = u16_at(head, at.checked_add(20)?)?;
    let table = at.checked_add(24)?.checked_add(optional.into())?;
    let mut end = certificates_end(head);
    for number in 0..usize::from(count) {
        let section = table.checked_add(number.checked_mul(SECTION)?)?;
        let length = u32_at(head, section.checked_add(16)?)?;
        let start = u32_at(head, section.checked_add(20)?)?;
        if length > 0 {
            end = end.max(u64::from(start).saturating_add(length.into()));
        }
    }
    Some(end)
}
