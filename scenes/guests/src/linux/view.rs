// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guests saw of an update, for a person: next to nothing.

use std::fmt::Write as _;
use std::time::Duration;

use super::said::Tick;
use super::{Side, clocks, memory};

/// What one of them saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Who.
    pub side: Side,
    /// Its last tick before the jump.
    pub before: Tick,
    /// The last one that was looked at.
    pub after: Tick,
    /// The longest step that each of its clocks has made over the jump.
    pub pauses: [Duration; 3],
}

impl View {
    /// What was seen in ticks, so many of which came before the jump. There have to be some on both sides of it.
    #[must_use]
    pub fn of(side: Side, ticks: &[Tick], before: usize) -> Option<Self> {
        let (old, new) = ticks.split_at_checked(before)?;
        // A line that was under way tells of what was before the jump, and the next one of the jump.
        let pauses = new.iter().take(2).map(|tick| tick.pauses);
        let pauses = pauses.reduce(|most, more| [0, 1, 2].map(|at: usize| most[at].max(more[at])));
        Some(Self {
            side,
            before: old.last()?.clone(),
            after: new.last()?.clone(),
            pauses: pauses?,
        })
    }
}

/// What both saw, side by side.
#[must_use]
pub fn render(views: &[View; 2]) -> String {
    let mut text = String::from("What the guests saw:\n");
    let mut line = |what: &str, told: [String; 2]| {
        let [server, client] = told;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {what:33} {server:>36} {client:>36}");
    };
    let each = |tell: &dyn Fn(&View) -> String| views.each_ref().map(tell);
    line("", each(&|view| view.side.name().to_owned()));
    line("boot_id before", each(&|view| view.before.boot.clone()));
    line("boot_id after", each(&|view| view.after.boot.clone()));
    line(
        "uptime before, and now",
        each(&|view| {
            format!(
                "{}, {}",
                seconds(view.before.uptime),
                seconds(view.after.uptime)
            )
        }),
    );
    for (at, clock) in clocks::NAMES.into_iter().enumerate() {
        let what = format!("pause over it, {clock}");
        line(
            &what,
            each(&|view| {
                view.pauses
                    .get(at)
                    .copied()
                    .map(seconds)
                    .unwrap_or_default()
            }),
        );
    }
    line(
        "TCP connections, ever",
        each(&|view| view.after.opened.to_string()),
    );
    line(
        "segments sent again, before; now",
        each(&|view| format!("{}; {}", view.before.again, view.after.again)),
    );
    line(
        "records received before, and now",
        each(&|view| format!("{}, {}", view.before.received, view.after.received)),
    );
    let size = memory::Memory::SIZE >> 20;
    line(
        &format!("{size} MiB of memory"),
        each(&|view| {
            let times = (view.after.number - view.before.number) / memory::PIECES;
            format!("right, read {times} times since")
        }),
    );
    text
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::super::said::tests::tick;
    use super::*;

    #[test]
    fn what_was_seen_since_the_jump_is_told() {
        let mut ticks: Vec<_> = (1..=200).map(tick).collect();
        for other in [1, 150] {
            ticks[other].pauses = [Duration::from_secs(9); 3];
        }
        ticks[101].pauses[2] = Duration::from_secs(3);
        let view = View::of(Side::Server, &ticks, 100).unwrap();
        assert_eq!((view.before.number, view.after.number), (100, 200));
        let [monotonic, _, realtime] = view.pauses;
        assert_eq!(monotonic, Duration::from_micros(1));
        assert_eq!(realtime, Duration::from_secs(3));
        assert_eq!(View::of(Side::Server, &ticks, 0), None);
        assert_eq!(View::of(Side::Server, &ticks, 200), None);
        assert_eq!(View::of(Side::Server, &ticks, 201), None);
        let other = View::of(Side::Client, &ticks, 10).unwrap();
        let text = render(&[view, other]);
        for line in [
            "server",
            "10.00 s, 20.00 s",
            "3.00 s",
            "right, read 1 times since",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
