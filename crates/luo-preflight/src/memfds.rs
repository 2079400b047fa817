// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which handlers of memfds the two kernels have: what is lost of a memfd, and what memory
//! it takes to preserve one, depends on that.

use luo_varlink::Check;

use crate::check::ok;
use crate::image::Contents;

/// The handler that gives memfds back as they were. A kernel that has it reads and writes
/// mainline's format as well, and hands over behind that what mainline's handler does not
/// know.
pub const OWN: &str = "luo-memfd-v1";

/// Which handlers of memfds the two kernels have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memfds {
    /// Whether the running kernel has [`OWN`].
    pub here: bool,
    /// Whether the kernel to jump into has it; `None` if that is not known.
    pub there: Option<bool>,
}

impl Memfds {
    /// By the handlers that the running kernel says it has, and what stands in the image of
    /// the other. A kernel that does not say which it has is one without it.
    #[must_use]
    pub fn of(handlers: Option<&[String]>, image: Option<&Contents>) -> Self {
        Self {
            here: handlers.is_some_and(|all| all.iter().any(|handler| handler == OWN)),
            there: image.map(|contents| contents.strings.contains(OWN)),
        }
    }

    /// Whether a memfd comes back as it was; `None` if that is not known.
    #[must_use]
    pub const fn exactly(&self) -> Option<bool> {
        match (self.here, self.there) {
            (true, there) => there,
            (false, _) => Some(false),
        }
    }
}

/// The check that is fine where memfds come back as they were.
pub const CHECK: &str = "target-memfds";

impl Memfds {
    /// Says that the target reads memfds in runs, if it does: then they are handed over so.
    #[must_use]
    pub fn check(&self) -> Option<Check> {
        let found = format!("the target has {OWN}: memfds come back as they were, and fast");
        (self.exactly() == Some(true)).then(|| ok(CHECK, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kernels_have_to_have_it() {
        let ours = ["memfd-v2".to_owned(), OWN.to_owned()];
        let mainlines = ["memfd-v2".to_owned()];
        let with = Contents {
            strings: [OWN.to_owned()].into(),
            ..Contents::default()
        };
        let without = Contents::default();
        let exactly = |handlers, image| Memfds::of(handlers, image).exactly();
        assert_eq!(exactly(Some(&ours[..]), Some(&with)), Some(true));
        assert_eq!(exactly(Some(&ours[..]), Some(&without)), Some(false));
        assert_eq!(exactly(Some(&ours[..]), None), None);
        assert_eq!(exactly(Some(&mainlines[..]), Some(&with)), Some(false));
        assert_eq!(exactly(None, None), Some(false));
    }
}
