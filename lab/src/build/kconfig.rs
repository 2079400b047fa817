// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration fragments, and whether Kconfig honoured them.
//!
//! Kconfig drops what it cannot satisfy without a word and make still
//! succeeds, so every line that was asked for is looked up in the result.

use std::collections::BTreeMap;

/// Symbols (without `CONFIG_`) and their values; `n` for what is not set.
pub type Symbols = BTreeMap<String, String>;

/// Reads a fragment or a `.config`; where a symbol occurs twice the last wins.
#[must_use]
pub fn parse(text: &str) -> Symbols {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("# CONFIG_") {
        let symbol = rest.strip_suffix(" is not set")?;
        return Some((symbol.to_owned(), "n".to_owned()));
    }
    let (symbol, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
    Some((symbol.to_owned(), value.to_owned()))
}

/// What was asked for and not granted, a line each.
#[must_use]
pub fn refused(asked: &Symbols, granted: &Symbols) -> Vec<String> {
    let value = |symbol: &String| granted.get(symbol).map_or("n", String::as_str);
    asked
        .iter()
        .filter(|(symbol, wanted)| value(symbol) != wanted.as_str())
        .map(|(symbol, wanted)| format!("CONFIG_{symbol}={wanted} (is {})", value(symbol)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_wins_and_comments_are_none() {
        let asked = parse(
            "# CONFIG_ is a prefix\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_A=n\n\nCONFIG_S=\"a=b\"\n",
        );
        assert_eq!(asked.len(), 3);
        assert_eq!(asked["A"], "n");
        assert_eq!(asked["B"], "n");
        assert_eq!(asked["S"], "\"a=b\"");
    }

    #[test]
    fn absent_is_off() {
        let asked = parse("CONFIG_OFF=n\nCONFIG_ON=y\nCONFIG_GONE=y\nCONFIG_FORCED=n\nCONFIG_N=16");
        let granted = parse("CONFIG_ON=y\nCONFIG_FORCED=y\nCONFIG_N=8");
        assert_eq!(
            refused(&asked, &granted),
            [
                "CONFIG_FORCED=n (is y)",
                "CONFIG_GONE=y (is n)",
                "CONFIG_N=16 (is 8)"
            ]
        );
    }
}
