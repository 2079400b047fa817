// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest with Linux says on its console, a line for each tick:
//!
//! ```text
//! tick NUMBER BOOT UPTIME SENT RECEIVED OPENED AGAIN HASH PAUSE PAUSE PAUSE
//! ```
//!
//! BOOT is the kernel's boot id, UPTIME the time since it was started. SENT and RECEIVED are the numbers of
//! the last records, OPENED how many TCP connections this kernel has opened and accepted, AGAIN how
//! many segments it has sent again. HASH is what the tick found in memory. The PAUSEs are the longest
//! steps of the clocks since the last line. Times are in microseconds.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::memory::{Hash, due};

/// What a guest begins the line with in which it says why it ends.
pub const FAILED: &str = "failed: ";

/// What the kernel says last.
const PANIC: &str = "Kernel panic";

/// What a guest says at a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Its number, from one on.
    pub number: u64,
    /// The kernel's boot id.
    pub boot: String,
    /// The time since the kernel was started.
    pub uptime: Duration,
    /// The number of the last record that was sent.
    pub sent: u64,
    /// The number of the last record that has arrived.
    pub received: u64,
    /// How many connections there were, ever.
    pub opened: u64,
    /// How many segments were sent again.
    pub again: u64,
    /// The hash of a piece of memory.
    pub hash: Hash,
    /// The longest step of each clock.
    pub pauses: [Duration; 3],
}

impl fmt::Display for Tick {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third] = self.pauses.map(|pause| pause.as_micros());
        write!(
            to,
            "tick {} {} {} {} {} {} {} {:016x} {first} {second} {third}",
            self.number,
            self.boot,
            self.uptime.as_micros(),
            self.sent,
            self.received,
            self.opened,
            self.again,
            self.hash,
        )
    }
}

/// Reads what a guest has said: each tick follows from the one before, in the same boot of the same
/// kernel, over the same connection; nothing goes back. Lines of the kernel's are passed over, and the
/// last line may be under way.
///
/// # Errors
/// A tick does not follow, or the guest says that something failed.
pub fn read(text: &str) -> Result<Vec<Tick>> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut ticks: Vec<Tick> = Vec::new();
    for line in whole.lines().map(str::trim_end) {
        if has_failed(line) {
            bail!("the guest said: {line}");
        }
        let Some(rest) = line.strip_prefix("tick ") else {
            continue;
        };
        let tick = parse(rest).with_context(|| format!("the guest said: {line}"))?;
        let last = ticks.last();
        let number = last.map_or(0, |last| last.number) + 1;
        ensure!(tick.number == number, "tick {number} was due: {line}");
        if let Some(last) = last {
            ensure!(tick.boot == last.boot, "it is another boot: {line}");
            ensure!(tick.opened == last.opened, "it was connected anew: {line}");
            let goes_on = tick.uptime >= last.uptime
                && tick.sent > last.sent
                && tick.received >= last.received;
            ensure!(goes_on, "it went back from {last}: {line}");
        }
        ticks.push(tick);
    }
    Ok(ticks)
}

/// The last whole tick in the end of what a guest has said, which may begin in the midst of a line.
///
/// # Errors
/// The guest says that something failed.
pub fn last(tail: &str) -> Result<Option<Tick>> {
    let whole = tail.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let failed = whole.lines().find(|line| has_failed(line));
    if let Some(line) = failed {
        bail!("the guest said: {line}");
    }
    let rest = whole
        .lines()
        .rev()
        .find_map(|line| line.trim_end().strip_prefix("tick "));
    Ok(rest.and_then(|rest| parse(rest).ok()))
}

fn has_failed(line: &str) -> bool {
    line.starts_with(FAILED) || line.contains(PANIC)
}

/// What ticks have found in memory is what had to be there.
///
/// # Errors
/// One has found something else.
pub fn prove(ticks: &[Tick]) -> Result<()> {
    let wrong = ticks.iter().find(|tick| tick.hash != due(tick.number));
    match wrong {
        Some(tick) => bail!("its memory is another one: {tick}"),
        None => Ok(()),
    }
}

fn parse(line: &str) -> Result<Tick> {
    let parts: Vec<_> = line.split(' ').collect();
    let [
        number,
        boot,
        uptime,
        sent,
        received,
        opened,
        again,
        hash,
        pauses @ ..,
    ] = &parts[..]
    else {
        bail!("it is cut");
    };
    let time = |text: &str| -> Result<Duration> { Ok(Duration::from_micros(text.parse()?)) };
    let [first, second, third] = pauses else {
        bail!("these are not three clocks");
    };
    Ok(Tick {
        number: number.parse()?,
        boot: (*boot).to_owned(),
        uptime: time(uptime)?,
        sent: sent.parse()?,
        received: received.parse()?,
        opened: opened.parse()?,
        again: again.parse()?,
        hash: Hash::from_str_radix(hash, 16)?,
        pauses: [time(first)?, time(second)?, time(third)?],
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::linux) fn tick(number: u64) -> Tick {
        Tick {
            number,
            boot: "b0".to_owned(),
            uptime: Duration::from_millis(100 * number),
            sent: 4 * number,
            received: 3 * number,
            opened: 1,
            again: 0,
            hash: due(number),
            pauses: [1, 2, 3].map(Duration::from_micros),
        }
    }

    #[test]
    fn what_a_guest_says_is_read() {
        let text = format!("Linux\n{}\r\n[ 1.0] a line\n{}\ntick 3", tick(1), tick(2));
        let ticks = read(&text).unwrap();
        assert_eq!(ticks, [tick(1), tick(2)]);
        prove(&ticks).unwrap();
        assert_eq!(last(&text).unwrap(), Some(tick(2)));
        assert_eq!(last("0 1\n").unwrap(), None);
    }

    #[test]
    fn what_does_not_follow_is_found() {
        type Change = (&'static str, fn(&mut Tick));
        let second = tick(2);
        let changed: [Change; 7] = [
            ("tick 2 was due", |tick| tick.number = 3),
            ("tick 2 was due", |tick| tick.number = 1),
            ("another boot", |tick| tick.boot = "b1".to_owned()),
            ("connected anew", |tick| tick.opened = 2),
            ("went back", |tick| tick.uptime = Duration::ZERO),
            ("went back", |tick| tick.sent = 4),
            ("went back", |tick| tick.received = 2),
        ];
        for (what, change) in changed {
            let mut second = second.clone();
            change(&mut second);
            let why = read(&format!("{}\n{second}\n", tick(1))).unwrap_err();
            assert!(why.to_string().contains(what), "{what}: {why}");
        }
        for line in [
            "failed: the connection has broken",
            "[   12.3] Kernel panic - not syncing",
            "tick 2 b0 1",
        ] {
            assert!(read(&format!("{}\n{line}\n", tick(1))).is_err(), "{line}");
        }
        assert!(last("failed: why\n").is_err());
        let wrong = Tick {
            hash: due(3),
            ..second
        };
        assert!(prove(&[tick(1), wrong]).is_err());
    }
}
