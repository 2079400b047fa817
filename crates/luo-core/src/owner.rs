// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Owners of sessions, callers, and the names that follow from both.
//!
//! All sessions have their names in one space. A session that a program with privileges calls "vm"
//! is called so there. One that user 1000 calls "vm" is called `uid:1000:vm`, so no user can take a
//! name from the administrator or from another user, and an orchestrator that knows no
//! owners carries the owner in the name.
//!
//! A user is a number of the first user namespace, whatever it is called in another one.
//!
//! | caller | says | means |
//! |---|---|---|
//! | administrator | `vm` | `vm` |
//! | administrator | `uid:1000:vm` | the session of user 1000, on their behalf |
//! | user 1000 | `vm`, `uid:1000:vm` | `uid:1000:vm` |
//! | user 1000 | `uid:0:vm` | `uid:1000:uid:0:vm` |

use luo_abi::bytes;

use crate::error::Error;
use crate::text::{SessionName, TextError};

/// The begin of the full name of a user's session; the user's number and a colon follow.
const PREFIX: &[u8] = b"uid:";

/// The one on whose behalf an operation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A program that may administer the machine.
    Administrator,
    /// A program of a user's, without privileges.
    User(u32),
}

/// The owner of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The administrator's: it was made with privileges.
    Root,
    /// A user's.
    User(u32),
    /// Nobody's that is known: it came from an orchestrator that does not record owners.
    Nobody,
    /// An open instance's of the device: the files that are registered there. They are the
    /// administrator's.
    Device,
}

/// The callers who may take back a session that is [`Owner::Nobody`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unowned {
    /// Those who administer the machine: it may well have been the administrator's.
    Administrator,
    /// Everybody who may open the device, as on mainline.
    Anybody,
}

impl Unowned {
    /// The words for them, in this order. The first is the default.
    pub const WORDS: [&'static str; 2] = ["admin", "anybody"];

    /// The one with the second word, or with the first.
    #[must_use]
    pub const fn of(second: bool) -> Self {
        if second {
            Self::Anybody
        } else {
            Self::Administrator
        }
    }
}

impl Owner {
    /// The owner of a session that is made with privileges under a name.
    pub(crate) fn of_name(name: &SessionName) -> Self {
        split(name).map_or(Self::Root, |(user, _)| Self::User(user))
    }

    /// The owner of a session of the previous kernel of which nothing but the name is
    /// known.
    pub(crate) fn of_unknown(name: &SessionName) -> Self {
        split(name).map_or(Self::Nobody, |(user, _)| Self::User(user))
    }

    /// The user, if it is a user's.
    #[must_use]
    pub const fn user(self) -> Option<u32> {
        match self {
            Self::User(user) => Some(user),
            Self::Root | Self::Nobody | Self::Device => None,
        }
    }

    /// Whether it is the administrator's.
    pub(crate) const fn is_administrator(self) -> bool {
        matches!(self, Self::Root | Self::Device)
    }

    /// Whether this can be the owner of a session of this name: the two have to agree.
    pub(crate) fn fits(self, name: &SessionName) -> bool {
        split(name).map(|(user, _)| user) == self.user()
    }
}

impl Actor {
    /// The owner of a session that is made now under a full name.
    pub(crate) fn owns(self, name: &SessionName) -> Owner {
        match self {
            Self::Administrator => Owner::of_name(name),
            Self::User(user) => Owner::User(user),
        }
    }

    /// Whether this one is shown what is an owner's.
    pub(crate) fn sees(self, owner: Owner) -> bool {
        match self {
            Self::Administrator => true,
            Self::User(user) => owner == Owner::User(user),
        }
    }

    /// The full name of a session of this one's.
    ///
    /// # Errors
    /// [`Error::NameTooLong`] if it does not fit with the user in front of it,
    /// [`Error::BadName`] if the user is in front of it twice.
    pub fn full_name(self, name: &SessionName) -> Result<SessionName, Error> {
        let Self::User(user) = self else {
            return Ok(*name);
        };
        let bytes = name.as_bytes();
        let prefix = Prefix::of(user);
        if bytes.starts_with(prefix.as_bytes()) {
            // As the administrator calls it.
            let is_own = split(name).is_some_and(|(of, _)| of == user);
            return if is_own {
                Ok(*name)
            } else {
                Err(TextError::Prefix.into())
            };
        }
        SessionName::joined(prefix.as_bytes(), bytes).ok_or(Error::NameTooLong)
    }

    /// The name by which this caller knows a session of a full name: users call theirs by the
    /// short name.
    #[must_use]
    pub fn name_of(self, name: &SessionName) -> SessionName {
        match (self, split(name)) {
            (Self::User(user), Some((of, short))) if of == user => {
                // It is shorter than what it is a part of.
                SessionName::joined(&[], short).unwrap_or(*name)
            }
            _ => *name,
        }
    }
}

/// The user and the short name in the full name of a user's session. There is one way to
/// write each: no zeros in front of the number, and not the same user twice.
fn split(name: &SessionName) -> Option<(u32, &[u8])> {
    let bytes = name.as_bytes();
    let rest = bytes.strip_prefix(PREFIX)?;
    let end = rest.iter().position(|&byte| byte == b':')?;
    let (digits, short) = rest.split_at_checked(end)?;
    let short = short.strip_prefix(b":").filter(|short| !short.is_empty())?;
    let mut user = 0u32;
    for &digit in digits {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit < 10)?;
        user = user.checked_mul(10)?.checked_add(digit.into())?;
    }
    let prefix = Prefix::of(user);
    let is_canonical = bytes.starts_with(prefix.as_bytes());
    let is_twice = short.starts_with(prefix.as_bytes());
    (is_canonical && !is_twice).then_some((user, short))
}

/// The begin of the full name of a user's session.
struct Prefix {
    bytes: [u8; Self::ROOM],
    used: usize,
}

impl Prefix {
    /// [`PREFIX`], ten digits, a colon.
    const ROOM: usize = 15;

    fn of(user: u32) -> Self {
        let mut prefix = Self {
            bytes: [0; Self::ROOM],
            used: 0,
        };
        prefix.add(PREFIX);
        // From the last digit to the first.
        let mut digits = [b'0'; 10];
        let mut rest = user;
        let mut first = digits.len();
        while let Some(place) = first.checked_sub(1).and_then(|at| digits.get_mut(at)) {
            // A remainder by ten is a digit.
            *place = b'0'.saturating_add((rest % 10) as u8);
            rest /= 10;
            first = first.saturating_sub(1);
            if rest == 0 {
                break;
            }
        }
        prefix.add(digits.get(first..).unwrap_or(&[]));
        prefix.add(b":");
        prefix
    }

    /// There is room for all that is ever added.
    fn add(&mut self, part: &[u8]) {
        let end = self.used.saturating_add(part.len());
        if let Some(to) = self.bytes.get_mut(self.used..end) {
            bytes::copy(to, part);
            self.used = end;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn name(text: &str) -> SessionName {
        SessionName::try_from(text).unwrap()
    }

    fn full(user: u32, text: &str) -> Result<SessionName, Error> {
        Actor::User(user).full_name(&name(text))
    }

    #[test]
    fn a_users_names_are_the_users_own() {
        for user in [0, 7, 1000, u32::MAX] {
            let called = full(user, "vm").unwrap();
            assert_eq!(called.to_string(), std::format!("uid:{user}:vm"));
            assert_eq!(Owner::of_name(&called), Owner::User(user));
            assert_eq!(Owner::of_unknown(&called), Owner::User(user));
            assert!(Owner::User(user).fits(&called) && !Owner::Root.fits(&called));
            assert!(!Owner::User(user ^ 1).fits(&called));
            // By either name it is the same session.
            assert_eq!(Actor::User(user).full_name(&called), Ok(called));
            assert_eq!(Actor::User(user).name_of(&called), name("vm"));
            assert_eq!(Actor::User(user ^ 1).name_of(&called), called);
            assert_eq!(Actor::Administrator.name_of(&called), called);
            assert_eq!(Actor::Administrator.full_name(&called), Ok(called));
        }
    }

    #[test]
    fn a_name_of_another_user_is_one_among_the_users_own() {
        let called = full(1000, "uid:0:vm").unwrap();
        assert_eq!(called, name("uid:1000:uid:0:vm"));
        assert_eq!(Owner::of_name(&called), Owner::User(1000));
        assert_eq!(Actor::User(1000).name_of(&called), name("uid:0:vm"));
    }

    #[test]
    fn what_looks_like_a_users_name_and_is_none_is_the_administrators() {
        for odd in [
            "uid:",
            "uid::vm",
            "uid:1000",
            "uid:1000:",
            "uid:01000:vm",
            "uid:00:vm",
            "uid:+1:vm",
            "uid:4294967296:vm",
            "uid:99999999999999999999:vm",
            "uid:1000:uid:1000:vm",
            "UID:1000:vm",
        ] {
            assert_eq!(Owner::of_name(&name(odd)), Owner::Root, "{odd}");
            assert_eq!(Owner::of_unknown(&name(odd)), Owner::Nobody, "{odd}");
        }
    }

    #[test]
    fn a_users_name_must_fit_with_the_user_in_front() {
        let longest = "x".repeat(63 - "uid:1000:".len());
        assert!(full(1000, &longest).is_ok());
        let longer = std::format!("{longest}x");
        assert_eq!(full(1000, &longer), Err(Error::NameTooLong));
        let twice = full(1000, "uid:1000:uid:1000:vm");
        assert_eq!(twice, Err(Error::BadName(TextError::Prefix)));
    }
}
