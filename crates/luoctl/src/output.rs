// SPDX-License-Identifier: MIT OR Apache-2.0
//! Standard output, with lines for people or JSON for programs; and standard error, with
//! errors.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use luo_sys::standard;
use serde::Serialize;

use crate::text::plain_lines;

/// The meaning of a piece of text, for its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Text without a special meaning.
    #[default]
    Plain,
    /// A heading.
    Head,
    /// Something is as it should be.
    Good,
    /// Something should be looked at.
    Warn,
    /// Something went wrong.
    Bad,
    /// Something is beside the point.
    Dim,
}

/// Whether tones are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    /// Shows tones on a terminal only, and only if the user has not turned them off.
    #[must_use]
    pub fn choose(no_color: bool, is_terminal: bool) -> Self {
        let said_no = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self(is_terminal && !no_color && !said_no && !dumb)
    }

    /// Text in its tone.
    #[must_use]
    pub fn tone(self, tone: Tone, text: impl Display) -> String {
        let code = match tone {
            _ if !self.0 => "",
            Tone::Plain => "",
            Tone::Head => "1",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Dim => "2",
        };
        match code {
            "" => text.to_string(),
            code => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// Where a command writes.
pub struct Output {
    to: Box<dyn Write>,
    /// Whether, and how, tones are shown.
    pub paint: Paint,
}

/// Standard output that is not there, and why.
struct Nowhere(io::Error);

impl Write for Nowhere {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(match self.0.raw_os_error() {
            Some(number) => io::Error::from_raw_os_error(number),
            None => self.0.kind().into(),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A document as JSON, for people too.
///
/// # Errors
/// There are none in practice, for our documents can be written.
pub fn json(document: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(document)? + "\n")
}

impl Output {
    /// Standard output.
    #[must_use]
    pub fn standard(no_color: bool) -> Self {
        let to = standard::output();
        let is_terminal = to.as_ref().is_ok_and(IsTerminal::is_terminal);
        let to: Box<dyn Write> = match to {
            Ok(to) => Box::new(to),
            Err(why) => Box::new(Nowhere(why)),
        };
        Self {
            to,
            paint: Paint::choose(no_color, is_terminal),
        }
    }

    /// Whether it is there to be written to.
    ///
    /// # Errors
    /// It is not.
    pub fn is_there(&mut self) -> io::Result<()> {
        // Whatever can be written to takes nothing.
        self.to.write(&[]).map(drop)
    }

    /// Text, which ends with its own newline.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        let _alone = clear();
        self.to.write_all(text.as_bytes())?;
        self.to.flush()
    }

    /// Nobody reads any more: what is written from here on goes nowhere.
    pub fn nobody_reads(&mut self) {
        self.to = Box::new(io::sink());
    }

    /// A line.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn line(&mut self, line: impl Display) -> io::Result<()> {
        self.text(&format!("{line}\n"))
    }

    /// A document, over several lines.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn document(&mut self, document: &impl Serialize) -> io::Result<()> {
        self.text(&json(document)?)
    }

    /// A document on one line, where several come one after the other.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn record(&mut self, document: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(document)?;
        self.line(text)
    }
}

/// Writes a line to standard error, with the words of others in it made plain. A failure to
/// write it is ignored: ^C in a pipeline ends the readers too, and luoctl has still to
/// cancel the update then.
pub fn complain(line: impl Display) {
    let line = plain_lines(&line.to_string());
    let _alone = clear();
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether a passing line stands on the terminal.
static PASSING: Mutex<bool> = Mutex::new(false);

/// Shows a line on the terminal of standard error until anything else is written, in place of
/// the one before.
pub fn pass(line: impl Display) {
    let mut stands = PASSING.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = write!(io::stderr(), "\r\x1b[K{}", plain_lines(&line.to_string()));
    *stands = true;
}

/// Takes a passing line away. As long as what this gives is there, none is shown.
pub fn clear() -> MutexGuard<'static, bool> {
    let mut stands = PASSING.lock().unwrap_or_else(PoisonError::into_inner);
    if std::mem::take(&mut *stands) {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    stands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_terminal_no_colour() {
        assert_eq!(Paint::choose(false, false), Paint(false));
        assert_eq!(Paint::choose(true, true), Paint(false));
        assert_eq!(Paint(false).tone(Tone::Bad, "x"), "x");
        assert_eq!(Paint(true).tone(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
