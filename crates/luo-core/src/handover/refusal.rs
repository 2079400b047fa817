// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Why data of the previous kernel is not taken over.

use core::fmt;

use crate::text::{Compat, SessionName, TextError};

/// Why a page that handed-over data points at cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// The address is not the start of a page.
    Unaligned,
    /// The previous kernel did not preserve a page there.
    NotPreserved,
}

/// Which pages of the handover are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The root.
    Root,
    /// The chain of session blocks.
    Sessions,
    /// The chain of a session's file blocks.
    Files,
    /// The page of FLBs.
    Flbs,
    /// The root of the supplement.
    Supplement,
    /// The FLBs and subsystems together, which are read at boot.
    Early,
    /// The page of subsystems.
    Subsystems,
    /// The chain of records of files and dependencies.
    Records,
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Sessions => "session block",
            Self::Files => "file block",
            Self::Flbs => "FLB page",
            Self::Supplement => "supplement root",
            Self::Early => "FLBs and subsystems",
            Self::Subsystems => "subsystem page",
            Self::Records => "record block",
        })
    }
}

/// Why a handover is refused. Nothing of it was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The entry is shorter than a root.
    RootTooShort {
        /// Its length in bytes.
        len: usize,
    },
    /// The version string is another one.
    Version {
        /// The bytes in its place.
        found: [u8; 8],
    },
    /// An address does not lead to a preserved page.
    Page {
        /// The kind of page that should be there.
        area: Area,
        /// The address.
        address: u64,
        /// Its fault.
        why: PageError,
    },
    /// A page is reached twice: a loop, or two chains that share it.
    Revisited {
        /// The chain that reached it the second time.
        area: Area,
        /// Its address.
        address: u64,
    },
    /// A chain has more blocks than the format allows.
    ChainTooLong {
        /// The chain.
        area: Area,
    },
    /// A block's record count is 0 or more than fit.
    BlockCount {
        /// The chain.
        area: Area,
        /// The block's address.
        address: u64,
        /// The count it gives.
        count: u64,
    },
    /// A session's name is not one.
    SessionName(TextError),
    /// Two sessions have this name.
    DuplicateSession(SessionName),
    /// A session says that it has a number of files and has another.
    FileCount {
        /// The session.
        session: SessionName,
        /// The number that its record says.
        said: u64,
        /// The number that its blocks hold; counting stops above `said`.
        found: u64,
    },
    /// Two files of a session have this token.
    DuplicateToken {
        /// The session.
        session: SessionName,
        /// The token.
        token: u64,
    },
    /// The name of a file's handler is not one.
    HandlerName {
        /// The session.
        session: SessionName,
        /// The file's token.
        token: u64,
        /// Its fault.
        why: TextError,
    },
    /// Files name more handlers that are not here than a kernel can have.
    TooManyMissing {
        /// The session of the first file that names one too many.
        session: SessionName,
        /// The file's token.
        token: u64,
        /// The handler's name.
        handler: Compat,
        /// How many others are missing already.
        others: usize,
    },
    /// The FLB page's header gives impossible numbers.
    FlbHeader {
        /// Pages it claims to have.
        pages: u64,
        /// Records it claims to have.
        count: u64,
    },
    /// An FLB's name is not one.
    FlbName(TextError),
    /// Two FLBs have this name.
    DuplicateFlb(Compat),
    /// The version string of the supplement is another one.
    SupplementVersion {
        /// The bytes in its place.
        found: [u8; 16],
    },
    /// A checksum is wrong: something between the previous kernel's last word and
    /// here changed a byte.
    Checksum {
        /// The part of the handover that the checksum is over.
        area: Area,
        /// The checksum that was written.
        said: u64,
        /// The checksum of the bytes that were found.
        found: u64,
    },
    /// The supplement belongs to another update.
    SupplementUpdate {
        /// The update it says it belongs to.
        said: u64,
        /// The update that the root says it is.
        root: u64,
    },
    /// Subsystems or records are not as many as they say.
    SupplementCount {
        /// Which.
        area: Area,
        /// The number that the root says.
        said: u64,
        /// The number that was found.
        found: u64,
    },
    /// A subsystem's name is not one.
    SubsystemName(TextError),
    /// Two subsystems have this name.
    DuplicateSubsystem(Compat),
    /// A record says what none can.
    Record {
        /// Its place among the records.
        at: u64,
        /// Its kind.
        kind: u32,
        /// Its fault.
        why: BadRecord,
    },
    /// Files need themselves, by way of others.
    DependencyCycle {
        /// How many need each other, or what does.
        files: usize,
    },
    /// There was no memory to read it with at boot, when drivers had to know.
    NoMemory,
}

/// The fault of a record of a file, a dependency or a device session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecord {
    /// Its kind is not known.
    Kind,
    /// There is no such session.
    Session,
    /// There is no such file.
    File,
    /// The access is none.
    Access,
    /// It has no flag, or an unknown one.
    Flags,
    /// It says another owner of a session than the session's name.
    Owner,
    /// It gives no error, or none that there is.
    Error,
    /// A token of the device that no kernel before this one can have given, or
    /// that is there twice.
    Token,
    /// It says again what another one says.
    Duplicate,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => "has an unknown kind",
            Self::Session => "names no session",
            Self::File => "names no file",
            Self::Access => "gives an unknown access",
            Self::Flags => "has no flag that is known",
            Self::Owner => "gives an owner that the session's name does not give",
            Self::Error => "gives no error that there is",
            Self::Token => "has a device token that cannot be",
            Self::Duplicate => "says again what another one says",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RootTooShort { len } => {
                write!(f, "root of {len} bytes is too short")
            }
            Self::Version { found } => write!(
                f,
                "version \"{}\" instead of \"luo-v5\"",
                found.escape_ascii()
            ),
            Self::Page { area, address, why } => {
                let why = match why {
                    PageError::Unaligned => "is not the start of a page",
                    PageError::NotPreserved => "was not preserved",
                };
                write!(f, "{area} at {address:#x} {why}")
            }
            Self::Revisited { area, address } => {
                write!(f, "{area} at {address:#x} is linked twice")
            }
            Self::ChainTooLong { area } => write!(f, "chain of {area}s is too long"),
            Self::BlockCount {
                area,
                address,
                count,
            } => write!(f, "{area} at {address:#x} counts {count} records"),
            Self::SessionName(why) => write!(f, "a session name is {why}"),
            Self::DuplicateSession(name) => write!(f, "two sessions are named \"{name}\""),
            Self::FileCount {
                session,
                said,
                found,
            } => write!(
                f,
                "session \"{session}\" says {said} files, its blocks hold {found}"
            ),
            Self::DuplicateToken { session, token } => {
                write!(f, "session \"{session}\" has token {token:#x} twice")
            }
            Self::HandlerName {
                session,
                token,
                why,
            } => write!(
                f,
                "session \"{session}\", token {token:#x}: the handler's name is {why}"
            ),
            Self::TooManyMissing {
                session,
                token,
                handler,
                others,
            } => write!(
                f,
                "session \"{session}\", token {token:#x}: no handler \"{handler}\", and none of \
                 {others} others"
            ),
            Self::FlbHeader { pages, count } => {
                write!(f, "FLB page claims {pages} pages and {count} records")
            }
            Self::FlbName(why) => write!(f, "an FLB name is {why}"),
            Self::DuplicateFlb(name) => write!(f, "two FLBs are named \"{name}\""),
            Self::SupplementVersion { found } => write!(
                f,
                "supplement version \"{}\" instead of \"luo-contract-v1\"",
                found.escape_ascii()
            ),
            Self::Checksum { area, said, found } => write!(
                f,
                "checksum of the {area} is {said:#018x}, its bytes give {found:#018x}"
            ),
            Self::SupplementUpdate { said, root } => write!(
                f,
                "supplement root of update {said} beside the root of update {root}"
            ),
            Self::SupplementCount { area, said, found } => {
                write!(f, "{area}s say {said} records and hold {found}")
            }
            Self::SubsystemName(why) => write!(f, "a subsystem name is {why}"),
            Self::DuplicateSubsystem(name) => write!(f, "two subsystems are named \"{name}\""),
            Self::Record { at, kind, why } => write!(f, "record {at} of kind {kind} {why}"),
            Self::DependencyCycle { files } => {
                write!(f, "{files} files need themselves, by way of others")
            }
            Self::NoMemory => f.write_str("out of memory at boot"),
        }
    }
}
