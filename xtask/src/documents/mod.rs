// SPDX-License-Identifier: MIT OR Apache-2.0
//! The documents are held to what they speak of. These are tests only.
//!
//! - `links`: each relative link leads to a file, and to a heading where it names one.
//! - `commands`: each command line of ours parses with the program's own definition.
//! - `snippets`: each fenced snippet is what a test compiles or runs.
//! - `examples`: programs that readers copy fail by a sentence.
//! - `circles`: no two files of a crate need each other (`needs`).
//! - `layers`: the files of the engine lie in the rows that ARCHITECTURE.md shows.
//! - `rows`: the crates lie in rows.
//! - `rooms`: ARCHITECTURE.md's list of folders has all that it is a list of.
//! - `trouble`: what docs/trouble.md quotes is what programs say.
//! - `specification`: each proof that SPECIFICATION.md names is there.
//! - `unsafety`: unsafe code is only where CONTRIBUTING.md says.
//! - `heads`: the heads of files have a subject, as CONTRIBUTING.md asks.

mod circles;
mod commands;
mod examples;
mod heads;
mod layers;
mod links;
mod needs;
mod rooms;
mod rows;
mod snippets;
mod specification;
mod tests_of;
mod trouble;
mod unsafety;

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// A document of the project.
struct Document {
    /// From the project's root.
    path: String,
    text: String,
}

/// What stands between two fences.
struct Fenced {
    /// The line after the opening fence, counted from one.
    line: usize,
    language: String,
    body: String,
}

/// The project's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the project.
#[track_caller]
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files below a folder of the project with one of these extensions, from its root.
/// What was built and what begins with a dot is left out.
pub(crate) fn files(folder: &str, extensions: &[&str]) -> Vec<String> {
    let root = root();
    let ours = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name == "target" || name.starts_with('.'))
    };
    let all = WalkDir::new(root.join(folder)).sort_by_file_name();
    let all = all.into_iter().filter_entry(ours).map(Result::unwrap);
    let path = |entry: walkdir::DirEntry| {
        let path = entry.path().strip_prefix(&root).unwrap().to_owned();
        let extension = path.extension()?.to_str()?;
        let wanted = extensions.contains(&extension);
        (wanted && entry.file_type().is_file()).then(|| path.to_str().unwrap().to_owned())
    };
    all.filter_map(path).collect()
}

/// All of them.
fn documents() -> Vec<Document> {
    let all: Vec<_> = files("", &["md"])
        .into_iter()
        .map(|path| Document {
            text: read(&path),
            path,
        })
        .collect();
    assert!(all.len() >= 10, "only {} documents are found", all.len());
    all
}

impl Document {
    /// Its fenced snippets.
    fn fenced(&self) -> Vec<Fenced> {
        let mut fenced = Vec::new();
        let mut open: Option<Fenced> = None;
        for (at, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    open = Some(Fenced {
                        line: at + 2,
                        language: language.to_owned(),
                        body: String::new(),
                    });
                }
                (Some(_), Some(_)) => fenced.extend(open.take()),
                (None, Some(snippet)) => {
                    snippet.body.push_str(line);
                    snippet.body.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.path);
        fenced
    }

    /// Its lines outside of fences, counted from one.
    fn lines(&self) -> Vec<(usize, &str)> {
        let mut inside = false;
        let mut lines = Vec::new();
        for (at, line) in self.text.lines().enumerate() {
            if line.starts_with("```") {
                inside = !inside;
            } else if !inside {
                lines.push((at + 1, line));
            }
        }
        lines
    }

    /// What stands in backticks in its prose and tables, with the line it begins in.
    /// A span may go on in the next line of its paragraph.
    fn spans(&self) -> Vec<(usize, String)> {
        let mut spans = Vec::new();
        let mut open: Option<(usize, String)> = None;
        for (at, line) in self.lines() {
            if line.trim().is_empty() || is_code(line) {
                open = None;
                continue;
            }
            if let Some((_, text)) = &mut open {
                text.push(' ');
            }
            for (nth, part) in line.trim().split('`').enumerate() {
                if nth > 0 {
                    match open.take() {
                        Some(span) => spans.push(span),
                        None => open = Some((at, String::new())),
                    }
                }
                if let Some((_, text)) = &mut open {
                    text.push_str(part);
                }
            }
        }
        spans
    }
}

/// Whether a line outside of fences is code by its indentation.
fn is_code(line: &str) -> bool {
    line.starts_with("    ")
}

#[test]
fn documents_are_taken_apart() {
    let document = Document {
        path: "x.md".into(),
        text: "a `b c` and `d\ne`\n\n    code `x`\n\n```sh\n`f`\n```\n| `g` | `h` |\n".into(),
    };
    let fenced = document.fenced();
    assert_eq!((fenced.len(), fenced[0].line), (1, 7));
    assert_eq!(
        (fenced[0].language.as_str(), fenced[0].body.as_str()),
        ("sh", "`f`\n")
    );
    let spans = document.spans();
    let spans: Vec<_> = spans
        .iter()
        .map(|(at, text)| (*at, text.as_str()))
        .collect();
    assert_eq!(spans, [(1, "b c"), (1, "d e"), (9, "g"), (9, "h")]);
}
