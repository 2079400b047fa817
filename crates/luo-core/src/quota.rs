// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Quotas: how much a user without privileges may have, and all such users together.
//!
//! A quota for each user alone does not bound a person with many numbers: a range of numbers in
//! /etc/subuid makes as many users. So there is a second quota, for all users together, and a part
//! of the whole that no quota can give away: it stays for the administrator of the machine.

use core::fmt;

use luo_abi::handover::MAX_SESSIONS;
use luo_abi::supplement::MAX_RECORDS;

/// The most sessions that users can have together, whatever their quota is: half of those
/// there are.
pub const MOST_SESSIONS_OF_USERS: u64 = MAX_SESSIONS as u64 / 2;
/// The most records that users can have together, likewise. Each of their sessions, files
/// and dependencies takes one.
pub const MOST_RECORDS_OF_USERS: u64 = MAX_RECORDS as u64 / 2;

/// The users that a quota bounds: each alone, or all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Each user without privileges.
    Each,
    /// All of them together.
    Together,
}

impl Whom {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Each, Self::Together];

    /// The begin of the names of its files in `/sys/kernel/liveupdate`, and the part of its boot
    /// parameter behind `liveupdate_`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Each => "user",
            Self::Together => "users",
        }
    }

    /// The quotas that apply if the administrator does not say otherwise.
    #[must_use]
    pub const fn default(self) -> Quotas {
        match self {
            Self::Each => Quotas::DEFAULT,
            Self::Together => Quotas::TOGETHER,
        }
    }
}

/// How much users without privileges may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Sessions.
    pub sessions: u64,
    /// Files in all of them.
    pub files: u64,
    /// Dependencies of those files.
    pub dependencies: u64,
    /// Bytes of memory that the files keep.
    pub bytes: u64,
}

/// One of the numbers of [`Quotas`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// [`Quotas::sessions`].
    Sessions,
    /// [`Quotas::files`].
    Files,
    /// [`Quotas::dependencies`].
    Dependencies,
    /// [`Quotas::bytes`].
    Bytes,
}

impl Quota {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sessions, Self::Files, Self::Dependencies, Self::Bytes];

    /// Its word in the boot parameter. Its file in `/sys/kernel/liveupdate` is named
    /// [`Whom::word`], `_` and this.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Files => "files",
            Self::Dependencies => "dependencies",
            Self::Bytes => "bytes",
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Quotas {
    /// Sessions that a user may have if the administrator does not say otherwise.
    pub const SESSIONS: u64 = 64;
    /// The same for files.
    pub const FILES: u64 = 4096;
    /// The same for dependencies.
    pub const DEPENDENCIES: u64 = 16_384;
    /// The same for bytes: 1 GiB.
    pub const BYTES: u64 = 1 << 30;

    /// How many users can have all that one may have, before they have all that users may
    /// have together.
    pub const USERS: u64 = 64;

    /// The quotas of each user if the administrator does not say otherwise.
    pub const DEFAULT: Self = Self {
        sessions: Self::SESSIONS,
        files: Self::FILES,
        dependencies: Self::DEPENDENCIES,
        bytes: Self::BYTES,
    };

    /// The quotas of all users together if the administrator does not say otherwise.
    pub const TOGETHER: Self = Self {
        sessions: Self::SESSIONS.saturating_mul(Self::USERS),
        files: Self::FILES.saturating_mul(Self::USERS),
        dependencies: Self::DEPENDENCIES.saturating_mul(Self::USERS),
        bytes: Self::BYTES.saturating_mul(Self::USERS),
    };

    /// One of the numbers.
    #[must_use]
    pub const fn get(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Sessions => self.sessions,
            Quota::Files => self.files,
            Quota::Dependencies => self.dependencies,
            Quota::Bytes => self.bytes,
        }
    }

    /// Changes one of the numbers.
    pub const fn set(&mut self, quota: Quota, value: u64) {
        match quota {
            Quota::Sessions => self.sessions = value,
            Quota::Files => self.files = value,
            Quota::Dependencies => self.dependencies = value,
            Quota::Bytes => self.bytes = value,
        }
    }

    /// Reads a number as it is written to a file in sysfs: digits, and perhaps the end of
    /// the line.
    #[must_use]
    pub fn number(text: &[u8]) -> Option<u64> {
        let digits = text.strip_suffix(b"\n").unwrap_or(text);
        if digits.is_empty() {
            return None;
        }
        let mut number = 0u64;
        for &digit in digits {
            let digit = digit.checked_sub(b'0').filter(|&digit| digit < 10)?;
            number = number.checked_mul(10)?.checked_add(digit.into())?;
        }
        Some(number)
    }

    /// Reads the boot parameter: words and numbers, as in `sessions=8,bytes=4096`; what is
    /// not named stays as it is.
    #[must_use]
    pub fn parse(mut self, text: &[u8]) -> Option<Self> {
        for part in text.split(|&byte| byte == b',') {
            let at = part.iter().position(|&byte| byte == b'=')?;
            let (word, number) = part.split_at_checked(at)?;
            let number = Self::number(number.strip_prefix(b"=")?)?;
            let mut all = Quota::ALL.iter();
            let quota = all.find(|quota| quota.word().as_bytes() == word)?;
            self.set(*quota, number);
        }
        Some(self)
    }
}

// The default quotas are within the most that users can have at all.
const _: () = {
    let all = Quotas::TOGETHER;
    assert!(all.sessions <= MOST_SESSIONS_OF_USERS);
    let records = all.sessions.saturating_add(all.files);
    assert!(records.saturating_add(all.dependencies) <= MOST_RECORDS_OF_USERS);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_parameter_names_what_it_changes() {
        let all = Quotas::DEFAULT;
        let few = all.parse(b"sessions=8,bytes=4096").unwrap();
        assert_eq!((few.sessions, few.bytes), (8, 4096));
        assert_eq!((few.files, few.dependencies), (all.files, all.dependencies));
        for odd in [
            "",
            "sessions",
            "sessions=",
            "sessions=x",
            "sessions=1,",
            "vms=1",
            "sessions=-1",
            "sessions=1 ",
            "bytes=18446744073709551616",
        ] {
            assert_eq!(all.parse(odd.as_bytes()), None, "{odd}");
        }
        assert_eq!(Quotas::number(b"12\n"), Some(12));
        assert_eq!(Quotas::number(b"\n"), None);
    }
}
