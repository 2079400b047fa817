// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a document may be.

/// Bytes of a host's name.
pub const MAX_ID: usize = 128;

/// Bytes of a group's name.
pub const MAX_GROUP: usize = 64;

/// Bytes of what a host says in one call.
pub const MAX_BODY: usize = 16 * 1024;

/// Bytes of a text for people: a reason, say.
pub const MAX_TEXT: usize = 512;

/// Bytes of a server's answer that a client reads: the status of 100,000 hosts.
pub const MAX_ANSWER: u64 = 128 * 1024 * 1024;

/// Phases that a report tells the times of.
pub const MAX_PHASES: usize = 16;

/// A text of at most [`MAX_TEXT`] bytes, without control characters.
#[must_use]
pub fn short(text: &str) -> String {
    let mut short = String::new();
    for letter in text.chars() {
        let letter = if letter.is_control() { ' ' } else { letter };
        if short.len() + letter.len_utf8() > MAX_TEXT {
            break;
        }
        short.push(letter);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_letters() {
        let long = "ä".repeat(MAX_TEXT);
        assert_eq!(short(&long), "ä".repeat(MAX_TEXT / 2));
        assert_eq!(short("a\nb\x1b[1m"), "a b [1m");
    }
}
