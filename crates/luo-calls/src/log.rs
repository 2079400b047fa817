// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The lines of the log, in the same words for every host.

use luo_abi::rfc::{Event, State};
use luo_core::ops::{Count, Report};
use luo_core::{
    Actor, Compat, Error, Failure, FileName, Losses, Part, RootFields, SessionId, SessionName, Whom,
};

use crate::host::{CallHost, Level};

/// Boot: the previous kernel has left something.
pub fn admitted(host: &impl CallHost, root: &RootFields) {
    host.say(
        Level::Info,
        format_args!(
            "the previous kernel handed over, live update number {}",
            root.update_number
        ),
    );
    if let Some(losses) = root.supplement.map(|supplement| supplement.losses) {
        lost_in_all(host, &losses, "were lost in the update");
    }
}

/// A reboot goes on without something.
pub fn lost(host: &impl CallHost, why: &Failure) {
    host.say(Level::Error, format_args!("lost in the reboot: {why}"));
}

/// A reboot goes on without more than it has named.
pub fn lost_unnamed(host: &impl CallHost, part: Part, more: u64) {
    host.say(
        Level::Error,
        format_args!("lost in the reboot: {more} more of {part}, not named one by one"),
    );
}

/// All that a reboot has lost, in one line.
fn lost_in_all(host: &impl CallHost, losses: &Losses, when: &str) {
    if !losses.any() {
        return;
    }
    let unread = if losses.unread {
        ", and sessions that could not be read,"
    } else {
        ""
    };
    host.say(
        Level::Error,
        format_args!(
            "{}, {} and {}{unread} {when}",
            Count(losses.files, "file"),
            Count(losses.sessions, "session"),
            Count(losses.subsystems, "subsystem")
        ),
    );
}

/// The handover of the previous kernel is refused: says once what that means.
pub fn refused(host: &impl CallHost, why: &Error) {
    host.say(
        Level::Error,
        format_args!(
            "{why}; its memory stays quarantined until the next reboot, \
             and /dev/liveupdate says EIO"
        ),
    );
}

/// The previous kernel's sessions are there.
pub fn took_over(host: &impl CallHost, sessions: usize, files: usize) {
    host.say(
        Level::Info,
        format_args!("took over sessions: {sessions}, files: {files}"),
    );
}

/// Files have come whose handler is not here.
pub fn handler_is_missing(host: &impl CallHost, handler: &Compat, first: &FileName, more: usize) {
    host.say(
        Level::Warning,
        format_args!(
            "{first}, and {}, wait for handler \"{handler}\", which is not here: \
             load its module, or the next reboot loses them",
            Count(more, "more file")
        ),
    );
}

/// More handlers are missing than were named.
pub fn more_are_missing(host: &impl CallHost, handlers: usize) {
    host.say(
        Level::Warning,
        format_args!(
            "files wait for {}, not named one by one",
            Count(handlers, "more handler")
        ),
    );
}

/// A handler has come for which files have waited.
pub fn handler_has_come(host: &impl CallHost, handler: &Compat, files: usize) {
    host.say(
        Level::Info,
        format_args!("handler \"{handler}\" is here, for which files wait: {files}"),
    );
}

/// Users together have as much of something as they may. It is said once, because who
/// runs into it again and again must not fill the log.
pub(crate) fn users_over_quota(host: &impl CallHost, why: &Error) {
    if let Error::UsersOverQuota(quota) = why {
        let Some(most) = host.now(|engine| {
            let most = engine.quotas(Whom::Together).get(*quota);
            engine.tells_of_users(*quota).then_some(most)
        }) else {
            return;
        };
        host.say(
            Level::Warning,
            format_args!(
                "{why}: users_{quota} in /sys/kernel/liveupdate is {most}; more is EDQUOT for \
                 all of them, and is not said again"
            ),
        );
    }
}

/// A session that was closed before could not be finished now either.
pub(crate) fn still_pending(host: &impl CallHost, by: Actor, why: &Error) {
    let of = match by {
        Actor::Administrator => Part::Administrators,
        Actor::User(_) => Part::Users,
    };
    host.say_now_and_then(
        of,
        Level::Warning,
        format_args!("a closed session is not finished yet: {why}"),
    );
}

/// A session is closed and cannot be finished. Nobody but the log can be told.
pub(crate) fn closed_pending(host: &impl CallHost, of: Part, name: &SessionName, why: &Error) {
    host.say_now_and_then(
        of,
        Level::Warning,
        format_args!(
            "session \"{name}\" was closed but is not finished: {why}; \
             the first call on the next open of /dev/liveupdate tries again"
        ),
    );
}

/// A session could not be frozen before the others. The caller learns an errno; the log says by
/// which file. A refusal that names none is no news.
pub(crate) fn not_frozen(host: &impl CallHost, id: SessionId, why: &Error) {
    let named = matches!(
        why,
        Error::Veto { .. } | Error::NeededFirst { .. } | Error::Misses { .. }
    );
    if !named {
        return;
    }
    let (info, of) = host.now(|engine| (engine.session_info(id), engine.part_of_session(id)));
    if let Some((name, _)) = info {
        host.say_now_and_then(
            of,
            Level::Warning,
            format_args!("session \"{name}\" is not frozen: {why}"),
        );
    }
}

/// A transition has ended well, after so many microseconds.
pub fn ended(host: &impl CallHost, report: &Report, micros: u64) {
    host.say(Level::Info, format_args!("{report} in {micros} us"));
    if report.stuck > 0 {
        host.say(
            Level::Warning,
            format_args!(
                "not let go of by handlers, or needed by such: {}; \
                 the first call on each open of /dev/liveupdate tries again",
                Count(report.stuck, "file")
            ),
        );
    }
    if report.carried > 0 {
        host.say(
            Level::Info,
            format_args!(
                "carried on: {} that nobody has claimed",
                Count(report.carried, "session")
            ),
        );
    }
    if report.superseded > 0 {
        host.say(
            Level::Warning,
            format_args!(
                "given up for new sessions of the same name: {} that nobody has claimed",
                Count(report.superseded, "session")
            ),
        );
    }
    if report.lost > 0 {
        host.say(
            Level::Warning,
            format_args!(
                "left behind, because not finished: {} of the previous kernel",
                Count(report.lost, "session")
            ),
        );
    }
    lost_in_all(host, &report.losses, "do not reach the next kernel");
}

/// A transition has failed and is undone; the state is `state`. `event` is `None` for
/// what a reboot does.
pub fn failed(host: &impl CallHost, event: Option<Event>, state: State, why: &Failure) {
    let word = event.map_or("reboot", Event::word);
    host.say(
        Level::Warning,
        format_args!("{word} fails, {state} again: {why}"),
    );
    let is_refusal = matches!(
        why,
        Failure::Carry { .. } | Failure::Engine(Error::Refused(_))
    );
    if matches!(why, Failure::Image { .. }) {
        host.say(
            Level::Warning,
            format_args!(
                "load it with kexec_file_load (kexec -s); to reboot all the same and lose \
                 everything: echo boot > /sys/kernel/liveupdate/legacy"
            ),
        );
    }
    if event.is_none() && is_refusal {
        host.say(
            Level::Warning,
            format_args!(
                "to reboot all the same and lose it: echo lose > /sys/kernel/liveupdate/reboot"
            ),
        );
    }
}
