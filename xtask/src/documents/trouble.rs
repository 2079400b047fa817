// SPDX-License-Identifier: MIT OR Apache-2.0
//! docs/trouble.md begins with what is on the screen, so that has to be what the programs
//! say; and each check is in it.

use luod::decide::config::CHECKS;

use super::{files, read};

const PAGE: &str = "docs/trouble.md";

/// The first cells of the tables.
fn cells(page: &str) -> Vec<&str> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.map(str::trim).collect()
}

/// What is quoted in a cell.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// All sources of programs, with strings over several lines put together.
fn sources() -> String {
    let paths = files("crates", &["rs"]);
    let texts = paths.iter().filter(|path| path.contains("/src/"));
    let mut all = String::new();
    for text in texts.map(|path| read(path)) {
        let mut parts = text.split("\\\n");
        all.push_str(parts.next().unwrap_or_default());
        parts.for_each(|part| all.push_str(part.trim_start()));
    }
    all
}

#[test]
fn what_it_quotes_is_what_programs_say() {
    let (page, sources) = (read(PAGE), sources());
    let cells = cells(&page);
    let all: Vec<_> = cells.iter().flat_map(|cell| quoted(cell)).collect();
    assert!(all.len() > 60, "only {} texts are quoted", all.len());
    let nobody: Vec<_> = all
        .iter()
        .filter(|text| !sources.contains(**text))
        .collect();
    assert!(nobody.is_empty(), "no program says {nobody:?}");
}

/// Who finds the first of two rows does not look for the second, which may say something else.
#[test]
fn nothing_stands_in_it_twice() {
    let page = read(PAGE);
    let mut cells = cells(&page);
    cells.retain(|cell| cell.contains('`'));
    cells.sort_unstable();
    let twice: Vec<_> = cells
        .windows(2)
        .filter(|pair| pair.first() == pair.last())
        .filter_map(|pair| pair.first())
        .collect();
    assert!(twice.is_empty(), "{PAGE} has two rows of {twice:?}");
}

#[test]
fn each_check_is_in_it() {
    let page = read(PAGE);
    let cells = cells(&page);
    let told: Vec<_> = cells.iter().flat_map(|cell| quoted(cell)).collect();
    let missing: Vec<_> = CHECKS
        .iter()
        .filter(|check| !told.contains(check))
        .collect();
    assert!(missing.is_empty(), "{PAGE} does not tell of {missing:?}");
}

#[test]
fn cells_and_quotes_are_found() {
    let page = "text\n| a `b c` d, `e` | x |\n|---|---|\n";
    let cells = cells(page);
    assert_eq!(cells, ["a `b c` d, `e`"]);
    assert_eq!(quoted(cells[0]).collect::<Vec<_>>(), ["b c", "e"]);
}
