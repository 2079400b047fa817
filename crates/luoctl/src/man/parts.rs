// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stands on a man page beside the command line: files, signals, examples, other pages.

use roff::{Roff, bold, italic, roman};

/// A word, and what it means.
pub(super) type Entry = (&'static str, &'static str);

/// The end of a page.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    /// Paths.
    pub(super) files: &'static [Entry],
    /// Signals that are obeyed.
    pub(super) signals: &'static [Entry],
    /// What somebody wants, and the commands or lines that do it.
    pub(super) examples: &'static [Entry],
    /// Other pages, as `luod(8)`.
    pub(super) see: &'static [&'static str],
}

/// An end of which nothing is known.
pub(super) const NONE: End = End {
    files: &[],
    signals: &[],
    examples: &[],
    see: &[],
};

/// Adds a section of entries, each with its words.
pub(super) fn entries(page: &mut Roff, title: &str, entries: &[Entry]) {
    if entries.is_empty() {
        return;
    }
    page.control("SH", [title]);
    for (word, words) in entries {
        page.control("TP", []);
        page.text([bold(*word)]);
        page.text([roman(*words)]);
    }
}

/// Adds examples: what is wanted, and how.
pub(super) fn examples(page: &mut Roff, all: &[Entry]) {
    if all.is_empty() {
        return;
    }
    page.control("SH", ["EXAMPLES"]);
    for (wanted, lines) in all {
        page.control("PP", []);
        page.text([roman(*wanted)]);
        page.control("PP", []);
        page.control("RS", ["4"]);
        page.control("nf", []);
        for line in lines.lines() {
            page.text([roman(line)]);
        }
        page.control("fi", []);
        page.control("RE", []);
    }
}

/// Adds the names of other pages.
pub(super) fn see_also(page: &mut Roff, pages: &[String]) {
    page.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (at, name) in pages.iter().enumerate() {
        if at > 0 {
            line.push(roman(", "));
        }
        line.push(italic(name.as_str()));
    }
    page.text(line);
}

/// A text without what each begins with, and stands on the page already.
pub(super) fn without_preamble(text: &str) -> &str {
    const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";
    text.strip_prefix(PREAMBLE).unwrap_or(text)
}
