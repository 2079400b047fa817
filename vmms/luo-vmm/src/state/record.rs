// SPDX-License-Identifier: MIT OR Apache-2.0
//! A state as records. Numbers are little-endian.
//!
//! ```text
//! offset  bytes
//!      0      4  kind
//!      4      4  flags: 1 required
//!      8      4  which of its kind: the number of a processor, of an interrupt controller; else 0
//!     12      4  bytes of the content
//!     16         the content, and zeros up to a multiple of 8
//! ```

use super::Refusal;

/// Bytes before the content.
const HEAD: usize = 16;

/// The next record begins at a multiple of this.
const ALIGN: usize = 8;

/// A program that does not know the kind refuses the state.
const REQUIRED: u32 = 1;

/// The most records of a state.
pub const MOST: usize = 4096;

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its kind.
    pub kind: u32,
    /// Whether a program that does not know the kind has to refuse the state.
    pub required: bool,
    /// Which of its kind.
    pub which: u32,
    /// Its content.
    pub content: &'a [u8],
}

/// Appends a record.
///
/// # Panics
/// If the content has 4 GiB. A state has 60 KiB.
pub fn append(to: &mut Vec<u8>, record: &Record<'_>) {
    let flags = if record.required { REQUIRED } else { 0 };
    let length = u32::try_from(record.content.len());
    #[expect(clippy::expect_used, reason = "what this program writes itself")]
    let length = length.expect("a record is small");
    for number in [record.kind, flags, record.which, length] {
        to.extend(number.to_le_bytes());
    }
    to.extend(record.content);
    to.resize(to.len().next_multiple_of(ALIGN), 0);
}

/// Reads all records.
///
/// # Errors
/// [`Refusal::Cut`], [`Refusal::Flags`].
pub fn parse(bytes: &[u8]) -> Result<Vec<Record<'_>>, Refusal> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let cut = Refusal::Cut { at };
        if records.len() == MOST {
            return Err(cut);
        }
        let number = |which: usize| {
            let from = at.checked_add(4 * which)?;
            let bytes = bytes.get(from..from.checked_add(4)?)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let numbers = (number(0), number(1), number(2), number(3));
        let (Some(kind), Some(flags), Some(which), Some(length)) = numbers else {
            return Err(cut);
        };
        if flags & !REQUIRED != 0 {
            return Err(Refusal::Flags { found: flags });
        }
        let from = at.checked_add(HEAD).ok_or(cut)?;
        let length = usize::try_from(length).map_err(|_| cut)?;
        let end = from.checked_add(length).ok_or(cut)?;
        let content = bytes.get(from..end).ok_or(cut)?;
        let next = end.checked_next_multiple_of(ALIGN).ok_or(cut)?;
        let rest = bytes.get(end..next).ok_or(cut)?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(cut);
        }
        records.push(Record {
            kind,
            required: flags & REQUIRED != 0,
            which,
            content,
        });
        at = next;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_appended_is_read() {
        let records = [
            (1, true, 0, &b"seven b"[..]),
            (9, false, 3, b""),
            (2, true, 0, b"eight by"),
        ];
        let records = records.map(|(kind, required, which, content)| Record {
            kind,
            required,
            which,
            content,
        });
        let mut bytes = Vec::new();
        for record in &records {
            append(&mut bytes, record);
        }
        assert_eq!(bytes.len(), 24 + 16 + 24);
        assert_eq!(parse(&bytes).unwrap(), records);
        for length in 1..bytes.len() {
            let whole = [24, 40].contains(&length);
            assert_eq!(parse(&bytes[..length]).is_ok(), whole, "cut at {length}");
        }
    }

    #[test]
    fn what_is_behind_a_content_is_zero_and_flags_are_known() {
        let mut bytes = Vec::new();
        let record = Record {
            kind: 1,
            required: true,
            which: 0,
            content: b"x",
        };
        append(&mut bytes, &record);
        let mut bad = bytes.clone();
        bad[17] = 1;
        assert_eq!(parse(&bad), Err(Refusal::Cut { at: 0 }));
        bytes[4] = 3;
        assert_eq!(parse(&bytes), Err(Refusal::Flags { found: 3 }));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
