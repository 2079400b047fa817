// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rows that cost more than they were to, each with the functions that take the most of it.

use std::fmt::Write as _;

use super::{Profile, missed};
use crate::bench::numbers::thousands;
use crate::run::load::Load;

/// How many functions are named for a row.
const NAMED: usize = 3;

/// The table in Markdown, of the rows that are missed: profiles of the two kernels each.
#[must_use]
pub fn table(rows: &[(&Load, Profile, Profile)]) -> String {
    let mut text = "| What | With | At most | C | Rust | Most is in | What stands in the way |\n\
                    |---|---|--:|--:|--:|---|---|\n"
        .to_owned();
    for (load, theirs, ours) in rows {
        let metric = &ours.metric;
        if !missed::is_missed(metric, load.name, theirs.value, ours.value) {
            continue;
        }
        let reason = missed::reason(metric, load.name);
        let with_calls = reason.map_or(&[][..], |reason| reason.functions);
        let sentence = reason.map_or("", |reason| reason.sentence);
        let aim = missed::aim(metric, load.name, theirs.value);
        let [aim, c, rust] = [aim, theirs.value, ours.value].map(thousands);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {metric} | {} | {aim} | {c} | {rust} | {} | {sentence} |",
            load.words,
            parts(ours, with_calls)
        );
    }
    text
}

/// The shares of a row: of some functions with all that they call, and of those that take most
/// themselves. A row without a window of its own has none.
fn parts(ours: &Profile, with_calls: &[&str]) -> String {
    if ours.window.total == 0 {
        return "-".to_owned();
    }
    let percent = |count: u64| format!("{:.0} %", 100.0 * ours.share(count));
    let named = with_calls.iter().map(|name| {
        let share = percent(ours.cost(name).whole);
        format!("`{name}` and what it calls {share}")
    });
    let dearest = ours.dearest().into_iter().take(NAMED);
    let own = dearest.map(|(name, cost)| format!("`{name}` {}", percent(cost.own)));
    let (named, own): (Vec<_>, Vec<_>) = (named.collect(), own.collect());
    match named.is_empty() {
        true => own.join(", "),
        false => format!("{}; {}", named.join(", "), own.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fold::{Cost, Window};
    use crate::run::load::LOADS;

    fn profile(metric: &str, value: f64) -> Profile {
        let mut window = Window {
            total: 100,
            ..Window::default()
        };
        for (name, own, whole) in [("a", 60, 100), ("b", 40, 40)] {
            let calls = 1;
            window
                .functions
                .insert(name.into(), Cost { own, whole, calls });
        }
        Profile {
            metric: metric.into(),
            value,
            window,
        }
    }

    #[test]
    fn only_missed_rows_are_in_the_table() {
        let row =
            |metric, theirs, ours| (&LOADS[0], profile(metric, theirs), profile(metric, ours));
        let table = table(&[row("x", 100.0, 100.0), row("y", 1000.0, 2000.0)]);
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            ["| y | 2 sessions of 2 files | 1,000 | 1,000 | 2,000 | `a` 60 %, `b` 40 % |  |"]
        );
        let shares = parts(&profile("y", 1.0), &["b"]);
        assert_eq!(shares, "`b` and what it calls 40 %; `a` 60 %, `b` 40 %");
        let without = Profile {
            window: Window::default(),
            ..profile("y", 1.0)
        };
        assert_eq!(parts(&without, &["b"]), "-");
    }
}
