// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measured figures side by side: mainline's orchestrator and ours.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use luo_vm_protocol::Event;

use crate::cache::write_whole;
use crate::qemu::Recording;

/// The two kernels that are compared: theirs, then ours.
pub const VARIANTS: [&str; 2] = ["bench-c", "bench-rust"];

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";
const DOCUMENT: &str = "docs/benchmarks.md";

/// A metric's name and unit.
type Metric = (String, String);
/// Values by size, a column for each of [`VARIANTS`].
type Sizes = BTreeMap<u64, [Vec<f64>; 2]>;

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub struct Samples(BTreeMap<Metric, Sizes>);

impl Samples {
    /// Adds what a run of a variant has measured.
    ///
    /// # Errors
    /// The variant is none that is compared.
    pub fn add(&mut self, variant: &str, recording: &Recording) -> Result<()> {
        let Some(column) = VARIANTS.iter().position(|name| *name == variant) else {
            bail!("`{variant}` is not among the compared variants");
        };
        for event in &recording.events {
            if let Event::Sample {
                metric,
                n,
                value,
                unit,
            } = &event.what
            {
                self.push(column, metric, *n, *value, unit);
            }
        }
        Ok(())
    }

    fn push(&mut self, column: usize, metric: &str, n: u64, value: f64, unit: &str) {
        let sizes = self
            .0
            .entry((metric.to_owned(), unit.to_owned()))
            .or_default();
        sizes.entry(n).or_default()[column].push(value);
    }

    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The comparison as a table in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| Metric | n | C (median) | Rust (median) | Rust / C | Rust against its smallest n |\n|---|--:|--:|--:|--:|--:|\n",
        );
        for ((metric, unit), sizes) in &self.0 {
            let smallest = sizes
                .values()
                .next()
                .and_then(|columns| median(&columns[1]));
            for (n, [theirs, ours]) in sizes {
                let (theirs, ours) = (median(theirs), median(ours));
                let cells = [
                    theirs.map(|value| format!("{} {unit}", short(value))),
                    ours.map(|value| format!("{} {unit}", short(value))),
                    ratio(ours, theirs),
                    ratio(ours, smallest),
                ];
                let cells = cells.map(|cell| cell.unwrap_or_else(|| "–".to_owned()));
                // Writing to a string cannot fail.
                let _ = writeln!(text, "| {metric} | {n} | {} |", cells.join(" | "));
            }
        }
        text
    }
}

fn ratio(value: Option<f64>, to: Option<f64>) -> Option<String> {
    let (value, to) = (value?, to?);
    (to > 0.0).then(|| format!("{:.2}", value / to))
}

/// Three digits are more than emulation can promise.
fn short(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// The middle value, of an even number the mean of the middle two.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted.get(middle - 1)? + upper) / 2.0)
}

/// Puts a section between the markers of the benchmarks' page.
///
/// # Errors
/// The page cannot be read or written, or has one marker only.
pub fn write(repo: &Path, section: &str) -> Result<()> {
    let path = repo.join(DOCUMENT);
    let page = if path.exists() {
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?
    } else {
        format!(
            "<!-- SPDX-License-Identifier: MIT OR Apache-2.0 -->\n# Benchmarks\n\n{BEGIN}\n{END}\n"
        )
    };
    write_whole(&path, replaced(&page, section)?.as_bytes())
}

fn replaced(page: &str, section: &str) -> Result<String> {
    let missing = || format!("{DOCUMENT} needs the lines `{BEGIN}` and `{END}` in this order");
    let (before, rest) = page.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(format!(
        "{before}{BEGIN}\n{}\n{END}{after}",
        section.trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn the_table_compares_and_shows_growth() {
        let mut samples = Samples::default();
        for (column, n, value) in [
            (0, 100, 200.0),
            (1, 100, 100.0),
            (0, 2000, 900.0),
            (1, 2000, 120.0),
        ] {
            samples.push(column, "create", n, value, "ns/op");
        }
        samples.push(1, "freeze", 100, 5.0, "us");
        let table = samples.table();
        assert!(
            table.contains("| create | 100 | 200 ns/op | 100 ns/op | 0.50 | 1.00 |"),
            "{table}"
        );
        assert!(
            table.contains("| create | 2000 | 900 ns/op | 120 ns/op | 0.13 | 1.20 |"),
            "{table}"
        );
        assert!(
            table.contains("| freeze | 100 | – | 5.0 us | – | 1.00 |"),
            "{table}"
        );
    }

    #[test]
    fn only_the_section_is_replaced() {
        let page = format!("# B\n{BEGIN}\nold\n{END}\nafter\n");
        let page = replaced(&page, "new\n").unwrap();
        assert_eq!(page, format!("# B\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(replaced(&page, "new").unwrap(), page);
        assert!(
            replaced("# B\n", "new")
                .unwrap_err()
                .to_string()
                .contains("bench:begin")
        );
    }
}
