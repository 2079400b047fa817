// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fields that the kernel fills: text, names, error numbers.

use luo_abi::errno::Errno;
use luo_abi::uapi::SESSION_NAME_LENGTH;

use crate::name::SessionName;

/// A text up to its first zero, or to the end of the field.
pub(crate) fn text(field: &[u8]) -> String {
    let length = field.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&field[..length.unwrap_or(field.len())]).into_owned()
}

/// A session's name, if the field holds one.
pub(crate) fn session(field: &[u8; SESSION_NAME_LENGTH]) -> Option<SessionName> {
    SessionName::from_field(field).ok()
}

/// An error number that is positive, as structures hold it; 0 is none.
pub(crate) fn errno(number: u32) -> Option<Errno> {
    let number = i32::try_from(number).ok()?;
    Errno::check(number.wrapping_neg()).err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_be_full_or_empty() {
        assert_eq!(text(b"luo-v5\0\0"), "luo-v5");
        assert_eq!(text(b"full"), "full");
        assert_eq!(session(&[0; 64]), None);
        assert_eq!(errno(0), None);
        assert_eq!(errno(67), Some(Errno::ENOLINK));
    }
}
