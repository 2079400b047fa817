// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the processes of a supervised tree tell their supervisor.

/// The steps before the command is executed, as a message on the control socket:
/// one byte for the step, four for an error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Step {
    Listener = b'L',
    Ended = b'E',
    NoNewPrivileges = b'p',
    Filter = b'f',
    Fork = b'k',
    Send = b's',
    Limit = b'l',
}

impl Step {
    const FAILURES: [(Self, &'static str); 5] = [
        (Self::NoNewPrivileges, "prctl(PR_SET_NO_NEW_PRIVS)"),
        (Self::Filter, "seccomp(SET_MODE_FILTER, NEW_LISTENER)"),
        (Self::Fork, "clone"),
        (Self::Send, "sendmsg"),
        (Self::Limit, "setrlimit(RLIMIT_NOFILE)"),
    ];

    pub(super) fn of_failure(byte: u8) -> Option<&'static str> {
        let found = Self::FAILURES.iter().find(|(step, _)| *step as u8 == byte);
        found.map(|&(_, call)| call)
    }
}

pub(super) const MESSAGE: usize = 5;

pub(super) fn message(step: Step, number: i32) -> [u8; MESSAGE] {
    let [a, b, c, d] = number.to_ne_bytes();
    [step as u8, a, b, c, d]
}
