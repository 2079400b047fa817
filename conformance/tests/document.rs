// SPDX-License-Identifier: MIT OR Apache-2.0
//! docs/conformance.md is in step with the suite.

use luo_conformance::{Implementation, Results, document};

/// The file is written from verdicts, and only if all of them are as declared: then
/// the declarations alone give the same text.
#[test]
fn the_document_is_of_this_suite() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conformance.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let column = |on| (on, Results::as_declared(on));
    let columns: Vec<_> = Implementation::ALL.into_iter().map(column).collect();
    let due = document::render(&columns);
    let mut lines = due.lines().zip(written.lines()).enumerate();
    if let Some((at, (due, written))) = lines.find(|(_, (due, written))| due != written) {
        panic!(
            "docs/conformance.md, line {}, has\n{written}\ninstead of\n{due}\n\
             `cargo xtask conformance` writes it anew",
            at + 1
        );
    }
    assert_eq!(
        due.len(),
        written.len(),
        "docs/conformance.md has another length: `cargo xtask conformance` writes it anew"
    );
}
