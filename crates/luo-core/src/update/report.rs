// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The outcome of a transition, and the line of the log about it.

use core::fmt;

use luo_abi::rfc::{Event, State};

use crate::file_name::FileName;
use crate::losses::Losses;

/// The outcome of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The event, `None` for what a reboot did by itself.
    pub event: Option<Event>,
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Sessions it was about: outgoing ones, or incoming ones for a finish.
    pub sessions: usize,
    /// Files in them; those that were finished, for a finish.
    pub files: usize,
    /// Subsystems that took part.
    pub subsystems: usize,
    /// Finish: files that nobody had reclaimed and that are released now.
    pub released: usize,
    /// The first of them.
    pub released_first: [Option<FileName>; 4],
    /// Finish: files that stay because a handler does not let go.
    pub stuck: usize,
    /// Reboot: incoming sessions that nobody had claimed and that are carried on.
    pub carried: usize,
    /// Reboot: incoming sessions that nobody had claimed and that a new session of the
    /// same name replaces.
    pub superseded: usize,
    /// Reboot: incoming sessions that do not reach the next kernel: not finished
    /// by those who claimed them, or not to be carried on.
    pub lost: usize,
    /// Reboot: what could not go.
    pub losses: Losses,
}

impl Report {
    pub(crate) const fn new(event: Option<Event>, from: State) -> Self {
        Self {
            event,
            from,
            to: from,
            sessions: 0,
            files: 0,
            subsystems: 0,
            released: 0,
            released_first: [None; 4],
            stuck: 0,
            carried: 0,
            superseded: 0,
            lost: 0,
            losses: Losses::NONE,
        }
    }
}

/// The line of a log: `prepare: normal -> prepared, 3 sessions, 7 files, 2
/// subsystems`.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} -> {}, {}, {}, {}",
            self.event.map_or("reboot", Event::word),
            self.from,
            self.to,
            Count(self.sessions, "session"),
            Count(self.files, "file"),
            Count(self.subsystems, "subsystem"),
        )?;
        if self.released == 0 {
            return Ok(());
        }
        let released = Count(self.released, "file");
        write!(f, ", released {released} that nobody took back")?;
        let mut left = self.released;
        for name in self.released_first.iter().flatten() {
            let before = if left == self.released { ':' } else { ';' };
            write!(f, "{before} {name}")?;
            left = left.saturating_sub(1);
        }
        if left > 0 {
            write!(f, "; and {left} more")?;
        }
        Ok(())
    }
}

/// A number of things, in words: of one, the word as it stands here, and else with an s.
#[derive(Clone, Copy, Debug)]
pub struct Count<N>(pub N, pub &'static str);

impl<N: fmt::Display + PartialEq + From<u8>> fmt::Display for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.0 == N::from(1) { "" } else { "s" };
        write!(f, "{} {}{end}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::SessionName;
    use std::{format, string::ToString};

    #[test]
    fn a_report_is_one_line() {
        let mut report = Report::new(Some(Event::Finish), State::Updated);
        report.to = State::Normal;
        report.sessions = 1;
        report.files = 7;
        let line = "finish: updated -> normal, 1 session, 7 files, 0 subsystems";
        assert_eq!(report.to_string(), line);
        report.released = 6;
        report.released_first = [Some(FileName {
            session: SessionName::try_from("vm").unwrap(),
            token: 1,
            of_device: false,
        }); 4];
        let vm = "session \"vm\", token 0x1";
        let released =
            format!(", released 6 files that nobody took back: {vm}; {vm}; {vm}; {vm}; and 2 more");
        assert_eq!(report.to_string(), format!("{line}{released}"));
    }
}
