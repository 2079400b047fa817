// SPDX-License-Identifier: MIT OR Apache-2.0
//! Times, as configurations have them.

use std::time::Duration;

use serde::Deserialize;

/// A time in seconds, with fractions.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Seconds(pub Duration);

impl TryFrom<f64> for Seconds {
    type Error = String;

    fn try_from(seconds: f64) -> Result<Self, String> {
        /// A week: longer than anybody waits.
        const MOST: f64 = 604_800.0;
        if !(0.001..=MOST).contains(&seconds) {
            return Err(format!(
                "a deadline is 0.001 to {MOST} seconds, not {seconds}"
            ));
        }
        Ok(Self(Duration::from_secs_f64(seconds)))
    }
}
