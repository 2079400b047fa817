// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages of docs/ that commands write to: each part is between two markers of its own.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::cache::write_whole;

/// A part of a page that a command writes.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    document: &'static str,
    name: &'static str,
}

impl Section {
    /// Orchestrators, measured.
    pub const KERNEL: Self = Self::of("docs/benchmarks.md", "bench");
    /// What stands in the way of rows that cost more than they were to.
    pub const PROFILE: Self = Self::of("docs/benchmarks.md", "profile");
    /// The agent, measured.
    pub const AGENT: Self = Self::of("docs/benchmarks.md", "bench-agent");
    /// What a run of `cargo xtask test` takes.
    pub const GATE: Self = Self::of("docs/verification.md", "gate");
    /// The tests of cargo's that take longest.
    pub const SLOWEST: Self = Self::of("docs/verification.md", "slowest");
    /// What the rows of [`Self::RUNS`] come to.
    pub const RUNS_SUM: Self = Self::of("docs/verification.md", "runs-sum");
    /// The last run of whatever `cargo xtask test --all` runs.
    pub const RUNS: Self = Self::of("docs/verification.md", "runs");

    const fn of(document: &'static str, name: &'static str) -> Self {
        Self { document, name }
    }

    /// The page that it is on, from the top of the repository.
    #[must_use]
    pub const fn document(self) -> &'static str {
        self.document
    }

    /// The text between the section's markers.
    ///
    /// # Errors
    /// The page cannot be read, or lacks a marker.
    pub fn read(self, repo: &Path) -> Result<String> {
        let page = self.page(repo)?;
        let (_, text, _) = self.parts(&page)?;
        Ok(text.trim().to_owned())
    }

    /// Puts a text between the section's markers.
    ///
    /// # Errors
    /// The page cannot be read or written, or lacks a marker.
    pub fn write(self, repo: &Path, text: &str) -> Result<()> {
        let replaced = self.replaced(&self.page(repo)?, text)?;
        write_whole(&repo.join(self.document), replaced.as_bytes())
    }

    fn page(self, repo: &Path) -> Result<String> {
        let path = repo.join(self.document);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn markers(self) -> (String, String) {
        let name = self.name;
        (
            format!("<!-- {name}:begin -->"),
            format!("<!-- {name}:end -->"),
        )
    }

    /// What stands before, between and behind the markers, which belong to the outer two.
    fn parts(self, page: &str) -> Result<(&str, &str, &str)> {
        let (begin, end) = self.markers();
        let document = self.document;
        let missing = || format!("{document} needs the lines `{begin}` and `{end}` in this order");
        let from = page.find(&begin).with_context(missing)? + begin.len();
        let rest = page.get(from..).unwrap_or_default();
        let to = from + rest.find(&end).with_context(missing)?;
        let (before, rest) = page.split_at(from);
        let (text, after) = rest.split_at(to - from);
        Ok((before, text, after))
    }

    fn replaced(self, page: &str, text: &str) -> Result<String> {
        let (before, _, after) = self.parts(page)?;
        Ok(format!("{before}\n{}\n{after}", text.trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_is_replaced() {
        let part = |section: Section, text: &str| {
            let (begin, end) = section.markers();
            format!("{begin}\n{text}\n{end}\n")
        };
        let kernel = part(Section::KERNEL, "the kernel's");
        let page = |text| format!("# B\n{kernel}{}after\n", part(Section::AGENT, text));
        let replaced = Section::AGENT.replaced(&page("old"), "new\n").unwrap();
        assert_eq!(replaced, page("new"));
        assert_eq!(Section::AGENT.replaced(&replaced, "new").unwrap(), replaced);
        let refused = Section::AGENT.replaced(&kernel, "new").unwrap_err();
        assert!(refused.to_string().contains("bench-agent:begin"));
    }

    #[test]
    fn pages_have_their_sections() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let of_benchmarks = [Section::KERNEL, Section::PROFILE, Section::AGENT];
        let of_tests = [
            Section::GATE,
            Section::SLOWEST,
            Section::RUNS_SUM,
            Section::RUNS,
        ];
        for section in of_benchmarks.into_iter().chain(of_tests) {
            section.read(repo).unwrap();
        }
    }
}
