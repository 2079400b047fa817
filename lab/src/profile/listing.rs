// SPDX-License-Identifier: MIT OR Apache-2.0
//! One row in full: what each function takes of it in either kernel, and who calls it.

use std::fmt::Write as _;

use super::Profile;

/// How many functions are shown.
const SHOWN: usize = 40;
/// How many callers of a function are shown.
const CALLERS: usize = 3;

/// A row's profiles, of two kernels, as a text for a terminal. Figures are instructions of one
/// call or page; how often a function is called is said of the second kernel.
#[must_use]
pub fn text(load: &str, variants: [&str; 2], profiles: [&Profile; 2]) -> String {
    let [theirs, ours] = profiles;
    let mut text = format!("\n{}, {load}\n", theirs.metric);
    let columns = variants.map(|variant| format!("{variant:>12} {:>12}", "with calls"));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{} {:>9}  function", columns.join(" "), "calls");
    let mut line = |figures: [f64; 4], calls: f64, name: &str| {
        for figure in figures {
            let _ = write!(text, "{figure:>12.1} ");
        }
        let _ = writeln!(text, "{calls:>9.2}  {name}");
    };
    line([theirs.value, 0.0, ours.value, 0.0], 0.0, "all");
    let mut names: Vec<_> = profiles
        .iter()
        .flat_map(|profile| profile.dearest())
        .collect();
    names.sort_by(|a, b| {
        let dearest = |name: &str| {
            let own = profiles.map(|profile| profile.of_one(profile.cost(name).own));
            own[0].max(own[1])
        };
        dearest(b.0).total_cmp(&dearest(a.0)).then(a.0.cmp(b.0))
    });
    names.dedup_by_key(|&mut (name, _)| name);
    for (name, _) in names.into_iter().take(SHOWN) {
        let [c, rust] = profiles.map(|profile| {
            let cost = profile.cost(name);
            [cost.own, cost.whole].map(|count| profile.of_one(count))
        });
        let calls = ours.of_one(ours.cost(name).calls);
        line([c[0], c[1], rust[0], rust[1]], calls, name);
        for (caller, own) in callers(profiles, name) {
            line([own[0], 0.0, own[1], 0.0], 0.0, &format!("    < {caller}"));
        }
    }
    text
}

/// Who calls a function, and how much of its own it takes for that caller in either kernel.
fn callers<'a>(profiles: [&'a Profile; 2], name: &str) -> Vec<(&'a str, [f64; 2])> {
    let mut callers: Vec<(&str, [f64; 2])> = Vec::new();
    for (column, profile) in profiles.into_iter().enumerate() {
        let edges = profile.window.by_caller.iter();
        for ((_, caller), &own) in edges.filter(|((function, _), _)| function == name) {
            let own = profile.of_one(own);
            let known = callers.iter().position(|(known, _)| known == caller);
            let index = known.unwrap_or_else(|| {
                callers.push((caller, [0.0; 2]));
                callers.len() - 1
            });
            if let Some((_, sums)) = callers.get_mut(index) {
                sums[column] += own;
            }
        }
    }
    callers.sort_by(|a, b| b.1[0].max(b.1[1]).total_cmp(&a.1[0].max(a.1[1])));
    callers.truncate(CALLERS);
    callers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fold::{Cost, Window};

    #[test]
    fn kernels_stand_side_by_side() {
        let profile = |own: u64, value| {
            let mut window = Window {
                total: 10 * own,
                ..Window::default()
            };
            let cost = Cost {
                own,
                whole: 2 * own,
                calls: 10,
            };
            window.functions.insert("kfree".into(), cost);
            window
                .by_caller
                .insert(("kfree".into(), "close".into()), own);
            Profile {
                metric: "FINISH".into(),
                value,
                window,
            }
        };
        let text = text(
            "2 sessions",
            ["c", "rust"],
            [&profile(100, 50.0), &profile(400, 40.0)],
        );
        let lines: Vec<_> = text.lines().map(|line| line.trim().to_owned()).collect();
        assert_eq!(lines[1], "FINISH, 2 sessions");
        assert!(lines[3].ends_with("all"), "{text}");
        let words: Vec<_> = lines[4].split_whitespace().collect();
        assert_eq!(words, ["5.0", "10.0", "4.0", "8.0", "0.10", "kfree"]);
        assert!(lines[5].ends_with("< close"), "{text}");
    }
}
