// SPDX-License-Identifier: MIT OR Apache-2.0
//! What SPECIFICATION.md names as a proof is there.

use std::fs;

use luo_conformance::TOPICS;

/// The cases that the specification names, as `topic::case` with stars in them. One
/// without a topic has that of the one before.
fn named(specification: &str) -> Vec<String> {
    let mut named = Vec::new();
    for proof in specification.lines().filter(|line| line.starts_with("| ")) {
        let proofs = proof.rsplit('|').nth(1).unwrap_or_default().split(';');
        let suites = proofs.filter_map(|proof| proof.trim().strip_prefix("conformance "));
        for suite in suites {
            let mut topic = "";
            for name in suite.split('`').skip(1).step_by(2) {
                let (of, case) = name.split_once("::").unwrap_or((topic, name));
                topic = of;
                named.push(format!("{of}::{case}"));
            }
        }
    }
    named
}

/// Whether a name is as a pattern says, in which a star is any text.
fn is(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            let starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            starts.into_iter().any(|at| is(&rest[at..], tail))
        }),
    }
}

#[test]
fn every_case_that_the_specification_names_is_there() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../SPECIFICATION.md");
    let named = named(&fs::read_to_string(path).unwrap());
    assert!(named.len() > 50, "only {} cases are named", named.len());
    let of = |topic: &'static luo_conformance::Topic| {
        let cases = topic.cases.iter();
        cases.map(|case| format!("{}::{}", topic.name, case.name))
    };
    let cases: Vec<String> = TOPICS.iter().flat_map(of).collect();
    for pattern in named {
        let found = cases.iter().any(|case| is(case, &pattern));
        assert!(found, "there is no case {pattern}");
    }
}

#[test]
fn stars_are_any_text() {
    assert!(is("a::b-c", "a::*") && is("a::b-c", "a::*-c") && is("a::b", "a::b*"));
    assert!(!is("a::b-c", "a::*-d") && !is("ab::c", "a::*"));
}
