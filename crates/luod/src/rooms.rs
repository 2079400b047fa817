// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table at the head of each folder is its order: a file names only those in rows above
//! its own, so no arrow of that kind runs up. The methods of the one `Agent` that a file calls are
//! no names of files: xtask (`documents::circles`) looks at those.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The row of each file and folder in the table of a folder's root. `here` is the root.
fn rows(root: &str) -> BTreeMap<String, usize> {
    let table = root.lines().filter_map(|line| line.strip_prefix("//! | "));
    let mut rows = BTreeMap::new();
    for (row, line) in table.enumerate() {
        let names = line.split(" | ").next().unwrap_or_default();
        for name in names
            .split(", ")
            .map(|name| name.trim_matches(['`', '[', ']']))
        {
            rows.insert(name.to_owned(), row);
        }
    }
    rows
}

/// The text of a file without comments and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let plain = |line: &&str| !line.trim_start().starts_with("//");
    text.lines().filter(plain).collect::<Vec<_>>().join("\n")
}

/// The files, and folders, of the crate that a text names right behind a path.
fn named(text: &str, path: &str) -> Vec<String> {
    let of = |rest: &str| -> Vec<String> {
        let group = rest
            .strip_prefix('{')
            .and_then(|rest| rest.split('}').next());
        let items = group.unwrap_or_else(|| rest.split([';', '(', ')', ' ']).next().unwrap());
        let first = |item: &str| {
            let end = item.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            item[..end.unwrap_or(item.len())].to_owned()
        };
        let items = items.split(',').map(|item| first(item.trim()));
        items.filter(|item| !item.is_empty()).collect()
    };
    text.split(path).skip(1).flat_map(of).collect()
}

/// Checks a folder, and those in it; gives how many files were looked at.
fn check(folder: &Path, own: &str) -> usize {
    let root = ["mod.rs", "lib.rs"].map(|name| folder.join(name));
    let root = root.into_iter().find(|path| path.exists()).unwrap();
    let rows = rows(&fs::read_to_string(&root).unwrap());
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path == root || ["tests", "main", "rooms"].contains(&name.as_str()) {
            continue;
        }
        let row = *rows
            .get(&name)
            .unwrap_or_else(|| panic!("{own}{name} is in no table"));
        let mut texts = Vec::new();
        if path.is_dir() {
            // A folder beside a file of its name is a part of that, and has no table of its own.
            if path.join("mod.rs").exists() {
                files += check(&path, &format!("{own}{name}::"));
            }
            for file in fs::read_dir(&path).unwrap() {
                let file = file.unwrap().path();
                if file.is_file() && file.file_stem() != Some("tests".as_ref()) {
                    texts.push(named(&code(&file), &format!("crate::{own}")));
                }
            }
        } else {
            let code = code(&path);
            texts.push(named(&code, &format!("crate::{own}")));
            texts.push(named(&code, "super::"));
        }
        files += usize::from(path.is_file());
        for used in texts.into_iter().flatten() {
            // The root has what stands in it itself, after the row `here`.
            let is_roots = used.starts_with(|c: char| c.is_ascii_uppercase());
            let used = if is_roots { "here".to_owned() } else { used };
            let Some(&other) = rows.get(&used) else {
                panic!("{own}{name} uses {used}, which is in no table");
            };
            assert!(
                other < row || used == name,
                "{own}{name} uses {used}, which is not above it"
            );
        }
    }
    files
}

#[test]
fn each_file_uses_only_those_above_it() {
    let files = check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "");
    assert!(files > 50, "only {files} files");
}
