// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two names of the ABI: a session's and a file's.

use core::fmt::{self, Write as _};
use core::str::FromStr;

use luo_abi::uapi::SESSION_NAME_LENGTH;

/// The name of a session: 1 to 63 bytes, none of them zero.
///
/// The kernel compares bytes and knows no encoding.
///
/// ```
/// use luo_sys::{NameError, SessionName};
///
/// let name: SessionName = "guest-7".parse()?;
/// assert_eq!(name.as_bytes(), b"guest-7");
/// assert_eq!("".parse::<SessionName>(), Err(NameError::Empty));
/// # Ok::<(), NameError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionName {
    // Zero-padded, and the last byte is always zero.
    field: [u8; SESSION_NAME_LENGTH],
}

/// Why some bytes are no session name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no byte.
    #[error("a session name must not be empty")]
    Empty,
    /// There are more than 63 bytes.
    #[error("a session name has at most 63 bytes")]
    TooLong,
    /// One of the bytes is zero.
    #[error("a session name must not contain a zero byte")]
    Zero,
    /// What is shown of a name that is no plain text is not shown like this.
    #[error("no session name is shown like this: behind the first, each \\ begins a \\xNN")]
    Escape,
}

impl SessionName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] says what the bytes violate.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, NameError> {
        let name = name.as_ref();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.contains(&0) {
            return Err(NameError::Zero);
        }
        let mut field = [0; SESSION_NAME_LENGTH];
        match field.get_mut(..name.len()) {
            Some(head) if name.len() < SESSION_NAME_LENGTH => head.copy_from_slice(name),
            _ => return Err(NameError::TooLong),
        }
        Ok(Self { field })
    }

    /// Reads the name field of a structure that the kernel filled.
    ///
    /// # Errors
    /// As [`SessionName::new`]; a field without a zero is too long.
    pub fn from_field(field: &[u8; SESSION_NAME_LENGTH]) -> Result<Self, NameError> {
        let length = field.iter().position(|&byte| byte == 0);
        Self::new(length.map_or(&field[..], |length| &field[..length]))
    }

    /// The name field of an argument structure, zero-padded.
    #[must_use]
    pub const fn as_field(&self) -> &[u8; SESSION_NAME_LENGTH] {
        &self.field
    }

    /// Reads a name as it is shown: see its `Display`.
    ///
    /// # Errors
    /// As [`SessionName::new`]; [`NameError::Escape`] if no name is shown like that.
    pub fn from_shown(shown: &str) -> Result<Self, NameError> {
        let Some(rest) = shown.strip_prefix('\\') else {
            return Self::new(shown);
        };
        let mut bytes = Vec::with_capacity(rest.len());
        let mut parts = rest.split('\\');
        bytes.extend(parts.next().unwrap_or_default().bytes());
        for part in parts {
            let code = part.strip_prefix('x').and_then(|part| part.get(..2));
            let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
            bytes.push(byte.ok_or(NameError::Escape)?);
            bytes.extend(part.bytes().skip(3));
        }
        let name = Self::new(bytes)?;
        match name.to_string() == shown {
            true => Ok(name),
            false => Err(NameError::Escape),
        }
    }

    /// The name, if it is plain text that is no other name's shown form.
    fn plain(&self) -> Option<&str> {
        let text = std::str::from_utf8(self.as_bytes()).ok()?;
        (!text.starts_with('\\') && text.chars().all(is_plain)).then_some(text)
    }

    /// The bytes of the name, without padding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let length = self.field.iter().position(|&byte| byte == 0);
        &self.field[..length.unwrap_or(SESSION_NAME_LENGTH)]
    }
}

impl FromStr for SessionName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

/// A name as people read and write it, and programs that know no bytes. A name that is plain
/// text is shown as it is. Any other begins with a backslash, and each byte of it that is not
/// plain, or is a backslash, is `\xNN`: no two names look the same, and
/// [`SessionName::from_shown`] reads each again.
impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.plain() {
            return f.write_str(text);
        }
        f.write_str("\\")?;
        for part in self.as_bytes().utf8_chunks() {
            for letter in part.valid().chars() {
                match is_plain(letter) && letter != '\\' {
                    true => f.write_char(letter)?,
                    false => escape(letter.encode_utf8(&mut [0; 4]).as_bytes(), f)?,
                }
            }
            escape(part.invalid(), f)?;
        }
        Ok(())
    }
}

fn escape(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

/// Whether a character looks like itself on a terminal: it is none that a terminal obeys, that
/// turns the direction of writing, that breaks a line, or that has no width.
fn is_plain(letter: char) -> bool {
    let is_hidden = matches!(
        letter,
        '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fffd}'
    );
    !letter.is_control() && !is_hidden
}

impl fmt::Debug for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SessionName({:?})",
            String::from_utf8_lossy(self.as_bytes())
        )
    }
}

/// What the owner of a session calls one of its files. Any value is valid;
/// within a session each is used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_bounded_on_both_sides() {
        assert_eq!(SessionName::new(""), Err(NameError::Empty));
        assert_eq!(SessionName::new([b'x'; 64]), Err(NameError::TooLong));
        let longest = SessionName::new([b'x'; 63]).unwrap();
        assert_eq!(longest.as_bytes().len(), 63);
        assert_eq!(longest.as_field()[63], 0);
    }

    #[test]
    fn a_zero_byte_is_refused_anywhere() {
        assert_eq!(SessionName::new(b"\0"), Err(NameError::Zero));
        assert_eq!(SessionName::new(b"a\0b"), Err(NameError::Zero));
        assert_eq!(SessionName::new(b"a\0"), Err(NameError::Zero));
    }

    #[test]
    fn a_field_reads_back() {
        let name = SessionName::new("guest-7").unwrap();
        assert_eq!(SessionName::from_field(name.as_field()), Ok(name));
        assert_eq!(
            SessionName::from_field(&[b'x'; 64]),
            Err(NameError::TooLong)
        );
        assert_eq!(SessionName::from_field(&[0; 64]), Err(NameError::Empty));
    }

    #[test]
    fn names_need_not_be_text() {
        let name = SessionName::new([0xff, 0xfe]).unwrap();
        assert_eq!(name.as_bytes(), [0xff, 0xfe]);
        assert_eq!(name.to_string(), "\\\\xff\\xfe");
    }

    #[test]
    fn what_is_shown_of_a_name_is_that_name_and_no_other() {
        let names: [(&[u8], &str); 9] = [
            (b"plain", "plain"),
            (b"a\\x2db", "a\\x2db"),
            ("sp ace \u{e4}".as_bytes(), "sp ace \u{e4}"),
            (b"odd\xff", "\\odd\\xff"),
            (b"a\x1b[2J", "\\a\\x1b[2J"),
            (b"\\odd\\xff", "\\\\x5codd\\x5cxff"),
            ("\u{202e}evil".as_bytes(), "\\\\xe2\\x80\\xaeevil"),
            ("\u{fffd}".as_bytes(), "\\\\xef\\xbf\\xbd"),
            (b"\\", "\\\\x5c"),
        ];
        for (bytes, shown) in names {
            let name = SessionName::new(bytes).unwrap();
            assert_eq!(name.to_string(), shown);
            assert_eq!(SessionName::from_shown(shown), Ok(name));
        }
        for shown in [
            "\\",
            "\\plain",
            "\\x41",
            "\\a\\xf",
            "\\a\\xzz",
            "\\a\\xFF",
            "\\a\\\u{e4}",
        ] {
            assert!(SessionName::from_shown(shown).is_err(), "{shown}");
        }
        for byte in 1..=255_u8 {
            let name = SessionName::new([b'a', byte, b'b']).unwrap();
            assert_eq!(SessionName::from_shown(&name.to_string()), Ok(name));
        }
    }
}
