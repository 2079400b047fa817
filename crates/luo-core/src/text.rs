// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Names in fixed room: of sessions, of handlers, of FLBs.

use core::ffi::CStr;
use core::fmt;

use luo_abi::bytes;
use luo_abi::handover::COMPAT_LENGTH;
use luo_abi::uapi::SESSION_NAME_LENGTH;

/// Why bytes are not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// The first byte is the terminator.
    Empty,
    /// No terminating zero within the room.
    Unterminated,
    /// It begins with its user twice.
    Prefix,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Unterminated => "not terminated",
            Self::Prefix => "one with its user in front twice",
        })
    }
}

/// 1 to `N - 1` bytes other than zero, then zeros up to `N`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize>([u8; N]);

/// The name of a session.
pub type SessionName = Text<SESSION_NAME_LENGTH>;
/// The name of a handler or of an FLB.
pub type Compat = Text<COMPAT_LENGTH>;

impl<const N: usize> Text<N> {
    /// Reads a zero-terminated name; bytes behind the terminator are ignored.
    ///
    /// # Errors
    /// [`TextError`] if there is no name or no terminator.
    pub fn parse(room: &[u8; N]) -> Result<Self, TextError> {
        let name = CStr::from_bytes_until_nul(room).map_err(|_| TextError::Unterminated)?;
        if name.is_empty() {
            return Err(TextError::Empty);
        }
        let mut text = Self([0; N]);
        // The name is shorter than its room, so all of it is copied.
        bytes::copy(&mut text.0, name.to_bytes());
        Ok(text)
    }

    /// The bytes of the name, without the terminator.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        // Always terminated.
        CStr::from_bytes_until_nul(&self.0).map_or(&[], CStr::to_bytes)
    }

    /// The whole room: the name and zeros up to its end.
    #[must_use]
    pub const fn room(&self) -> &[u8; N] {
        &self.0
    }
}

impl SessionName {
    /// Two parts as one name; `None` if the result is no valid name.
    pub(crate) fn joined(first: &[u8], second: &[u8]) -> Option<Self> {
        let mut room = Room {
            bytes: [0; SESSION_NAME_LENGTH],
            used: 0,
        };
        room.add(first).and_then(|()| room.add(second)).ok()?;
        Self::parse(&room.bytes).ok()
    }

    /// The name of the session of an open instance of the device: how many updates
    /// there were before, and a number.
    ///
    /// # Errors
    /// None: the name fits.
    pub(crate) fn of_device(update: u64, number: u32) -> Result<Self, TextError> {
        use fmt::Write;
        let mut room = Room {
            bytes: [0; SESSION_NAME_LENGTH],
            used: 0,
        };
        write!(room, "liveupdate-device:{update}.{number}").map_err(|_| TextError::Unterminated)?;
        Self::parse(&room.bytes)
    }
}

/// Room that is written to as far as it goes; its last byte stays zero.
struct Room {
    bytes: [u8; SESSION_NAME_LENGTH],
    used: usize,
}

impl Room {
    fn add(&mut self, part: &[u8]) -> fmt::Result {
        let end = self.used.saturating_add(part.len());
        if end >= self.bytes.len() {
            return Err(fmt::Error);
        }
        let to = self.bytes.get_mut(self.used..end).ok_or(fmt::Error)?;
        bytes::copy(to, part);
        self.used = end;
        Ok(())
    }
}

impl fmt::Write for Room {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes())
    }
}

impl<const N: usize> TryFrom<&str> for Text<N> {
    type Error = TextError;

    fn try_from(name: &str) -> Result<Self, TextError> {
        let mut room = [0; N];
        // The last byte stays the terminator.
        if name.len() >= N {
            return Err(TextError::Unterminated);
        }
        for (to, from) in room.iter_mut().zip(name.as_bytes()) {
            *to = *from;
        }
        Self::parse(&room)
    }
}

/// The name with everything but printable ASCII escaped: it comes from outside
/// and goes into logs.
impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn bytes_behind_the_terminator_do_not_count() {
        let noisy = Text::<8>::parse(b"ab\0junk\x01").unwrap();
        assert_eq!(noisy, Text::<8>::try_from("ab").unwrap());
        assert_eq!(noisy.as_bytes(), b"ab");
        assert_eq!(noisy.room(), b"ab\0\0\0\0\0\0");
    }

    #[test]
    fn a_name_needs_a_byte_and_a_terminator() {
        assert_eq!(Text::<4>::parse(b"\0abc"), Err(TextError::Empty));
        assert_eq!(Text::<4>::parse(b"abcd"), Err(TextError::Unterminated));
        assert!(Text::<4>::parse(b"abc\0").is_ok());
        assert_eq!(Text::<4>::try_from("abcd"), Err(TextError::Unterminated));
        assert_eq!(Text::<4>::try_from(""), Err(TextError::Empty));
    }

    #[test]
    fn the_longest_name_of_a_device_session_fits() {
        let name = SessionName::of_device(u64::MAX, u32::MAX).unwrap();
        let text = "liveupdate-device:18446744073709551615.4294967295";
        assert_eq!(name.as_bytes(), text.as_bytes());
    }

    #[test]
    fn a_log_shows_no_control_bytes() {
        let text = Text::<16>::parse(b"a\x1b[1m\n\xff\0\0\0\0\0\0\0\0\0").unwrap();
        assert_eq!(text.to_string(), "a\\x1b[1m\\n\\xff");
    }
}
