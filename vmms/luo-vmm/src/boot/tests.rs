// SPDX-License-Identifier: MIT OR Apache-2.0
use std::io::Write;

use tempfile::NamedTempFile;
use vm_memory::ByteValued;

use super::*;

const RAM: usize = 32 << 20;

fn ram() -> Ram {
    Ram::from_ranges(&[(GuestAddress(0), RAM)]).unwrap()
}

fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A kernel's image with nothing of a kernel in it but what a loader looks at: two sectors of
/// set-up, and behind them the kernel.
fn image(kernel: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(0x1f1, &[1]);
    put(0x202, b"HdrS");
    put(0x206, &0x020fu16.to_le_bytes());
    put(0x211, &[1]);
    put(0x214, &0x10_0000u32.to_le_bytes());
    put(0x260, &0x10_0000u32.to_le_bytes());
    bytes.extend(kernel);
    bytes
}

/// Such an image with another field in its header.
fn image_with(at: usize, what: &[u8]) -> NamedTempFile {
    let mut bytes = image(b"kernel");
    bytes[at..at + what.len()].copy_from_slice(what);
    file(&bytes)
}

fn linux_of(kernel: &NamedTempFile, initrd: Option<&NamedTempFile>, cmdline: &str) -> Program {
    Program::Linux {
        kernel: kernel.path().to_owned(),
        initrd: initrd.map(|file| file.path().to_owned()),
        cmdline: cmdline.to_owned(),
    }
}

#[test]
fn a_flat_program_lies_at_1_mib_and_begins_there() {
    let (ram, program) = (ram(), file(b"program"));
    let regs = load(&Program::Flat(program.path().to_owned()), &ram).unwrap();
    assert_eq!((regs.rip, regs.rflags), (0x10_0000, 2));
    let mut bytes = [0; 7];
    ram.read_slice(&mut bytes, GuestAddress(0x10_0000)).unwrap();
    assert_eq!(&bytes, b"program");
}

#[test]
fn linux_is_told_of_its_memory_its_line_and_its_initramfs() {
    let (ram, kernel, initrd) = (ram(), file(&image(b"kernel")), file(b"initramfs"));
    let regs = load(&linux_of(&kernel, Some(&initrd), "quiet"), &ram).unwrap();
    assert_eq!((regs.rip, regs.rsi), (0x10_0000, PARAMS));
    let mut params = boot_params::default();
    let read = ram.read_slice(params.as_mut_slice(), GuestAddress(PARAMS));
    read.unwrap();
    let mut bytes = [0; 9];
    let at = u64::from(params.hdr.ramdisk_image);
    ram.read_slice(&mut bytes, GuestAddress(at)).unwrap();
    assert_eq!(&bytes, b"initramfs");
    assert_eq!({ params.hdr.ramdisk_size }, 9);
    assert!(at + 9 <= RAM as u64 && at % 4096 == 0);
    let mut line = [0; 6];
    let at = u64::from(params.hdr.cmd_line_ptr);
    ram.read_slice(&mut line, GuestAddress(at)).unwrap();
    assert_eq!(&line, b"quiet\0");
    assert_eq!(params.e820_entries, 2);
    let high = params.e820_table[1];
    assert_eq!({ high.addr } + { high.size }, RAM as u64);
}

#[test]
fn what_cannot_be_loaded_is_refused_with_a_reason() {
    let good = file(&image(b"kernel"));
    let none = Program::Flat("/nowhere".into());
    assert!(matches!(load(&none, &ram()), Err(Refusal::File { .. })));
    let odd = file(&[0; 4096]);
    let odd = linux_of(&odd, None, "");
    assert!(matches!(load(&odd, &ram()), Err(Refusal::NoKernel { .. })));
    let short = file(b"x");
    let short = linux_of(&short, None, "");
    assert!(matches!(
        load(&short, &ram()),
        Err(Refusal::NoKernel { .. })
    ));
    let large = file(&vec![0; RAM]);
    let program = Program::Flat(large.path().to_owned());
    assert!(matches!(
        load(&program, &ram()),
        Err(Refusal::NoRoom { .. })
    ));
    for program in [
        linux_of(&good, Some(&large), ""),
        linux_of(&good, None, &"x".repeat(CMDLINE_LIMIT)),
    ] {
        assert!(matches!(
            load(&program, &ram()),
            Err(Refusal::NoRoom { .. })
        ));
    }
}

#[test]
fn a_kernel_has_room_to_unpack_itself_or_is_refused() {
    let needs = |at: usize, bytes: &[u8]| {
        let kernel = image_with(at, bytes);
        load(&linux_of(&kernel, None, ""), &ram()).is_ok()
    };
    // What it needs, from 1 MiB on.
    let size = |bytes: usize| needs(0x260, &(bytes as u32).to_le_bytes());
    assert!(size(RAM - (1 << 20)));
    assert!(!size(RAM - (1 << 20) + 1));
    // The address that it prefers.
    let address = |at: usize| needs(0x258, &(at as u64).to_le_bytes());
    assert!(address(RAM - (1 << 20)));
    assert!(!address(RAM));
    assert!(!needs(0x258, &u64::MAX.to_le_bytes()));
    // An alignment moves it up.
    let alignment = |bytes: usize| needs(0x230, &(bytes as u32).to_le_bytes());
    assert!(alignment(16 << 20));
    assert!(!alignment(RAM));
}

#[test]
fn an_initramfs_lies_where_the_kernel_can_read_it() {
    let initrd = file(&[7; 5000]);
    let at = |most: u32| {
        let kernel = image_with(0x22c, &most.to_le_bytes());
        let ram = ram();
        load(&linux_of(&kernel, Some(&initrd), ""), &ram).unwrap();
        let mut params = boot_params::default();
        let read = ram.read_slice(params.as_mut_slice(), GuestAddress(PARAMS));
        read.unwrap();
        u64::from(params.hdr.ramdisk_image)
    };
    let end = RAM as u64;
    assert_eq!(at(0x7fff_ffff), end - 8192);
    assert_eq!(at(u32::MAX), end - 8192);
    assert_eq!(at((16 << 20) - 1), (16 << 20) - 8192);
}

#[test]
fn a_kernels_own_limit_of_its_command_line_counts() {
    let kernel = image_with(0x238, &255u32.to_le_bytes());
    let line = |length| load(&linux_of(&kernel, None, &"x".repeat(length)), &ram());
    assert!(line(255).is_ok());
    assert!(matches!(line(256), Err(Refusal::NoRoom { .. })));
    let kernel = image_with(0x238, &u32::MAX.to_le_bytes());
    let line = |length| load(&linux_of(&kernel, None, &"x".repeat(length)), &ram());
    assert!(line(CMDLINE_LIMIT - 1).is_ok());
    assert!(matches!(line(CMDLINE_LIMIT), Err(Refusal::NoRoom { .. })));
}
