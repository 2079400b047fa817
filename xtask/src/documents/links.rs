// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links from document to document.

use std::path::Path;

use super::{Document, documents, is_code, root};

/// The targets of a document's links, with their lines.
fn links(document: &Document) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (at, line) in document.lines() {
        if is_code(line) {
            continue;
        }
        // What stands in backticks is no link.
        let prose: String = line.split('`').step_by(2).collect();
        for part in prose.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            links.push((at, target.to_owned()));
        }
    }
    links
}

/// How a heading is named in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    });
    kept.collect()
}

/// Whether a document has a heading of this name.
fn has_heading(text: &str, name: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .into_iter()
        .any(|line| anchor(line.trim_start_matches('#')) == name)
}

#[test]
fn each_relative_link_leads_somewhere() {
    let mut seen = 0;
    for document in documents() {
        for (line, link) in links(&document) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let folder = Path::new(&document.path).parent().unwrap();
            let target = if file.is_empty() {
                root().join(&document.path)
            } else {
                root().join(folder).join(file)
            };
            let at = format!("{}:{line}: {link}", document.path);
            assert!(target.exists(), "{at} leads nowhere");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(target).unwrap();
                assert!(
                    has_heading(&text, heading),
                    "{at}: there is no such heading"
                );
            }
        }
    }
    assert!(seen >= 20, "only {seen} links are found");
}

#[test]
fn links_and_headings_are_read() {
    let document = Document {
        path: "x.md".into(),
        text: "[a](b.md), [c](d/e.md#f) `[g](h)`\n\n    [i](j)\n".into(),
    };
    let links: Vec<_> = links(&document).into_iter().map(|link| link.1).collect();
    assert_eq!(links, ["b.md", "d/e.md#f"]);
    assert!(has_heading(
        "x\n## As a `service`, now\n",
        "as-a-service-now"
    ));
    assert!(!has_heading("x\n## As a service\n", "as"));
}
