// SPDX-License-Identifier: MIT OR Apache-2.0
//! Orchestrators side by side: mainline's and ours.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Result, bail};
use luo_lab_protocol::Event;

use super::numbers::{median, short};
use crate::run::qemu::Recording;

/// The two kernels that are compared: theirs, then ours.
pub const VARIANTS: [&str; 2] = ["bench-c", "bench-rust"];

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
