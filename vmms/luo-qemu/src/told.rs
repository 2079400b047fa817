// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is told what happens to a guest.
use luo_monitor::point::Point;

use crate::gap::Clock;

/// Whom what happens is told.
pub struct Told<'a> {
    /// A line for the log.
    pub say: &'a dyn Fn(&str),
    /// A step that is done.
    pub reach: &'a dyn Fn(Point),
    /// The time.
    pub clock: Clock,
}
