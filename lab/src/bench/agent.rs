// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the agent takes for a crowd of workloads, and what is promised of it.

use std::fmt::Write as _;

use luo_lab_protocol::Event;

use super::numbers::{extremes, median, short};

/// The promise is for so many workloads, and so for fewer.
pub const CLIENTS: u64 = 1000;

/// What each run has to stay under: a metric, a figure in the metric's unit.
pub const PROMISES: [(&str, f64); 2] = [("overhead", 1000.0), ("rss-peak", 20.0)];

/// The figures of several runs.
#[derive(Clone, Debug, Default)]
pub struct Runs(Vec<Figure>);

#[derive(Clone, Debug)]
struct Figure {
    metric: String,
    unit: String,
    values: Vec<f64>,
}

impl Figure {
    fn promise(&self) -> Option<f64> {
        let mut promises = PROMISES.iter();
        let found = promises.find(|(metric, _)| *metric == self.metric);
        found.map(|(_, limit)| *limit)
    }
}

impl Runs {
    /// Adds a sample of a run; what is none says nothing here.
    pub fn add(&mut self, event: &Event) {
        let Event::Sample {
            metric,
            value,
            unit,
            ..
        } = event
        else {
            return;
        };
        let known = self.0.iter_mut().find(|known| known.metric == *metric);
        match known {
            Some(known) => known.values.push(*value),
            None => self.0.push(Figure {
                metric: metric.clone(),
                unit: unit.clone(),
                values: vec![*value],
            }),
        }
    }

    /// The figures as a table in Markdown, in the order in which they came.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text =
            String::from("| Metric | Median | Least to most | Promised |\n|---|--:|--:|--:|\n");
        for figure in &self.0 {
            let Figure {
                metric,
                unit,
                values,
            } = figure;
            let (Some(middle), Some((least, most))) = (median(values), extremes(values)) else {
                continue;
            };
            let promise = figure.promise();
            let promise = promise.map(|limit| format!("under {limit} {unit}"));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {metric} | {} {unit} | {} to {} | {} |",
                short(middle),
                short(least),
                short(most),
                promise.unwrap_or_default()
            );
        }
        text
    }

    /// The promises that a run has broken, or that nothing is known of, in words.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let judge = |(metric, limit): &(&str, f64)| {
            let figure = self.0.iter().find(|figure| figure.metric == *metric);
            let worst = figure.and_then(|figure| Some((extremes(&figure.values)?.1, &figure.unit)));
            match worst {
                Some((worst, _)) if worst < *limit => None,
                Some((worst, unit)) => Some(format!(
                    "{metric} was {} {unit}, and has to be under {limit} {unit} in each run",
                    short(worst)
                )),
                None => Some(format!("{metric} was not measured")),
            }
        };
        PROMISES.iter().filter_map(judge).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(samples: &[(&str, f64)]) -> Runs {
        let mut runs = Runs::default();
        for (metric, value) in samples {
            let unit = if metric.starts_with("rss") {
                "MiB"
            } else {
                "ms"
            };
            runs.add(&Event::Sample {
                metric: (*metric).to_owned(),
                n: 1000,
                value: *value,
                unit: unit.to_owned(),
            });
        }
        runs
    }

    #[test]
    fn the_table_has_the_spread_and_the_promise() {
        let runs = runs(&[
            ("prepare", 30.0),
            ("rss-peak", 14.0),
            ("prepare", 10.0),
            ("rss-peak", 13.5),
            ("prepare", 12.0),
        ]);
        let table = runs.table();
        let lines: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| prepare | 12.0 ms | 10.0 to 30.0 |  |",
                "| rss-peak | 13.8 MiB | 13.5 to 14.0 | under 20 MiB |",
            ]
        );
    }

    #[test]
    fn one_bad_run_breaks_a_promise() {
        let good = runs(&[("overhead", 999.9), ("rss-peak", 19.9)]);
        assert!(good.broken().is_empty());
        let bad = runs(&[
            ("overhead", 300.0),
            ("overhead", 1000.0),
            ("overhead", 300.0),
            ("rss-peak", 21.4),
        ]);
        let broken = bad.broken();
        assert_eq!(broken.len(), 2);
        assert!(broken[0].contains("overhead was 1000 ms"), "{broken:?}");
        assert!(broken[1].contains("rss-peak was 21.4 MiB"), "{broken:?}");
    }

    #[test]
    fn what_was_not_measured_is_not_kept() {
        let broken = runs(&[("overhead", 300.0)]).broken();
        assert_eq!(broken, ["rss-peak was not measured"]);
    }
}
