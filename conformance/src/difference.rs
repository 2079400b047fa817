// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an implementation does otherwise, declared at the case and checked.

use core::fmt;

use luo_abi::calls::{CALLS, Origin};
use luo_sys::Errno;

use crate::check::{Absent, Lost, Mismatch, Unseen};
use crate::implementation::Implementation;

/// A declared difference.
#[derive(Clone, Copy, Debug)]
pub struct Differs {
    /// The implementation that differs.
    pub on: Implementation,
    /// What happens there instead.
    pub expect: Expect,
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.on, self.expect)
    }
}

/// What happens instead of what the case demands, each with the reason.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// A call that mainline lacks is not known: ENOTTY, or mainline's EINVAL
    /// for a number beyond its table.
    Missing(&'static str),
    /// A call is answered with this error.
    Answers(Errno, &'static str),
    /// A call that must be refused succeeds.
    Accepts(&'static str),
    /// A file, or something in it, is not there.
    Absent(&'static str),
    /// What happens cannot be seen from outside, such as that a call waits.
    Unseen(&'static str),
    /// Something does not outlive an update.
    Loses(&'static str),
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(why) => write!(f, "the call is missing: {why}"),
            Self::Answers(errno, why) => write!(f, "{errno}: {why}"),
            Self::Accepts(why) => write!(f, "it is accepted: {why}"),
            Self::Absent(why) => write!(f, "it is not there: {why}"),
            Self::Unseen(why) => write!(f, "it is not seen from outside: {why}"),
            Self::Loses(why) => write!(f, "it is lost: {why}"),
        }
    }
}

/// Whether mainline lacks a call, which `luo_sys` names in errors as the table does.
fn beyond_mainline(word: &str) -> bool {
    let mut calls = CALLS.iter();
    calls.any(|call| call.word == word && call.origin != Origin::Mainline)
}

impl Expect {
    /// The reason.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing(why)
            | Self::Answers(_, why)
            | Self::Accepts(why)
            | Self::Absent(why)
            | Self::Unseen(why)
            | Self::Loses(why) => why,
        }
    }

    /// Whether this is how a case went wrong.
    #[must_use]
    pub fn is(&self, error: &anyhow::Error) -> bool {
        let call = find::<luo_sys::Error>(error);
        match self {
            Self::Missing(_) => call.is_some_and(|call| {
                beyond_mainline(call.call())
                    && matches!(call.errno(), Errno::ENOTTY | Errno::EINVAL)
            }),
            Self::Answers(errno, _) => call.is_some_and(|call| call.errno() == *errno),
            Self::Accepts(_) => matches!(find(error), Some(Mismatch::Accepted { .. })),
            Self::Absent(_) => find::<Absent>(error).is_some(),
            Self::Unseen(_) => find::<Unseen>(error).is_some(),
            Self::Loses(_) => find::<Lost>(error).is_some(),
        }
    }
}

fn find<T: core::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&T> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// For tables: a call of this case is not in mainline.
pub(crate) const fn missing(reason: &'static str) -> Differs {
    Differs {
        on: Implementation::CKernel,
        expect: Expect::Missing(reason),
    }
}

/// For tables: mainline answers otherwise.
pub(crate) const fn answers(errno: Errno, reason: &'static str) -> Differs {
    Differs {
        on: Implementation::CKernel,
        expect: Expect::Answers(errno, reason),
    }
}

/// For tables: mainline does not refuse it.
pub(crate) const fn accepts(reason: &'static str) -> Differs {
    Differs {
        on: Implementation::CKernel,
        expect: Expect::Accepts(reason),
    }
}

/// For tables: mainline has no such file.
pub(crate) const fn absent(reason: &'static str) -> Differs {
    Differs {
        on: Implementation::CKernel,
        expect: Expect::Absent(reason),
    }
}

/// For tables: mainline loses it in an update.
pub(crate) const fn loses(reason: &'static str) -> Differs {
    Differs {
        on: Implementation::CKernel,
        expect: Expect::Loses(reason),
    }
}

/// For tables: the simulator differs.
pub(crate) const fn simulated(expect: Expect) -> Differs {
    Differs {
        on: Implementation::Simulator,
        expect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::refused;
    use anyhow::Context as _;

    /// An error of a call that mainline lacks, and of one that it has.
    fn errors() -> (luo_sys::Error, luo_sys::Error) {
        let null = || {
            let file = std::fs::File::open("/dev/null").unwrap();
            luo_sys::Device::from_fd(file.into())
        };
        let name = crate::check::name("x");
        (
            null().state().unwrap_err(),
            null().create_session(&name).unwrap_err(),
        )
    }

    #[test]
    fn only_what_mainline_lacks_can_be_missing() {
        let (lacking, known) = errors();
        let missing = Expect::Missing("");
        assert!(missing.is(&anyhow::Error::new(lacking).context("above")));
        assert!(!missing.is(&known.into()));
        assert!(!missing.is(&anyhow::anyhow!("something else")));
    }

    #[test]
    fn the_number_decides() {
        let (error, _) = errors();
        let wrong: anyhow::Error = refused::<()>(Err(error), Errno::EBUSY).unwrap_err();
        assert!(Expect::Answers(Errno::ENOTTY, "").is(&wrong));
        assert!(!Expect::Answers(Errno::EBUSY, "").is(&wrong));
        let accepted = refused(Ok(()), Errno::EBUSY).context("above").unwrap_err();
        assert!(Expect::Accepts("").is(&accepted));
        assert!(!Expect::Accepts("").is(&wrong));
    }
}
