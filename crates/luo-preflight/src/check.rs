// SPDX-License-Identifier: MIT OR Apache-2.0
//! Making checks, and a report of them.

use luo_varlink::{Check, CheckStatus, Report};

/// A fact that was read, or the reason why it could not be read.
pub type Known<T> = Result<T, String>;

/// A report of these checks: ok if none has failed.
#[must_use]
pub fn report(checks: Vec<Check>) -> Report {
    let ok = checks
        .iter()
        .all(|check| check.status != CheckStatus::Failed);
    Report { ok, checks }
}

fn check(name: &str, status: CheckStatus, found: impl Into<String>, remedy: Option<&str>) -> Check {
    Check {
        name: name.to_string(),
        status,
        found: found.into(),
        remedy: remedy.map(str::to_string),
    }
}

pub(crate) fn ok(name: &str, found: impl Into<String>) -> Check {
    check(name, CheckStatus::Ok, found, None)
}

pub(crate) fn warning(name: &str, found: impl Into<String>, remedy: &str) -> Check {
    check(name, CheckStatus::Warning, found, Some(remedy))
}

pub(crate) fn failed(name: &str, found: impl Into<String>, remedy: &str) -> Check {
    check(name, CheckStatus::Failed, found, Some(remedy))
}

pub(crate) fn unknown(name: &str, why: impl Into<String>, remedy: &str) -> Check {
    check(name, CheckStatus::Unknown, why, Some(remedy))
}

/// Bytes in words, rounded up to a number of few digits.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..=9_999 => format!("{count} bytes"),
        10_000..=10_485_759 => format!("{} KiB", count.div_ceil(1 << 10)),
        _ => format!("{} MiB", count.div_ceil(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_ok_unless_a_check_failed() {
        assert!(report(vec![]).ok);
        assert!(
            report(vec![
                ok("a", ""),
                warning("b", "", ""),
                unknown("c", "", "")
            ])
            .ok
        );
        assert!(!report(vec![ok("a", ""), failed("b", "", "")]).ok);
    }

    #[test]
    fn bytes_are_readable() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(20_480), "20 KiB");
        assert_eq!(bytes(u64::MAX), "17592186044416 MiB");
    }
}
