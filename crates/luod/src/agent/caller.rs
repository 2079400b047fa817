// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection, as the agent sees it.

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

/// Cuts a reason to the length that is kept. It is shown on terminals and in logs, so
/// control characters are replaced.
pub(super) fn cut(text: &str) -> String {
    let fits = (0..=text.len().min(MAX_REASON)).rev();
    let kept = fits.into_iter().find_map(|end| text.get(..end));
    let plain = |character: char| match character {
        character if character.is_control() => ' ',
        character => character,
    };
    kept.unwrap_or_default().chars().map(plain).collect()
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
    }
}
