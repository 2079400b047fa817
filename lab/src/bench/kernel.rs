// SPDX-License-Identifier: MIT OR Apache-2.0
//! Orchestrators side by side: mainline's and ours.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use luo_lab_protocol::Event;

use super::numbers::{median, thousands};
use crate::run::load::{LOADS, Load};
use crate::run::qemu::Recording;

/// The two kernels that are compared: theirs, then ours.
pub const VARIANTS: [&str; 2] = ["bench-c", "bench-rust"];

/// A row of the table.
#[derive(Clone, Debug)]
struct Row {
    metric: String,
    load: &'static Load,
    /// Values, for each of [`VARIANTS`].
    values: [Vec<f64>; 2],
}

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// In the order in which they came.
    rows: Vec<Row>,
}

impl Samples {
    /// Adds what a run of a variant under a load has measured.
    ///
    /// # Errors
    /// The variant is none that is compared.
    pub fn add(&mut self, variant: &str, load: &'static Load, recording: &Recording) -> Result<()> {
        let Some(column) = VARIANTS.iter().position(|name| *name == variant) else {
            bail!("`{variant}` is not among the compared variants");
        };
        for event in &recording.events {
            if let Event::Sample { metric, value, .. } = &event.what {
                self.push(column, metric, load, *value);
            }
        }
        Ok(())
    }

    fn push(&mut self, column: usize, metric: &str, load: &'static Load, value: f64) {
        let mut rows = self.rows.iter_mut();
        match rows.find(|row| row.metric == metric && row.load == load) {
            Some(row) => row.values[column].push(value),
            None => {
                let mut values = [Vec::new(), Vec::new()];
                values[column].push(value);
                self.rows.push(Row {
                    metric: metric.to_owned(),
                    load,
                    values,
                });
            }
        }
    }

    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The comparison as a table in Markdown, with the medians themselves.
    #[must_use]
    pub fn table(&self) -> String {
        let head = "| What | With | C | Rust | Rust / C |\n|---|---|--:|--:|--:|\n";
        self.lines(head, |medians| {
            medians
                .map(|value| value.map_or("–".to_owned(), thousands))
                .join(" | ")
                + " | "
        })
    }

    /// The comparison as a table in Markdown, of ratios alone.
    #[must_use]
    pub fn ratios(&self) -> String {
        let head = "| What | With | Rust / C |\n|---|---|--:|\n";
        self.lines(head, |_| String::new())
    }

    fn lines(&self, head: &str, cells: impl Fn([Option<f64>; 2]) -> String) -> String {
        let mut text = head.to_owned();
        for row in self.sorted() {
            let medians = [median(&row.values[0]), median(&row.values[1])];
            let ratio = match medians {
                [Some(theirs), Some(ours)] if theirs > 0.0 => format!("{:.2}", ours / theirs),
                _ => "–".to_owned(),
            };
            let (metric, load, cells) = (&row.metric, row.load.words, cells(medians));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {metric} | {load} | {cells}{ratio} |");
        }
        text
    }

    /// Rows of one metric together, the smallest load first.
    fn sorted(&self) -> Vec<&Row> {
        let first = |metric: &str| self.rows.iter().position(|row| row.metric == metric);
        let place = |load: &Load| LOADS.iter().position(|known| known == load);
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|row| (first(&row.metric), place(row.load)));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_compares() {
        let [few, many] = [&LOADS[0], &LOADS[2]];
        let mut samples = Samples::default();
        for (column, metric, load, value) in [
            (0, "create", many, 66_200.4),
            (0, "open", few, 5_700.0),
            (1, "create", many, 4_300.0),
            (1, "create", few, 4_301.0),
            (1, "create", few, 4_303.0),
        ] {
            samples.push(column, metric, load, value);
        }
        let table = samples.table();
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| create | 2 sessions of 2 files | – | 4,302 | – |",
                "| create | 2,000 sessions of a file | 66,200 | 4,300 | 0.06 |",
                "| open | 2 sessions of 2 files | 5,700 | – | – |",
            ]
        );
        let ratios = samples.ratios();
        assert!(
            ratios.contains("| create | 2,000 sessions of a file | 0.06 |"),
            "{ratios}"
        );
    }
}
