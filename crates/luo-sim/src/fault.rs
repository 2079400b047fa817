// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults on request: what goes wrong, at which step, and how.
//!
//! ```text
//! [BOOT/]STEP[:N]=ACTION          freeze:2=EBUSY   1/retrieve=EIO   kexec=crash
//! [BOOT/]handover=DAMAGE          handover=flip    handover=truncate:3
//! ```

mod due;
mod request;
#[cfg(test)]
mod tests;

use core::fmt;
use std::time::Duration;

use luo_abi::errno::Errno;

pub(crate) use self::due::{Asked, Faults};
pub use self::request::BadFault;

macro_rules! steps {
    ($($name:ident $word:literal $can_fail:literal $help:literal;)*) => {
        /// A place where something can go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Step {
            $(#[doc = $help] $name,)*
        }

        impl Step {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its word in requests.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it is.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)* }
            }

            /// Whether it can fail with an error number.
            #[must_use]
            pub const fn can_fail(self) -> bool {
                match self { $(Self::$name => $can_fail,)* }
            }
        }
    };
}

steps! {
    Boot "boot" false "the new kernel has booted, nothing is taken over yet";
    Call "call" true "a program's call of live update arrives";
    Reply "reply" false "it is done, and the program does not know yet";
    Page "page" true "a page for the next kernel is asked for";
    Preserve "preserve" true "a handler saves a file";
    Unpreserve "unpreserve" false "a handler undoes that";
    Freeze "freeze" true "a handler takes its last look at a file";
    Unfreeze "unfreeze" false "a handler undoes that";
    Retrieve "retrieve" true "a handler restores a file";
    CanFinish "can-finish" true "a handler is asked whether it lets a file go (any error: no)";
    Finish "finish" false "a handler lets a file go";
    SubsystemPrepare "subsystem-prepare" true "a subsystem gets ready";
    SubsystemFreeze "subsystem-freeze" true "a subsystem takes its last look";
    SubsystemCancel "subsystem-cancel" false "a subsystem undoes both";
    SubsystemFinish "subsystem-finish" false "a subsystem ends the update";
    Kexec "kexec" true "all is frozen, and the jump is next (an error: the jump fails)";
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It fails.
    Fail(Errno),
    /// Power is lost: every process ends, nothing is handed over.
    Crash,
    /// It takes longer.
    Delay(Duration),
}

/// What happens to what is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A bit is flipped: that one, counted over all pages up to the last byte in
    /// each that is not zero, or one that the seed chooses.
    Flip(Option<u64>),
    /// The pages from that one on are lost, in order of their addresses, or from
    /// one that the seed chooses.
    Truncate(Option<u64>),
}

/// Where, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    At(Step, Option<u64>, Action),
    Handover(Damage),
}

/// A fault that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    boot: Option<usize>,
    kind: Kind,
}

impl Fault {
    /// At the `n`-th time (from 1) of a step; `None` for every time. The times are
    /// counted anew in each boot.
    #[must_use]
    pub const fn at(step: Step, n: Option<u64>, action: Action) -> Self {
        Self {
            boot: None,
            kind: Kind::At(step, n, action),
        }
    }

    /// To what is handed over.
    #[must_use]
    pub const fn handover(damage: Damage) -> Self {
        Self {
            boot: None,
            kind: Kind::Handover(damage),
        }
    }

    /// In that boot only, counted from 0.
    #[must_use]
    pub const fn in_boot(mut self, boot: usize) -> Self {
        self.boot = Some(boot);
        self
    }
}

/// The list that `--fault help` prints.
#[derive(Clone, Copy, Debug)]
pub struct Help;

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "--fault [BOOT/]STEP[:N]=ACTION\n")?;
        writeln!(f, "BOOT counts from 0; without it, in each boot.")?;
        writeln!(
            f,
            "N is the time in that boot, from 1; '*' is each; 1 if left out.\n"
        )?;
        writeln!(f, "Steps ('!' can fail):")?;
        for step in Step::ALL {
            let mark = if step.can_fail() { '!' } else { ' ' };
            writeln!(f, "  {mark} {:18} {}", step.word(), step.help())?;
        }
        f.write_str(
            "\nActions:\n    \
             ERRNO              it fails: EBUSY, or 16\n    \
             crash              power is lost: all processes end, nothing is handed over\n    \
             delay:MS           it takes that many milliseconds longer\n\n\
             Damage to what is handed over:\n    \
             handover=flip[:BIT]        a bit is flipped; the seed chooses which\n    \
             handover=truncate[:PAGE]   pages are lost from that one on\n\n\
             Examples: freeze:2=EBUSY  1/retrieve=EIO  kexec=crash  handover=flip:100\n",
        )
    }
}
