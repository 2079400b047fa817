// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rows of the engine, as a table of ARCHITECTURE.md has them: a file needs only those of its
//! own row and of rows below it, so no arrow runs up.

use super::needs::{Crate, Needs};
use super::read;

/// How the table begins.
const HEAD: &str = "| row of the engine | files |";

/// The rows of a table, from the top: what is named in the last cell of each.
fn rows(document: &str) -> Vec<Vec<String>> {
    let table = document.lines().skip_while(|line| *line != HEAD);
    let table = table.skip(2).take_while(|line| line.starts_with('|'));
    let names = |line: &str| {
        let cells = line.trim_matches('|').rsplit('|').next();
        let spans = cells.unwrap_or_default().split('`').skip(1).step_by(2);
        spans.map(str::to_owned).collect()
    };
    table.map(names).collect()
}

/// The row of a file: that which names it, or else the nearest folder that it is in. `update/` is
/// the folder, and the file of its name beside it.
fn row(rows: &[Vec<String>], file: &str) -> Option<usize> {
    let of = |name: &str| rows.iter().position(|row| row.iter().any(|of| of == name));
    let folders = file.match_indices('/').map(|(at, _)| file.split_at(at).0);
    let folders: Vec<_> = folders.chain([file]).collect();
    let mut folders = folders.into_iter().rev();
    of(file).or_else(|| folders.find_map(|folder| of(&format!("{folder}/"))))
}

/// What is wrong with the rows of some files.
fn wrong(rows: &[Vec<String>], needs: &Needs) -> Vec<String> {
    let mut wrong = Vec::new();
    for (module, needed) in needs.iter().filter(|(module, _)| !module.is_empty()) {
        let file = module.join("/");
        let Some(own) = row(rows, &file) else {
            wrong.push(format!("{file} is in no row"));
            continue;
        };
        for needed in needed {
            let needed = needed.join("/");
            if row(rows, &needed).is_some_and(|other| other < own) {
                wrong.push(format!("{file} needs {needed}, which is in a row above it"));
            }
        }
    }
    let is_there = |name: &String| {
        let folder = name.strip_suffix('/');
        let parts = folder.unwrap_or(name).split('/').map(str::to_owned);
        needs.contains_key(&parts.collect::<Vec<_>>())
    };
    let gone = rows.iter().flatten().filter(|name| !is_there(name));
    wrong.extend(gone.map(|name| format!("there is no {name}")));
    wrong
}

#[test]
fn no_arrow_runs_up_in_the_engine() {
    let rows = rows(&read("ARCHITECTURE.md"));
    assert!(rows.len() >= 5, "{rows:?}");
    let needs = Crate::read("crates/luo-core/src").needs_by_methods_too();
    assert!(needs.len() > 50);
    assert_eq!(wrong(&rows, &needs), [""; 0]);
}

#[test]
fn an_arrow_up_is_found() {
    let rows = rows(&format!(
        "text\n{HEAD}\n|---|---|\n| ends: what | `a/` |\n| types | `a`, `b/c`, `gone` |\n\n| no | `d` |\n"
    ));
    let needs = |needs: &[(&str, &str)]| {
        let module = |file: &str| file.split('/').map(str::to_owned).collect::<Vec<_>>();
        let mut all = Needs::new();
        for (file, needed) in needs {
            all.entry(module(needed)).or_default();
            all.entry(module(file)).or_default().insert(module(needed));
        }
        all
    };
    let down = [
        ("a/e", "a"),
        ("a/e/f", "b/c"),
        ("a/e", "a/e/f"),
        ("gone", "a"),
    ];
    assert_eq!(wrong(&rows, &needs(&down)), [""; 0]);
    let up = [("b/c", "a/e"), ("b", "a"), ("gone", "a")];
    let expected = [
        "b is in no row",
        "b/c needs a/e, which is in a row above it",
    ];
    assert_eq!(wrong(&rows, &needs(&up)), expected);
    assert_eq!(wrong(&rows, &needs(&[("b/c", "a")])), ["there is no gone"]);
}
