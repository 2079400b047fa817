// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every errno of every call: the table is the code.
//!
//! A row says under which condition a call is refused, and with what; then the
//! [`Setting`] in which it is tried, and how. It is tried twice, because what was
//! refused has changed nothing. Elsewhere: what opening the device is refused with
//! (topic `device`), commands that are not known (`calls`), sizes (`extension`), and
//! EAGAIN of who is killed while waiting for an event (`waiting`).

mod odd;
mod stage;

use std::os::fd::AsRawFd as _;

use luo_abi::{contract, rfc, uapi};
use luo_sys::{Errno, Needed, Token, raw};

use self::odd::by_descriptor;
use self::stage::{
    CLAIMED, CLAIMED_EXHAUSTED, CONTRACT, CONTRACT_CLAIMED, EXHAUSTED, FROZEN, HANDED_OVER, NORMAL,
    PREPARED, RFC, Setting, UNCLAIMED, UNCLAIMED_EXHAUSTED, UPDATED, UPDATED_EXHAUSTED, failing,
    leave, refuse,
};
use crate::case::{Case, Step, here, shared};
use crate::check::name;
use crate::difference::{Differs, answers};
use crate::forge::{Fault, ODD};

const fn row(name: &'static str, setting: Setting, before: Step, tried: Step) -> Case {
    let case = match setting.over_a_kexec() {
        true => shared(name, before, tried),
        false => here(name, tried),
    };
    case.but(setting.lacking())
}

macro_rules! table {
    ($($call:ident {
        $($condition:literal $errno:ident $setting:expr, $how:expr $(, $but:expr)?;)+
    })+) => {
        pub(super) const CASES: &[Case] = &[$($(
            row(
                concat!(stringify!($call), "-", $condition, "-is-", stringify!($errno)),
                $setting,
                |context| leave(context, $setting),
                |context| refuse(context, $setting, Errno::$errno, $how),
            )
            $(.but($but))?,
        )+)+];
    };
}

/// What mainline does if it cannot answer shows at the second attempt.
const KEEPS: &[Differs] = &[answers(
    Errno::EEXIST,
    "mainline keeps the file preserved after an answer that failed",
)];

const LOSES: &[Differs] = &[answers(
    Errno::ENOENT,
    "mainline finishes a session that it could not give out",
)];

table! {
    CREATE_SESSION {
        "no-name" EINVAL NORMAL, |s| s.named(uapi::CREATE_SESSION, &[0; 64]);
        "name-without-end" EINVAL NORMAL, |s| s.named(uapi::CREATE_SESSION, &[b'x'; 64]);
        "name-taken" EEXIST NORMAL,
            |s| s.device.create_session(&name("outgoing")).map(drop);
        "no-descriptor" EMFILE EXHAUSTED,
            |s| s.device.create_session(&name("new")).map(drop);
        "bad-address" EFAULT NORMAL, |s| s.nowhere(&s.device, uapi::CREATE_SESSION);
        "no-answer" EFAULT NORMAL,
            |s| s.named_unanswered(uapi::CREATE_SESSION, &name("new"));
    }
    RETRIEVE_SESSION {
        "no-name" ENOENT NORMAL, |s| s.named(uapi::RETRIEVE_SESSION, &[0; 64]);
        "name-without-end" ENOENT NORMAL, |s| s.named(uapi::RETRIEVE_SESSION, &[b'x'; 64]);
        "name-unknown" ENOENT NORMAL,
            |s| s.device.retrieve_session(&name("nobody")).map(drop);
        "name-of-an-outgoing" ENOENT NORMAL,
            |s| s.device.retrieve_session(&name("outgoing")).map(drop);
        "retrieved" EINVAL CLAIMED, |s| s.device.retrieve_session(&s.incoming).map(drop);
        "no-descriptor" EMFILE UNCLAIMED_EXHAUSTED,
            |s| s.device.retrieve_session(&s.incoming).map(drop);
        "bad-address" EFAULT NORMAL, |s| s.nowhere(&s.device, uapi::RETRIEVE_SESSION);
        "no-answer" EFAULT UNCLAIMED,
            |s| s.named_unanswered(uapi::RETRIEVE_SESSION, &s.incoming), LOSES;
    }
    PRESERVE_FD {
        "incoming" EINVAL CLAIMED, |s| s.session.preserve_fd(&s.free, Token(3));
        "not-open" EBADF NORMAL, |s| s.on_file(uapi::SESSION_PRESERVE_FD, 999_999, 3);
        "negative" EBADF NORMAL, |s| s.on_file(uapi::SESSION_PRESERVE_FD, -1, 3);
        "path" EBADF NORMAL, |s| s.session.preserve_fd(&s.path, Token(3));
        "no-handler" ENOENT NORMAL, |s| s.session.preserve_fd(&s.null, Token(3));
        "token-taken" EEXIST NORMAL, |s| s.session.preserve_fd(&s.free, Token(1));
        "preserved" EBUSY NORMAL, |s| s.session.preserve_fd(&s.preserved, Token(3));
        "registered" EBUSY RFC, |s| s.session.preserve_fd(&s.registered, Token(3));
        "handler-fails" EFBIG failing(NORMAL, Fault::Preserve(ODD)),
            |s| s.session.preserve_fd(&s.registered, Token(3));
        "bad-address" EFAULT NORMAL, |s| s.nowhere(&s.session, uapi::SESSION_PRESERVE_FD);
        "no-answer" EFAULT NORMAL,
            |s| s.on_file_unanswered(uapi::SESSION_PRESERVE_FD, s.free.as_raw_fd(), 3), KEEPS;
    }
    RETRIEVE_FD {
        "outgoing" EINVAL NORMAL, |s| s.session.retrieve_fd(Token(1)).map(drop);
        "token-unknown" ENOENT CLAIMED, |s| s.session.retrieve_fd(Token(3)).map(drop);
        "finished" ENOENT CLAIMED, |s| {
            s.session.finish()?;
            s.session.retrieve_fd(Token(1)).map(drop)
        };
        "no-descriptor" EMFILE CLAIMED_EXHAUSTED,
            |s| s.session.retrieve_fd(Token(1)).map(drop);
        "handler-fails" EFBIG failing(CLAIMED, Fault::Retrieve(ODD)),
            |s| s.session.retrieve_fd(HANDED_OVER).map(drop);
        "bad-address" EFAULT CLAIMED, |s| s.nowhere(&s.session, uapi::SESSION_RETRIEVE_FD);
        "no-answer" EFAULT CLAIMED,
            |s| s.on_file_unanswered(uapi::SESSION_RETRIEVE_FD, 0, 1);
    }
    FINISH {
        "outgoing" EINVAL NORMAL, |s| s.session.finish();
        "reserved" EINVAL CLAIMED,
            |s| s.reserved(uapi::SESSION_FINISH, 8);
        "handler-refuses" EBUSY failing(CLAIMED, Fault::FinishRefusals(9)),
            |s| s.session.finish();
        "bad-address" EFAULT CLAIMED, |s| s.nowhere(&s.session, uapi::SESSION_FINISH);
    }
    GET_NAME {
        "reserved" EINVAL NORMAL, |s| s.reserved(uapi::SESSION_GET_NAME, 72);
        "bad-address" EFAULT NORMAL, |s| s.nowhere(&s.session, uapi::SESSION_GET_NAME);
        "no-answer" EFAULT NORMAL, |s| {
            let mut argument = [0; 72];
            argument[0] = 72;
            raw::ioctl_read_only(&s.session, uapi::SESSION_GET_NAME, &argument).map(drop)
        };
    }
    FD_PRESERVE {
        "flags" EINVAL RFC, |s| s.rfc(rfc::FD_PRESERVE, s.free.as_raw_fd(), 1);
        "not-open" EBADF RFC, |s| s.rfc(rfc::FD_PRESERVE, 999_999, 0);
        "negative" EBADF RFC, |s| s.rfc(rfc::FD_PRESERVE, -1, 0);
        "path" EBADF RFC, |s| s.device.fd_preserve(&s.path).map(drop);
        "no-handler" ENOENT RFC, |s| s.device.fd_preserve(&s.null).map(drop);
        "registered" EBUSY RFC, |s| s.device.fd_preserve(&s.registered).map(drop);
        "preserved" EBUSY RFC, |s| s.device.fd_preserve(&s.preserved).map(drop);
        "prepared" EBUSY PREPARED, |s| s.device.fd_preserve(&s.free).map(drop);
        "frozen" EBUSY FROZEN, |s| s.device.fd_preserve(&s.free).map(drop);
        "bad-address" EFAULT RFC, |s| s.nowhere(&s.device, rfc::FD_PRESERVE);
        "no-answer" EFAULT RFC, |s| s.rfc_unanswered(rfc::FD_PRESERVE);
    }
    FD_UNPRESERVE {
        "token-unknown" ENOENT RFC, |s| s.device.fd_unpreserve(Token(u64::MAX));
        "token-of-a-session" ENOENT RFC, |s| s.device.fd_unpreserve(Token(9));
        "token-of-the-previous-kernel" ENOENT UPDATED, |s| s.device.fd_unpreserve(s.token);
        "prepared" EBUSY PREPARED, |s| s.device.fd_unpreserve(s.token);
        "frozen" EBUSY FROZEN, |s| s.device.fd_unpreserve(s.token);
        "bad-address" EFAULT RFC, |s| s.nowhere(&s.device, rfc::FD_UNPRESERVE);
    }
    FD_RESTORE {
        "normal" EBUSY RFC, |s| s.device.fd_restore(s.token).map(drop);
        "prepared" EBUSY PREPARED, |s| s.device.fd_restore(s.token).map(drop);
        "frozen" EBUSY FROZEN, |s| s.device.fd_restore(s.token).map(drop);
        "token-unknown" ENOENT UPDATED, |s| s.device.fd_restore(Token(u64::MAX)).map(drop);
        "restored" EINVAL UPDATED, |s| {
            // The first time it succeeds.
            let _ = s.device.fd_restore(s.token);
            s.device.fd_restore(s.token).map(drop)
        };
        "flags" EINVAL UPDATED, |s| s.rfc(rfc::FD_RESTORE, -1, 1);
        "no-descriptor" EMFILE UPDATED_EXHAUSTED,
            |s| s.device.fd_restore(s.token).map(drop);
        "handler-fails" EFBIG failing(UPDATED, Fault::Retrieve(ODD)),
            |s| s.device.fd_restore(s.token).map(drop);
        "bad-address" EFAULT UPDATED, |s| s.nowhere(&s.device, rfc::FD_RESTORE);
        "no-answer" EFAULT UPDATED, |s| s.rfc_unanswered(rfc::FD_RESTORE);
    }
    GET_STATE {
        "bad-address" EFAULT RFC, |s| s.nowhere(&s.device, rfc::GET_STATE);
        "no-answer" EFAULT RFC,
            |s| raw::ioctl_read_only(&s.device, rfc::GET_STATE, &[0; 4]).map(drop);
    }
    EVENT_PREPARE {
        "prepared" EINVAL PREPARED, |s| s.device.prepare();
        "frozen" EINVAL FROZEN, |s| s.device.prepare();
        "updated" EINVAL UPDATED, |s| s.device.prepare();
        "handler-fails" EFBIG failing(RFC, Fault::Preserve(ODD)), |s| s.device.prepare();
        "dependency-missing" ENOLINK CONTRACT, |s| {
            // The second time it is missing already.
            let _ = s.session.add_dependency(Token(1), Needed::Here(Token(2)));
            let _ = s.session.unpreserve_fd(Token(2));
            s.device.prepare()
        };
    }
    EVENT_FREEZE {
        "normal" EINVAL RFC, |s| s.device.freeze();
        "frozen" EINVAL FROZEN, |s| s.device.freeze();
        "updated" EINVAL UPDATED, |s| s.device.freeze();
        "handler-fails" EFBIG failing(RFC, Fault::Freeze(ODD)), |s| {
            s.device.prepare()?;
            s.device.freeze()
        };
    }
    EVENT_CANCEL {
        "normal" EINVAL RFC, |s| s.device.cancel();
        "updated" EINVAL UPDATED, |s| s.device.cancel();
    }
    EVENT_FINISH {
        "normal" EINVAL RFC, |s| s.device.finish_update();
        "prepared" EINVAL PREPARED, |s| s.device.finish_update();
        "frozen" EINVAL FROZEN, |s| s.device.finish_update();
    }
    UNPRESERVE_FD {
        "reserved" EINVAL CONTRACT, |s| s.on_file(contract::UNPRESERVE_FD, 1, 1);
        "incoming" EINVAL CONTRACT_CLAIMED, |s| s.session.unpreserve_fd(Token(1));
        "token-unknown" ENOENT CONTRACT, |s| s.session.unpreserve_fd(Token(3));
        "prepared" EBUSY PREPARED, |s| s.session.unpreserve_fd(Token(1));
        "frozen" EBUSY FROZEN, |s| s.session.unpreserve_fd(Token(1));
        "bad-address" EFAULT CONTRACT, |s| s.nowhere(&s.session, contract::UNPRESERVE_FD);
    }
    SESSION_FREEZE {
        "reserved" EINVAL CONTRACT, |s| s.reserved(contract::SESSION_FREEZE, 8);
        "incoming" EINVAL CONTRACT_CLAIMED, |s| s.session.freeze();
        "frozen" EBUSY CONTRACT, |s| {
            // The second time it is frozen already.
            let _ = s.session.freeze();
            s.session.freeze()
        };
        "all-frozen" EBUSY FROZEN, |s| s.session.freeze();
        "dependency-missing" ENOLINK CONTRACT, |s| {
            let _ = s.session.add_dependency(Token(1), Needed::Here(Token(2)));
            let _ = s.session.unpreserve_fd(Token(2));
            s.session.freeze()
        };
        "handler-fails" EFBIG failing(CONTRACT, Fault::Freeze(ODD)), |s| {
            let _ = s.session.preserve_fd(&s.registered, Token(3));
            s.session.freeze()
        };
        "bad-address" EFAULT CONTRACT, |s| s.nowhere(&s.session, contract::SESSION_FREEZE);
        "no-answer" EFAULT CONTRACT, |s| s.freeze_unanswered();
    }
    ADD_DEPENDENCY {
        "flags" EINVAL CONTRACT,
            |s| s.dependency(contract::ADD_DEPENDENCY, |odd| odd.flags = 4);
        "reserved" EINVAL CONTRACT,
            |s| s.dependency(contract::ADD_DEPENDENCY, |odd| odd.reserved = 1);
        "descriptor-without-flag" EINVAL CONTRACT,
            |s| s.dependency(contract::ADD_DEPENDENCY, |odd| odd.session_fd = 3);
        "no-descriptor" EBADF CONTRACT,
            |s| s.dependency(contract::ADD_DEPENDENCY, by_descriptor(-1));
        "no-session" EINVAL CONTRACT,
            |s| s.dependency(contract::ADD_DEPENDENCY, by_descriptor(0));
        "name-without-end" EINVAL CONTRACT,
            |s| s.dependency(contract::ADD_DEPENDENCY, |odd| odd.on_session = [b'x'; 64]);
        "session-and-device" EINVAL CONTRACT,
            |s| s.dependency(contract::ADD_DEPENDENCY, |odd| {
            odd.flags = contract::DEPENDENCY_ON_DEVICE;
            odd.on_session = *name("outgoing").as_field();
        });
        "incoming" EINVAL CONTRACT_CLAIMED,
            |s| s.session.add_dependency(Token(1), Needed::Here(Token(2)));
        "token-unknown" ENOENT CONTRACT,
            |s| s.session.add_dependency(Token(3), Needed::Here(Token(1)));
        "needed-unknown" ENOENT CONTRACT,
            |s| s.session.add_dependency(Token(1), Needed::Here(Token(3)));
        "session-unknown" ENOENT CONTRACT,
            |s| s.session.add_dependency(Token(1), Needed::In(name("nobody"), Token(1)));
        "not-on-the-device" ENOENT CONTRACT,
            |s| s.session.add_dependency(Token(1), Needed::OnDevice(Token(9)));
        "itself" ELOOP CONTRACT,
            |s| s.session.add_dependency(Token(1), Needed::Here(Token(1)));
        "circle" ELOOP CONTRACT, |s| {
            let _ = s.session.add_dependency(Token(1), Needed::Here(Token(2)));
            s.session.add_dependency(Token(2), Needed::Here(Token(1)))
        };
        "declared" EEXIST CONTRACT, |s| {
            let _ = s.session.add_dependency(Token(1), Needed::Here(Token(2)));
            s.session.add_dependency(Token(1), Needed::Here(Token(2)))
        };
        "prepared" EBUSY PREPARED,
            |s| s.session.add_dependency(Token(1), Needed::Here(Token(2)));
        "frozen" EBUSY FROZEN,
            |s| s.session.add_dependency(Token(1), Needed::Here(Token(2)));
        "bad-address" EFAULT CONTRACT, |s| s.nowhere(&s.session, contract::ADD_DEPENDENCY);
    }
    DROP_DEPENDENCY {
        "flags" EINVAL CONTRACT,
            |s| s.dependency(contract::DROP_DEPENDENCY, |odd| odd.flags = 4);
        "reserved" EINVAL CONTRACT,
            |s| s.dependency(contract::DROP_DEPENDENCY, |odd| odd.reserved = 1);
        "descriptor-without-flag" EINVAL CONTRACT,
            |s| s.dependency(contract::DROP_DEPENDENCY, |odd| odd.session_fd = 3);
        "no-descriptor" EBADF CONTRACT,
            |s| s.dependency(contract::DROP_DEPENDENCY, by_descriptor(-1));
        "no-session" EINVAL CONTRACT,
            |s| s.dependency(contract::DROP_DEPENDENCY, by_descriptor(0));
        "incoming" EINVAL CONTRACT_CLAIMED,
            |s| s.session.drop_dependency(Token(1), Needed::Here(Token(2)));
        "token-unknown" ENOENT CONTRACT,
            |s| s.session.drop_dependency(Token(3), Needed::Here(Token(1)));
        "not-declared" ENOENT CONTRACT,
            |s| s.session.drop_dependency(Token(1), Needed::Here(Token(2)));
        "prepared" EBUSY PREPARED,
            |s| s.session.drop_dependency(Token(1), Needed::Here(Token(2)));
        "frozen" EBUSY FROZEN,
            |s| s.session.drop_dependency(Token(1), Needed::Here(Token(2)));
        "bad-address" EFAULT CONTRACT, |s| s.nowhere(&s.session, contract::DROP_DEPENDENCY);
    }
    LIST_FILES {
        "flags" EINVAL CONTRACT,
            |s| s.list(&s.session, contract::LIST_FILES, |odd| odd.flags = 4);
        "reserved" EINVAL CONTRACT,
            |s| s.list(&s.session, contract::LIST_FILES, |odd| odd.reserved = 1);
        "token" EINVAL CONTRACT,
            |s| s.list(&s.session, contract::LIST_FILES, |odd| odd.token = 1);
        "short-entries" EINVAL CONTRACT,
            |s| s.list(&s.session, contract::LIST_FILES, |odd| odd.entry_size = 79);
        "entries-nowhere" EFAULT CONTRACT,
            |s| s.list_nowhere(&s.session, contract::LIST_FILES);
        "bad-address" EFAULT CONTRACT, |s| s.nowhere(&s.session, contract::LIST_FILES);
        "cursor-gone" ESTALE CONTRACT,
            |s| s.list(&s.session, contract::LIST_FILES, |odd| odd.cursor = u64::MAX);
        "arrived-in-a-session" EINVAL CONTRACT, |s| {
            s.list(&s.session, contract::LIST_FILES, |odd| odd.flags = contract::LIST_INCOMING)
        };
        "outgoing-of-the-device" EINVAL CONTRACT, |s| {
            s.list(&s.device, contract::LIST_FILES, |odd| odd.flags = contract::LIST_OUTGOING)
        };
        "arrived-with-a-token" EINVAL CONTRACT,
            |s| s.list_arrived(|odd| odd.token = 1);
        "arrived-in-short-entries" EINVAL CONTRACT,
            |s| s.list_arrived(|odd| odd.entry_size = 79);
        "arrived-and-cursor-gone" ESTALE CONTRACT,
            |s| s.list_arrived(|odd| odd.cursor = u64::MAX);
    }
    LIST_DEPENDENCIES {
        "token-unknown" ENOENT CONTRACT,
            |s| s.session.list_dependencies(Token(3)).map(drop);
        "flags" EINVAL CONTRACT, |s| s.list(&s.session, contract::LIST_DEPENDENCIES, |odd| {
            odd.token = 1;
            odd.flags = 1;
        });
        "short-entries" EINVAL CONTRACT,
            |s| s.list(&s.session, contract::LIST_DEPENDENCIES, |odd| {
            odd.token = 1;
            odd.entry_size = 79;
        });
        "bad-address" EFAULT CONTRACT,
            |s| s.nowhere(&s.session, contract::LIST_DEPENDENCIES);
        "cursor-gone" ESTALE CONTRACT, |s| s.list(&s.session, contract::LIST_DEPENDENCIES, |odd| {
            odd.token = 1;
            odd.cursor = u64::MAX;
        });
    }
    LIST_SESSIONS {
        "flags" EINVAL CONTRACT,
            |s| s.list(&s.device, contract::LIST_SESSIONS, |odd| odd.flags = 4);
        "reserved" EINVAL CONTRACT,
            |s| s.list(&s.device, contract::LIST_SESSIONS, |odd| odd.reserved = 1);
        "token" EINVAL CONTRACT,
            |s| s.list(&s.device, contract::LIST_SESSIONS, |odd| odd.token = 1);
        "short-entries" EINVAL CONTRACT,
            |s| s.list(&s.device, contract::LIST_SESSIONS, |odd| odd.entry_size = 95);
        "entries-nowhere" EFAULT CONTRACT,
            |s| s.list_nowhere(&s.device, contract::LIST_SESSIONS);
        "bad-address" EFAULT CONTRACT, |s| s.nowhere(&s.device, contract::LIST_SESSIONS);
        "cursor-gone" ESTALE CONTRACT,
            |s| s.list(&s.device, contract::LIST_SESSIONS, |odd| odd.cursor = u64::MAX);
    }
    LIST_PARTICIPANTS {
        "flags" EINVAL CONTRACT,
            |s| s.list(&s.device, contract::LIST_PARTICIPANTS, |odd| odd.flags = 1);
        "reserved" EINVAL CONTRACT,
            |s| s.list(&s.device, contract::LIST_PARTICIPANTS, |odd| odd.reserved = 1);
        "short-entries" EINVAL CONTRACT,
            |s| s.list(&s.device, contract::LIST_PARTICIPANTS, |odd| odd.entry_size = 63);
        "entries-nowhere" EFAULT CONTRACT,
            |s| s.list_nowhere(&s.device, contract::LIST_PARTICIPANTS);
        "bad-address" EFAULT CONTRACT,
            |s| s.nowhere(&s.device, contract::LIST_PARTICIPANTS);
    }
    GET_INFO {
        "bad-address" EFAULT CONTRACT, |s| s.nowhere(&s.device, contract::GET_INFO);
        "no-answer" EFAULT CONTRACT,
            |s| raw::ioctl_read_only(&s.device, contract::GET_INFO, &[184, 0, 0, 0]).map(drop);
    }
    GET_FAILURE {
        "bad-address" EFAULT CONTRACT, |s| s.nowhere(&s.device, contract::GET_FAILURE);
        "no-answer" EFAULT CONTRACT,
            |s| raw::ioctl_read_only(&s.device, contract::GET_FAILURE, &[224, 0, 0, 0]).map(drop);
    }
}
