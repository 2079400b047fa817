// SPDX-License-Identifier: MIT OR Apache-2.0
//! An initramfs with one program in it, and files for that: a cpio archive of the form `newc`.

/// The folder of the files.
pub const FILES: &str = "files";

/// The archive, with the program as its init.
#[must_use]
pub fn of(program: &[u8]) -> Vec<u8> {
    with(program, &[])
}

/// The same, with files by their names in [`FILES`].
#[must_use]
pub fn with(program: &[u8], files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut to = Vec::new();
    // The kernel opens it for init.
    add(&mut to, "dev", 0o040_755, (0, 0), &[]);
    add(&mut to, "dev/console", 0o020_600, (5, 1), &[]);
    add(&mut to, "proc", 0o040_755, (0, 0), &[]);
    add(&mut to, "sys", 0o040_755, (0, 0), &[]);
    add(&mut to, "init", 0o100_755, (0, 0), program);
    add(&mut to, FILES, 0o040_755, (0, 0), &[]);
    for (name, content) in files {
        let name = format!("{FILES}/{name}");
        add(&mut to, &name, 0o100_644, (0, 0), content);
    }
    add(&mut to, "TRAILER!!!", 0, (0, 0), &[]);
    to
}

fn add(to: &mut Vec<u8>, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
    let bytes = u32::try_from(content.len()).expect("a program is small");
    let length = u32::try_from(name.len()).expect("a name is short") + 1;
    // Number, mode, user, group, links, time, size, device of the file, device that it is, name,
    // no checksum.
    let numbers = [
        0, mode, 0, 0, 1, 0, bytes, 0, 0, device.0, device.1, length, 0,
    ];
    to.extend(b"070701");
    for number in numbers {
        to.extend(format!("{number:08x}").bytes());
    }
    to.extend(name.bytes());
    to.push(0);
    to.resize(to.len().next_multiple_of(4), 0);
    to.extend(content);
    to.resize(to.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_archive_is_as_long_as_what_is_in_it_says() {
        let bytes = super::with(b"program", &[("odd".to_owned(), b"content".to_vec())]);
        let heads = ["070701"; 8];
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches(heads[0]).count(), heads.len());
        assert_eq!(bytes.len() % 4, 0);
        assert!(text.contains("init\0") && text.contains("program"));
        assert!(text.contains("files/odd\0") && text.contains("content"));
    }
}
