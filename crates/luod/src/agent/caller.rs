// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection, as the agent sees it.

use luo_timeline::text::plain;
use luo_varlink::Identity;
use luo_varlink::client::Error;
use luo_varlink::limits::MAX_REASON;

/// A connection that may be a workload.
#[derive(Debug)]
pub struct Caller {
    /// The number of the connection.
    pub connection: u64,
    /// The identity of the peer.
    pub identity: Identity,
    /// The workload that the connection is, once it has registered.
    pub workload: Option<String>,
    /// The control group of the peer, as a path.
    pub group: Option<String>,
}

impl Caller {
    /// The workload that it is.
    ///
    /// # Errors
    /// [`Error::NotRegistered`]
    pub fn workload(&self) -> Result<&str, Error> {
        self.workload.as_deref().ok_or(Error::NotRegistered)
    }
}

/// Cuts a reason to the length that is kept. It is shown on terminals and in logs, so what a
/// terminal would obey is replaced: control characters, and those that turn the direction of
/// writing or break a line, with which a text can look like another.
pub(super) fn cut(text: &str) -> String {
    let begin: String = text.chars().take(MAX_REASON).collect();
    let spaced = begin.replace(|letter: char| letter.is_control(), " ");
    let mut kept = plain(&spaced);
    while kept.len() > MAX_REASON {
        kept.pop();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn reasons_are_cut_at_a_character() {
        assert_eq!(cut("short"), "short");
        let long = "ä".repeat(1000);
        assert_eq!(cut(&long).len(), 1024);
        let odd = format!("x{long}");
        assert_eq!(cut(&odd).len(), 1023);
        assert_eq!(cut("a\x1b[2Jb\nc"), "a [2Jb c");
        assert_eq!(
            cut("\u{202e}a\u{2028}b\u{61c}"),
            "\u{fffd}a\u{fffd}b\u{fffd}"
        );
        assert!(cut(&"\u{61c}".repeat(1000)).len() <= 1024);
    }
}
