// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names in etcd.

/// Names below a prefix.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
}

/// What a key of the state is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// The document.
    Policy,
    /// The stop switch.
    Stop,
    /// The number that each change raises.
    Ledger,
    /// Written with whatever is written beside the ledger: who was heard of, and what hosts tell of
    /// themselves. By it a server whose watch is dead sees that there is more than it knows.
    Noted,
    /// A host.
    Host(&'a str),
    /// That a host was heard of.
    Presence(&'a str),
}

impl Keys {
    /// Names below a prefix, which ends with a slash.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let prefix = format!("{}/", prefix.trim_end_matches('/'));
        Self { prefix }
    }

    /// What all keys of the state begin with.
    #[must_use]
    pub fn state(&self) -> String {
        format!("{}state/", self.prefix)
    }

    /// What all keys of the log begin with.
    #[must_use]
    pub fn audit(&self) -> String {
        format!("{}audit/", self.prefix)
    }

    /// The key of a line of the log. By their names they are in order.
    #[must_use]
    pub fn audit_line(&self, number: u64) -> String {
        format!("{}{number:020}", self.audit())
    }

    /// A key's name.
    #[must_use]
    pub fn name(&self, key: Key<'_>) -> String {
        let state = self.state();
        match key {
            Key::Policy => format!("{state}policy"),
            Key::Stop => format!("{state}stop"),
            Key::Ledger => format!("{state}ledger"),
            Key::Noted => format!("{state}ledger/noted"),
            Key::Host(id) => format!("{state}host/{id}"),
            Key::Presence(id) => format!("{state}presence/{id}"),
        }
    }

    /// What a name of the state is about. Names that a newer version has added are nothing.
    #[must_use]
    pub fn key<'a>(&self, name: &'a str) -> Option<Key<'a>> {
        match name.strip_prefix(&self.state())? {
            "policy" => Some(Key::Policy),
            "stop" => Some(Key::Stop),
            "ledger" => Some(Key::Ledger),
            "ledger/noted" => Some(Key::Noted),
            other => match other.split_once('/')? {
                ("host", id) => Some(Key::Host(id)),
                ("presence", id) => Some(Key::Presence(id)),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_says_what_it_is_about() {
        let keys = Keys::new("/luo-fleet");
        for key in [
            Key::Policy,
            Key::Stop,
            Key::Ledger,
            Key::Noted,
            Key::Host("a/b"),
            Key::Presence("a"),
        ] {
            assert_eq!(keys.key(&keys.name(key)), Some(key));
        }
        assert_eq!(keys.key("/luo-fleet/state/newer"), None);
        assert_eq!(keys.key("/luo-fleet/audit/1"), None);
        assert!(keys.audit_line(9) < keys.audit_line(10));
        // One range has both.
        let ledger = keys.name(Key::Ledger);
        assert!(keys.name(Key::Noted).starts_with(&ledger));
    }
}
