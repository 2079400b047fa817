// SPDX-License-Identifier: MIT OR Apache-2.0
//! A number of hosts, or a share of them.

/// A number of hosts, or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(u64),
    /// Of each hundred.
    Percent(u64),
}

impl Share {
    /// How many of `all` that is, rounded down: a budget is never larger than was meant.
    #[must_use]
    pub const fn at_most(self, all: u64) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => all.saturating_mul(percent) / 100,
        }
    }

    /// How many of `all` that is, rounded up, and not more than there are.
    #[must_use]
    pub const fn at_least(self, all: u64) -> u64 {
        let wanted = match self {
            Self::Count(count) => count,
            Self::Percent(percent) => all.saturating_mul(percent).div_ceil(100),
        };
        match self {
            // More than are known means that some have not come yet: they are waited for.
            Self::Count(_) => wanted,
            Self::Percent(_) if wanted > all => all,
            Self::Percent(_) => wanted,
        }
    }

    /// Reads `5` or `5%`.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("a number of hosts like 5, or a share like \"5%\", not {text:?}");
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.trim().parse().map_err(|_| wrong())?;
                match percent {
                    0..=100 => Ok(Self::Percent(percent)),
                    _ => Err("a share of 0% to 100%".to_owned()),
                }
            }
            None => text.trim().parse().map(Self::Count).map_err(|_| wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_rounded_down_and_a_wish_up() {
        let share = Share::parse("5%").unwrap();
        assert_eq!((share.at_most(19), share.at_most(20)), (0, 1));
        assert_eq!((share.at_least(1), share.at_least(21)), (1, 2));
        let all = Share::parse("100%").unwrap();
        assert_eq!((all.at_least(0), all.at_least(7)), (0, 7));
        let three = Share::parse("3").unwrap();
        assert_eq!((three.at_most(1), three.at_least(1)), (3, 3));
    }

    #[test]
    fn what_is_no_share_is_told() {
        for bad in ["", "%", "-1", "101%", "1.5", "many"] {
            assert!(Share::parse(bad).is_err(), "{bad}");
        }
    }
}
