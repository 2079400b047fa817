// SPDX-License-Identifier: MIT OR Apache-2.0
//! ARCHITECTURE.md's list of folders has all that it is a list of: each crate, what lies in the
//! kernel host's folder, and its C files once more where it says where unsafe lives; luod's
//! folders, and the files beside them.

use std::collections::BTreeSet;
use std::fs;

use toml::Table;

use super::{files, read, root};

/// The kernel host's folder.
const HOST: &str = "kernel/overlay/kernel/liveupdate/rust";

/// Files of a folder in the kernel tree that belong to each such folder.
const OF_EACH_FOLDER: [&str; 2] = ["Kconfig", "Makefile"];

/// The list of folders, line by line.
fn folders(document: &str) -> Vec<&str> {
    let lines = document
        .lines()
        .skip_while(|line| *line != "## The folders");
    let lines = lines.skip(1).take_while(|line| !line.starts_with("## "));
    lines.filter(|line| line.starts_with("    ")).collect()
}

/// What the lines of a list name: the words before two spaces.
fn named<'a>(lines: &[&'a str]) -> BTreeSet<&'a str> {
    let names = lines.iter().flat_map(|line| {
        let entry = line.trim_start().split("  ").next();
        entry.unwrap_or_default().split([',', ' '])
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// The folders of all crates of the workspace.
fn crates() -> Vec<String> {
    let manifests = files("", &["toml"]).into_iter();
    let manifests = manifests.filter(|path| path.ends_with("/Cargo.toml"));
    let is_crate = |path: &String| read(path).parse::<Table>().unwrap().contains_key("package");
    let folders = manifests.filter(is_crate);
    let folders = folders.map(|path| path.trim_end_matches("/Cargo.toml").to_owned());
    folders.collect()
}

/// What lies in the kernel host's folder.
fn of_host() -> Vec<String> {
    let all = fs::read_dir(root().join(HOST)).unwrap();
    let all = all.map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => name + "/",
            false => name,
        }
    });
    let mut all: Vec<_> = all.collect();
    all.retain(|name| !(name.starts_with('.') || OF_EACH_FOLDER.contains(&name.as_str())));
    all.sort();
    all
}

#[test]
fn each_crate_is_in_the_list_of_folders() {
    let architecture = read("ARCHITECTURE.md");
    let named = named(&folders(&architecture));
    let crates = crates();
    assert!(crates.len() > 20, "{crates:?}");
    for folder in crates {
        // `crates/luod, luoctl` names both.
        let last = folder.rsplit('/').next().unwrap();
        let is_named = [folder.as_str(), &format!("{folder}/"), last];
        assert!(
            is_named.iter().any(|name| named.contains(name)),
            "ARCHITECTURE.md's list of folders lacks {folder}"
        );
    }
}

#[test]
fn each_file_of_the_kernels_host_is_in_the_list_of_folders() {
    let architecture = read("ARCHITECTURE.md");
    let named = named(&folders(&architecture));
    let host = of_host();
    assert!(host.len() > 20, "{host:?}");
    for name in &host {
        // A header belongs to the C file of its name, a file beside a folder to that.
        let stem = name.trim_end_matches(".h").trim_end_matches(".rs");
        let is_named = [name.clone(), format!("{stem}.c"), format!("{stem}/")];
        assert!(
            is_named.iter().any(|name| named.contains(name.as_str())),
            "ARCHITECTURE.md's list of folders lacks {HOST}/{name}"
        );
    }
    // Nothing is named there that is gone.
    let folders = folders(&architecture);
    let begin = folders
        .iter()
        .position(|line| line.contains("kernel/liveupdate/rust/"));
    let lines = folders.iter().skip(begin.unwrap() + 1);
    let lines: Vec<_> = lines
        .take_while(|line| line.starts_with("        "))
        .copied()
        .collect();
    for name in self::named(&lines) {
        assert!(
            host.iter().any(|known| known == name),
            "there is no {HOST}/{name}"
        );
    }
}

#[test]
fn each_c_file_of_the_kernels_host_is_named_where_unsafe_lives() {
    let architecture = read("ARCHITECTURE.md");
    let mut rows = architecture.lines();
    let row = rows.find(|line| line.starts_with("| Where does unsafe live? |"));
    let row = row.unwrap();
    let host = of_host();
    let c_files: Vec<_> = host.iter().filter(|name| name.ends_with(".c")).collect();
    assert!(c_files.len() > 3, "{c_files:?}");
    for name in c_files {
        assert!(row.contains(&format!("`{name}`")), "the row lacks {name}");
    }
}

#[test]
fn each_folder_and_file_of_luods_is_named() {
    let architecture = read("ARCHITECTURE.md");
    let section = architecture
        .split("\n## An update by the agent\n")
        .nth(1)
        .unwrap();
    let list = section.split("\n\n1. ").next().unwrap();
    for entry in fs::read_dir(root().join("crates/luod/src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let name = match name.strip_suffix(".rs") {
            // The roots, and the test of the rooms.
            Some("lib" | "main" | "rooms") => continue,
            Some(file) => format!("`{file}`"),
            None => format!("`{name}/`"),
        };
        assert!(
            list.contains(&name),
            "ARCHITECTURE.md's list of luod's folders lacks {name}"
        );
    }
}

#[test]
fn a_list_is_taken_apart() {
    let text = "## The folders\n\n    crates/a, b      two\n      c.rs, d.rs  files, of c\n## Next\n    e  f\n";
    let lines = folders(text);
    assert_eq!(lines.len(), 2);
    let expected = ["b", "c.rs", "crates/a", "d.rs"];
    assert!(named(&lines).into_iter().eq(expected));
}
