// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tests of cargo's that take longest, as nextest tells them.

use std::collections::BTreeMap;

/// How many are told of.
const MOST: usize = 10;

/// A test that has ended: `PASS [   0.003s] (  1/7) package::program module::test`, with another
/// word for another end. Gives the milliseconds and the name.
fn ended(line: &str) -> Option<(u64, &str)> {
    let (word, rest) = line.trim().split_once(" [")?;
    if word.is_empty()
        || !word
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
    {
        return None;
    }
    let (time, rest) = rest.split_once("s] ")?;
    let (seconds, millis) = time.trim().split_once('.')?;
    let (seconds, millis): (u64, u64) = (seconds.parse().ok()?, millis.parse().ok()?);
    let name = rest.strip_prefix('(')?.split_once(") ")?.1;
    Some((seconds * 1000 + millis, name))
}

/// The table of a log of nextest's; nothing if it tells of no test.
pub(super) fn table(log: &str) -> Option<String> {
    // One that has failed is told of twice.
    let all: BTreeMap<&str, u64> = log
        .lines()
        .filter_map(ended)
        .map(|(millis, name)| (name, millis))
        .collect();
    let mut all: Vec<_> = all.into_iter().collect();
    if all.is_empty() {
        return None;
    }
    all.sort_by_key(|&(_, millis)| std::cmp::Reverse(millis));
    let rows = all.iter().take(MOST).map(|(name, millis)| {
        let (program, test) = name.split_once(' ').unwrap_or((name, ""));
        format!("\n| `{program}` | `{test}` | {} s |", (millis + 500) / 1000)
    });
    Some(format!(
        "| Program | Test | Took |\n|---|---|--:|{}",
        rows.collect::<String>()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_come_first_and_once() {
        let mut log = "    Starting 7 tests across 2 binaries (2 tests skipped)\n".to_owned();
        for at in 0..20 {
            log += &format!("        PASS [   {at}.003s] (  1/7) a tests::b{at}\n");
        }
        log += "        SLOW [> 60.000s] (─────────) a tests::slow\n\
                \x20     TIMEOUT [  61.600s] (  4/7) a::c d::e\n\
                ────────────\n\
                \x20    Summary [ 849.543s] 7 tests run: 4 passed (1 slow), 1 timed out, 2 skipped\n\
                \x20     TIMEOUT [  61.600s] (  4/7) a::c d::e\n";
        let table = table(&log).unwrap();
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(rows.len(), MOST);
        assert_eq!(rows[0], "| `a::c` | `d::e` | 62 s |");
        assert_eq!(rows[1], "| `a` | `tests::b19` | 19 s |");
        assert!(super::table("running 1 test\ntest a ... ok\n").is_none());
    }
}
