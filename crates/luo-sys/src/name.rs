// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two names of the ABI: a session's and a file's.

use core::fmt;
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

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
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
        assert!(!name.to_string().is_empty());
    }
}
