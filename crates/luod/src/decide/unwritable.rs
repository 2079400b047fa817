// SPDX-License-Identifier: MIT OR Apache-2.0
//! Remedies for a file that cannot be written.

/// The remedy where something cannot be written; `with_room` is for want of room alone. `why` is
/// as the standard library says it, or the kernel.
#[must_use]
pub fn unwritable(why: &str, with_room: &'static str) -> &'static str {
    let why = why.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| why.contains(part));
    if has(&["file too large"]) {
        "set LimitFSIZE=infinity in luod's unit (`ulimit -f unlimited`)"
    } else if has(&["read-only"]) {
        "luod may not write there: have it mounted for writing (`findmnt -T` says how it is), and \
         allowed by ReadWritePaths= of luod's unit"
    } else if has(&[
        "file exists",
        "is a directory",
        "not a directory",
        "levels of symbolic links",
        "no regular file",
        "a link to what is not there",
    ]) {
        "something else has the place of a file or a folder of luod's: look with `ls -la`, and \
         move it away"
    } else if has(&["permission denied", "not permitted"]) {
        "luod may not write there: `ls -la` says whose it is, and the unit what it takes from root"
    } else if has(&["too many open files in system"]) {
        "the machine can open no more files: `sysctl fs.file-nr`"
    } else if has(&["too many open files"]) {
        "luod has no descriptor left: set LimitNOFILE=65536 in its unit (`ulimit -n 65536`)"
    } else if has(&["input/output error"]) {
        "the disk does not work: `dmesg` says more"
    } else if has(&["no space left", "storage space", "quota"]) {
        with_room
    } else if has(&["cannot allocate memory", "out of memory"]) {
        "the machine has no memory for that: `free` and `dmesg` say more"
    } else if has(&["no such file", "entity not found"]) {
        "its folder, or the disk that it was on, is gone: `findmnt -T` says what is there; luod \
         makes its folders when it is started"
    } else {
        "`findmnt -T` says what it is on, `dmesg` may say what is wrong with that"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_not_to_be_written_has_its_own_remedy() {
        for (errno, part) in [
            (28, "make room"),
            (122, "make room"),
            (30, "mounted for writing"),
            (17, "move it away"),
            (20, "move it away"),
            (21, "move it away"),
            (13, "may not write"),
            (1, "may not write"),
            (27, "LimitFSIZE"),
            (5, "the disk does not work"),
            (12, "no memory"),
            (2, "its folder"),
            (24, "LimitNOFILE"),
            (23, "fs.file-nr"),
            (116, "`findmnt -T`"),
        ] {
            let why = std::io::Error::from_raw_os_error(errno);
            let told = unwritable(&why.to_string(), "make room there");
            assert!(told.contains(part), "{why}: {told}");
            assert_eq!(told == "make room there", part == "make room", "{told}");
        }
    }
}
