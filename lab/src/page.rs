// SPDX-License-Identifier: MIT OR Apache-2.0
//! docs/benchmarks.md: each table is between two markers of its own.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::cache::write_whole;

const DOCUMENT: &str = "docs/benchmarks.md";

/// A table of the page.
#[derive(Clone, Copy, Debug)]
pub struct Section(&'static str);

impl Section {
    /// Orchestrators.
    pub const KERNEL: Self = Self("bench");
    /// The agent.
    pub const AGENT: Self = Self("bench-agent");

    fn markers(self) -> (String, String) {
        let name = self.0;
        (
            format!("<!-- {name}:begin -->"),
            format!("<!-- {name}:end -->"),
        )
    }

    /// Puts a text between the section's markers.
    ///
    /// # Errors
    /// The page cannot be read or written, or lacks a marker.
    pub fn write(self, repo: &Path, text: &str) -> Result<()> {
        let path = repo.join(DOCUMENT);
        let page = fs::read_to_string(&path);
        let page = page.with_context(|| format!("cannot read {}", path.display()))?;
        write_whole(&path, self.replaced(&page, text)?.as_bytes())
    }

    fn replaced(self, page: &str, text: &str) -> Result<String> {
        let (begin, end) = self.markers();
        let missing = || format!("{DOCUMENT} needs the lines `{begin}` and `{end}` in this order");
        let (before, rest) = page.split_once(&begin).with_context(missing)?;
        let (_, after) = rest.split_once(&end).with_context(missing)?;
        Ok(format!(
            "{before}{begin}\n{}\n{end}{after}",
            text.trim_end()
        ))
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
    fn the_page_has_all_sections() {
        let page = include_str!("../../docs/benchmarks.md");
        for section in [Section::KERNEL, Section::AGENT] {
            section.replaced(page, "new").unwrap();
        }
    }
}
