// SPDX-License-Identifier: MIT OR Apache-2.0
//! The heads of files begin with a noun, as CONTRIBUTING.md asks: in the crates that the kernel
//! shares, in luod and in the kernel's host.

use super::{files, read};

/// The folders whose files are looked at.
const FOLDERS: [&str; 6] = [
    "crates/luo-abi/src",
    "crates/luo-calls/src",
    "crates/luo-core/src",
    "crates/luo-memfd/src",
    "crates/luod/src",
    "kernel/overlay",
];

/// Words that a head does not begin with.
const HEADLESS: [&str; 5] = ["What", "Who", "Whoever", "Whom", "Whose"];

/// Whether the head of a file begins with one of them.
fn is_headless(text: &str) -> bool {
    let mut heads = text.lines().filter_map(|line| line.strip_prefix("//! "));
    let first = heads.next().and_then(|line| line.split(' ').next());
    first.is_some_and(|word| HEADLESS.contains(&word))
}

#[test]
fn heads_begin_with_a_noun() {
    let all: Vec<_> = FOLDERS
        .iter()
        .flat_map(|folder| files(folder, &["rs"]))
        .collect();
    assert!(all.len() > 200, "{}", all.len());
    // A test may say in its head what is looked at.
    let all = all.iter().filter(|path| !path.contains("/tests"));
    let headless: Vec<_> = all.filter(|path| is_headless(&read(path))).collect();
    assert!(
        headless.is_empty(),
        "CONTRIBUTING.md says how to begin: {headless:?}"
    );
    assert!(is_headless("// SPDX\n//! Who pays.\n"));
    assert!(!is_headless(
        "//! The group that pays.\n//!\n//! What it pays\n"
    ));
}
