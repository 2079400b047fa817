// SPDX-License-Identifier: MIT OR Apache-2.0
//! Facts about guests' clocks that the next kernel is told.

use luo_preflight::guest_clock::Clock;
use luo_preflight::system::System;

use crate::decide::config::{Config, GuestClock};

/// Where to look for it, if it is to be told.
#[derive(Clone, Debug)]
pub struct HandedOn(Option<System>);

impl HandedOn {
    /// As the configuration says.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let is_told = config.guest_clock == GuestClock::HandOn;
        Self(is_told.then(|| System::at(&config.checks.root)))
    }

    /// The facts, as they are now. Where nothing is handed on there is nothing that clocks depend on.
    #[must_use]
    pub fn guests(&self) -> Clock {
        self.0.as_ref().map(System::clock).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_it_tells_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run/luo-qemu");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("tsc_khz"), "2400000\n").unwrap();
        let guests = |key: &str| {
            let text = format!("{key}\n[checks]\nroot = {:?}\n", root.path());
            HandedOn::of(&Config::parse(&text).unwrap()).guests()
        };
        assert_eq!(guests("").guests_khz, Some(2_400_000));
        assert_eq!(guests("guest_clock = \"leave\""), Clock::default());
    }
}
