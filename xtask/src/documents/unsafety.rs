// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unsafe code is only where CONTRIBUTING.md says, in the kernel too, where no attribute of
//! a crate says so.

use super::{files, read};

/// Where it may be: parts of paths.
const ALLOWED: [&str; 7] = [
    "kernel/overlay/kernel/liveupdate/rust/sys/",
    "kernel/overlay/rust/kernel/liveupdate/sys/",
    "kernel/overlay/lib/tests/luo_edu/sys/",
    "crates/luo-sys/",
    "crates/luo-client-c/",
    // What looks for it, and for the words about it.
    "xtask/src/documents/unsafety.rs",
    "xtask/src/documents/rooms.rs",
];

/// The first line with the keyword in code, counted from one.
fn first_unsafe(text: &str) -> Option<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let has = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        // A word of web servers'.
        let code = code.replace("unsafe-inline", "");
        code.split(|c| !is_word(c)).any(|word| word == "unsafe")
    };
    text.lines().position(has).map(|at| at + 1)
}

#[test]
fn unsafe_code_is_where_it_may_be() {
    let mut seen = 0;
    for path in files(".", &["rs"]) {
        let path = path.trim_start_matches("./");
        let line = first_unsafe(&read(path));
        match line {
            Some(_) if ALLOWED.iter().any(|part| path.starts_with(part)) => seen += 1,
            Some(line) => panic!("{path}:{line}: unsafe code may not be here"),
            None => {}
        }
    }
    assert!(seen > 20, "{seen} files: the kernel's are not looked at");
}

#[test]
fn the_keyword_is_found_in_code_alone() {
    assert_eq!(first_unsafe("a\nlet x = unsafe { 1 };"), Some(2));
    assert_eq!(
        first_unsafe("const STYLE: &str = \"'unsafe-inline'\";"),
        None
    );
    assert_eq!(first_unsafe("unsafe impl Send for A {}"), Some(1));
    assert_eq!(first_unsafe("// unsafe\n#![forbid(unsafe_code)]"), None);
}
