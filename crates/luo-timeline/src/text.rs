// SPDX-License-Identifier: MIT OR Apache-2.0
//! Times, sizes, and words of others, as people read them.

use std::fmt;

use std::time::{Duration, UNIX_EPOCH};

/// The last moment that has a date of four digits: microseconds since 1970.
const LAST: u64 = 253_402_300_799_000_000;

/// A year in microseconds: no update lasts so long.
const LONGEST: u64 = 31_536_000_000_000;

/// A text of somebody else, on one line and without characters that a terminal would obey:
/// a workload chooses its reasons, and an administrator reads them.
#[must_use]
pub fn plain(text: &str) -> String {
    let shown = |letter: char| match letter {
        '\n' | '\t' | '\r' => ' ',
        // Characters that turn the direction of writing, or break a line, can make a text
        // look like another.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            '\u{fffd}'
        }
        letter if letter.is_control() => '\u{fffd}',
        letter => letter,
    };
    text.chars().map(shown).collect()
}

/// As [`plain`], line by line.
#[must_use]
pub fn plain_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(plain).collect();
    lines.join("\n")
}

/// As [`plain`], as it stands in XML.
#[must_use]
pub fn xml(text: &str) -> String {
    let mut escaped = String::new();
    for letter in plain(text).chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            // XML has no way to write these.
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// A time that something took.
#[must_use]
pub fn took(us: u64) -> String {
    let seconds = us / 1_000_000;
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us / 100 % 10),
        1_000_000..60_000_000 => format!("{seconds}.{:02} s", us / 10_000 % 100),
        _ if seconds < 3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        LONGEST.. => "over a year".to_owned(),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// The same, if it is known.
#[must_use]
pub fn took_or_not_known(us: Option<u64>) -> String {
    us.map_or_else(|| "not known".to_owned(), took)
}

/// Seconds after a beginning. None if no update lasts so long, or if that would be before it: the
/// clock was set meanwhile.
#[must_use]
pub fn after(us: u64, began_us: u64) -> Option<String> {
    let us = us.checked_sub(began_us).filter(|us| *us < LONGEST)?;
    Some(format!("+{}.{:03}", us / 1_000_000, us / 1_000 % 1_000))
}

/// A date and a time of day, UTC.
#[must_use]
pub fn date(us: u64) -> String {
    if us > LAST {
        return "after the year 9999".to_owned();
    }
    let time = UNIX_EPOCH + Duration::from_micros(us.min(LAST));
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// A time of day, UTC.
#[must_use]
pub fn clock(us: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_micros(us.min(LAST));
    let text = humantime::format_rfc3339_millis(time).to_string();
    let day = text.split_once('T').map(|(_, time)| time);
    day.unwrap_or_default().trim_end_matches('Z').to_owned()
}

/// Bytes.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut name = "B";
    for unit in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        name = unit;
    }
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        rest => format!("{}.{rest} {name}", tenths / 10),
    }
}

/// Names in a row, or a dash.
#[must_use]
pub fn list(names: &[String]) -> String {
    match names {
        [] => "-".to_owned(),
        names => plain(&names.join(", ")),
    }
}

/// So many of something.
#[must_use]
pub fn count<N: fmt::Display + PartialEq + From<u8>>(number: N, one: &str) -> String {
    let end = if number == N::from(1) { "" } else { "s" };
    format!("{number} {one}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        assert_eq!(
            plain("a\x1b[2Jb\nc\u{9b}d\u{202e}"),
            "a\u{fffd}[2Jb c\u{fffd}d\u{fffd}"
        );
        assert_eq!(plain("a\u{61c}b\u{2028}c"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(plain_lines("a\n  b\x07"), "a\n  b\u{fffd}");
        assert_eq!(
            xml("<a b=\"&\">\u{ffff}"),
            "&lt;a b=&quot;&amp;&quot;&gt;\u{fffd}"
        );
    }

    #[test]
    fn times_have_units() {
        let cases = [
            (0, "0 us"),
            (999, "999 us"),
            (1_250, "1.2 ms"),
            (999_999, "999.9 ms"),
            (1_005_000, "1.00 s"),
            (61_000_000, "1 min 01 s"),
            (7_260_000_000, "2 h 01 min"),
        ];
        for (us, text) in cases {
            assert_eq!(took(us), text);
        }
        assert_eq!(took(LONGEST - 1), "8759 h 59 min");
        assert_eq!(took(u64::MAX), "over a year");
        assert_eq!(took_or_not_known(None), "not known");
        assert_eq!(after(1_500, 0).as_deref(), Some("+0.001"));
        assert_eq!(after(0, 1_500_000), None, "before it began");
        assert_eq!(after(LONGEST, 0), None);
        assert_eq!(after(u64::MAX, 0), None);
    }

    #[test]
    fn dates_are_utc_and_never_out_of_range() {
        assert_eq!(date(1_795_645_587_123_456), "2026-11-25 22:26:27 UTC");
        assert_eq!(clock(1_795_645_587_123_456), "22:26:27.123");
        assert_eq!(date(LAST), "9999-12-31 23:59:59 UTC");
        assert_eq!(date(u64::MAX), "after the year 9999");
        assert_eq!(clock(u64::MAX), "23:59:59.000");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(128 << 20), "128 MiB");
        assert_eq!(bytes(u64::MAX), "15.9 EiB");
    }
}
