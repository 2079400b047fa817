// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory that a guest has beside its RAM, as QEMU tells of it. No I/O.

/// Bytes of all blocks of memory but those whose names are RAM's, out of QEMU's list of them: a table for
/// people, whose columns differ from version to version.
#[must_use]
pub fn beside(list: &str, is_ram: impl Fn(&str) -> bool) -> u64 {
    let sizes = list.lines().filter_map(|line| {
        let name = line.split_whitespace().next()?;
        let numbers = line.split_whitespace().filter_map(|word| {
            let digits = word.strip_prefix("0x")?;
            u64::from_str_radix(digits, 16).ok()
        });
        // The first one is where it lies among them, the second one how much of it is used.
        let size = numbers.into_iter().nth(1)?;
        (!is_ram(name)).then_some(size)
    });
    sizes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_devices_is_added_up_and_the_ram_left_out() {
        let list = "\
              Block Name    PSize              Offset               Used              Total                HVA  RO
                 luo-ram    4 KiB  0x0000000000000000 0x0000000010000000 0x0000000010000000 0x00007feecfe00000  rw
   0000:00:01.0/vga.vram    4 KiB  0x0000000010080000 0x0000000001000000 0x0000000001000000 0x00007fef2cc00000  rw
    /rom@etc/acpi/tables    4 KiB  0x0000000011100000 0x0000000000020000 0x0000000000200000 0x00007fef2c400000  ro
                 pc.bios    4 KiB  0x0000000010000000 0x0000000000040000 0x0000000000040000 0x00007fef2e200000  ro
";
        assert_eq!(
            beside(list, |name| name == "luo-ram"),
            (16 << 20) + (128 << 10) + (256 << 10)
        );
        // Without columns that came later.
        let old = "Block Name PSize Offset Used Total\nluo-ram 4 KiB 0x0 0x1000 0x1000\n\
                   pc.rom 4 KiB 0x1000 0x2000 0x2000\n";
        assert_eq!(beside(old, |name| name == "luo-ram"), 0x2000);
        assert_eq!(beside("", |name| name == "luo-ram"), 0);
        assert_eq!(
            beside(
                "x 0xffffffffffffffff 0xzz 0x1\ny 0x0 0xffffffffffffffff\nz 0x0 0x5",
                |name| name == "luo-ram"
            ),
            u64::MAX
        );
    }
}
