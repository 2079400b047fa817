// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a kernel's console must and must not say.

use anyhow::{Context as _, Result};
use regex_lite::Regex;

use crate::run::scenario::Rules;

/// Signs of a kernel in trouble; any of them fails a scenario.
const TROUBLE: &[&str] = &[
    "WARNING:",
    "BUG:",
    "Oops",
    "panic",
    "general protection fault",
    "RIP:",
    "Call Trace",
    "unchecked MSR",
    "Kernel stack is corrupted",
    "hung_task",
    // Work on a queue that is going away.
    "enqueued on deprecated",
];

/// The first line that tells of trouble and is not allowed.
///
/// # Errors
/// A rule is no regular expression.
pub fn trouble<'a>(
    lines: impl IntoIterator<Item = &'a str>,
    rules: &Rules,
) -> Result<Option<&'a str>> {
    let allowed = compile(rules.allowed)?;
    let is_trouble = |line: &str| {
        // The echo of the command line has `panic=-1` in it.
        !line.contains("ommand line")
            && TROUBLE.iter().any(|sign| line.contains(sign))
            && !allowed.iter().any(|pattern| pattern.is_match(line))
    };
    Ok(lines.into_iter().find(|line| is_trouble(line)))
}

/// What the console said or left unsaid against the rules.
///
/// # Errors
/// A rule is no regular expression.
pub fn violations(lines: &[&str], rules: &Rules) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (pattern, text) in compile(rules.must)?.iter().zip(rules.must) {
        if !lines.iter().any(|line| pattern.is_match(line)) {
            found.push(format!("no line matches `{text}`"));
        }
    }
    for pattern in compile(rules.must_not)? {
        if let Some(line) = lines.iter().find(|line| pattern.is_match(line)) {
            found.push(format!("unwanted line: {line}"));
        }
    }
    Ok(found)
}

fn compile(patterns: &[&str]) -> Result<Vec<Regex>> {
    let one = |pattern: &&str| {
        Regex::new(pattern).with_context(|| format!("`{pattern}` in the scenario table"))
    };
    patterns.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::scenarios;

    #[test]
    fn trouble_is_seen_and_the_command_line_is_not() {
        let fine = [
            "[    0.0] Kernel command line: console=ttyS0 panic=-1",
            "[    1.0] luo: frozen",
        ];
        assert_eq!(trouble(fine, &Rules::default()).unwrap(), None);
        for line in [
            "[ 2.0] WARNING: mm/x.c:3 at y",
            "thread 'main' panicked at",
            "Kernel panic - not syncing: x",
        ] {
            assert_eq!(
                trouble([fine[0], line], &Rules::default()).unwrap(),
                Some(line)
            );
        }
        let rules = Rules {
            allowed: &["WARNING: mm/x"],
            ..Rules::default()
        };
        assert_eq!(
            trouble(["[ 2.0] WARNING: mm/x.c:3 at y"], &rules).unwrap(),
            None
        );
    }

    #[test]
    fn every_rule_is_a_regular_expression() {
        for scenario in scenarios::all(scenarios::KEXECS) {
            trouble([], &scenario.console).unwrap();
            violations(&[], &scenario.console).unwrap();
        }
    }

    #[test]
    fn expectations_cut_both_ways() {
        let rules = Rules {
            must: &["luo test: .*found", "never"],
            must_not: &["ERROR|Failed"],
            allowed: &[],
        };
        let found = violations(&["luo test: x: found it", "luo test: ERROR"], &rules).unwrap();
        assert_eq!(
            found,
            ["no line matches `never`", "unwanted line: luo test: ERROR"]
        );
    }
}
