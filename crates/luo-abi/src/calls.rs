// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! All calls that there are, as one table.
//!
//! [`CALLS`] says of each call its name, its number, the descriptor it is made on, its
//! argument, the states in which it is legal and the errors it may end with. Whatever
//! deals with calls reads it: the dispatcher of both hosts (`luo-calls`), the
//! simulator's trace, the fuzz targets, the behaviour tests, and `docs/calls.md`, which
//! is written from it.

mod kinds;

pub use self::kinds::{DescriptorKind, Entries, Form, On, Origin, When, Who};

use core::mem::{offset_of, size_of};

use crate::contract::{
    Dependency, DependencyInfo, Failure, FileInfo, Info, List, ParticipantInfo, SessionFreeze,
    SessionInfo, UnpreserveFd, ADD_DEPENDENCY, DROP_DEPENDENCY, GET_FAILURE, GET_INFO,
    LIST_DEPENDENCIES, LIST_FILES, LIST_INCOMING, LIST_OUTGOING, LIST_PARTICIPANTS, LIST_SESSIONS,
    SESSION_FREEZE, UNPRESERVE_FD,
};
use crate::errno::Errno;
use crate::rfc::{
    LiveupdateFd, State, EVENT_CANCEL, EVENT_FINISH, EVENT_FREEZE, EVENT_PREPARE, FD_PRESERVE,
    FD_RESTORE, FD_UNPRESERVE, GET_STATE,
};
use crate::uapi::{
    CreateSession, Finish, GetName, PreserveFd, RetrieveFd, RetrieveSession, CREATE_SESSION,
    RETRIEVE_SESSION, SESSION_FINISH, SESSION_GET_NAME, SESSION_PRESERVE_FD, SESSION_RETRIEVE_FD,
};

/// A call, for code that does something for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// [`CREATE_SESSION`].
    CreateSession,
    /// [`RETRIEVE_SESSION`].
    RetrieveSession,
    /// [`SESSION_PRESERVE_FD`].
    PreserveFd,
    /// [`SESSION_RETRIEVE_FD`].
    RetrieveFd,
    /// [`SESSION_FINISH`].
    Finish,
    /// [`SESSION_GET_NAME`].
    GetName,
    /// [`UNPRESERVE_FD`].
    UnpreserveFd,
    /// [`SESSION_FREEZE`].
    SessionFreeze,
    /// [`ADD_DEPENDENCY`].
    AddDependency,
    /// [`DROP_DEPENDENCY`].
    DropDependency,
    /// [`LIST_FILES`].
    ListFiles,
    /// [`LIST_DEPENDENCIES`].
    ListDependencies,
    /// [`LIST_SESSIONS`].
    ListSessions,
    /// [`LIST_PARTICIPANTS`].
    ListParticipants,
    /// [`GET_INFO`].
    GetInfo,
    /// [`GET_FAILURE`].
    GetFailure,
    /// [`FD_PRESERVE`].
    FdPreserve,
    /// [`FD_UNPRESERVE`].
    FdUnpreserve,
    /// [`FD_RESTORE`].
    FdRestore,
    /// [`GET_STATE`].
    GetState,
    /// [`EVENT_PREPARE`].
    EventPrepare,
    /// [`EVENT_FREEZE`].
    EventFreeze,
    /// [`EVENT_CANCEL`].
    EventCancel,
    /// [`EVENT_FINISH`].
    EventFinish,
}

const UNFIXED: &[State] = &[State::Normal, State::Updated];

/// A registration may change until everybody is asked to agree to it; later it is fixed until the
/// update is cancelled.
const REGISTERS: When = When::In(UNFIXED, Errno::EBUSY);

/// A preserved file may change; later, one that took part is fixed.
const CHANGES: When = When::OrLate(UNFIXED, Errno::EBUSY);

/// A session may be frozen before the others as long as they are not.
const FREEZES: When = When::OrLate(
    &[State::Normal, State::Prepared, State::Updated],
    Errno::EBUSY,
);

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// For code.
    pub name: Name,
    /// For people: messages, traces, documents.
    pub word: &'static str,
    /// The command's value.
    pub command: u32,
    /// The interface that it belongs to.
    pub origin: Origin,
    /// The descriptors that it can be made on.
    pub on: On,
    /// The programs that may make it.
    pub who: Who,
    /// Its argument.
    pub form: Form,
    /// When it is legal.
    pub when: When,
    /// The errors that it may end with beside what [`Self::form`], [`Self::when`] and
    /// [`Self::who`] imply.
    pub errors: &'static [Errno],
    /// Handlers or subsystems are asked, and an error of theirs is passed on as it is.
    pub asks: bool,
    /// It moves the whole machine to another state: it is made for all, not for who makes it.
    pub moves: bool,
    /// Where in the argument the number of the new descriptor is, if it gives one.
    pub gives: Option<usize>,
    /// The entries that it lists, if it lists.
    pub list: Option<Entries>,
    /// Its effect, as the end of a sentence that begins with its name.
    pub does: &'static str,
}

/// A call that nothing special is true of.
const fn call(name: Name, word: &'static str, command: u32, origin: Origin, on: On) -> Call {
    Call {
        name,
        word,
        command,
        origin,
        on,
        who: Who::Holder,
        form: Form::Nothing,
        when: When::Always,
        errors: &[],
        asks: false,
        moves: false,
        gives: None,
        list: None,
        does: "",
    }
}

/// All calls.
pub const CALLS: &[Call] = {
    use Errno as E;
    use Name as N;
    use On::{Both, Device, Session};
    use Origin::{Contract, Mainline, Rfc};
    &[
        Call {
            form: Form::sized::<CreateSession>(),
            errors: &[
                E::EBUSY,
                E::EINVAL,
                E::EEXIST,
                E::EMFILE,
                E::ENOSPC,
                E::ENAMETOOLONG,
                E::EDQUOT,
            ],
            gives: Some(offset_of!(CreateSession, fd)),
            does: "makes an outgoing session and gives its descriptor",
            ..call(
                N::CreateSession,
                "CREATE_SESSION",
                CREATE_SESSION,
                Mainline,
                Device,
            )
        },
        Call {
            form: Form::sized::<RetrieveSession>(),
            errors: &[E::EBUSY, E::ENOENT, E::EINVAL, E::EMFILE],
            gives: Some(offset_of!(RetrieveSession, fd)),
            does: "takes a session of the previous kernel by its name and gives its descriptor",
            ..call(
                N::RetrieveSession,
                "RETRIEVE_SESSION",
                RETRIEVE_SESSION,
                Mainline,
                Device,
            )
        },
        Call {
            form: Form::sized::<PreserveFd>(),
            errors: &[
                E::EINVAL,
                E::EBADF,
                E::ENOENT,
                E::EEXIST,
                E::EBUSY,
                E::ENOSPC,
                E::EDQUOT,
            ],
            asks: true,
            does: "preserves a file of the caller's under a token",
            ..call(
                N::PreserveFd,
                "PRESERVE_FD",
                SESSION_PRESERVE_FD,
                Mainline,
                Session,
            )
        },
        Call {
            form: Form::sized::<RetrieveFd>(),
            errors: &[
                E::EBUSY,
                E::EINVAL,
                E::ENOENT,
                E::EMFILE,
                E::ENOTRECOVERABLE,
                E::ENOTCONN,
                E::EAGAIN,
                E::ENOSPC,
            ],
            asks: true,
            gives: Some(offset_of!(RetrieveFd, fd)),
            does: "restores a file of the previous kernel and gives a descriptor of it",
            ..call(
                N::RetrieveFd,
                "RETRIEVE_FD",
                SESSION_RETRIEVE_FD,
                Mainline,
                Session,
            )
        },
        Call {
            form: Form::sized::<Finish>(),
            errors: &[E::EINVAL, E::EBUSY],
            does: "ends a session of the previous kernel and lets go of all its files",
            ..call(N::Finish, "FINISH", SESSION_FINISH, Mainline, Session)
        },
        Call {
            form: Form::sized::<GetName>(),
            errors: &[E::EINVAL],
            does: "tells the session's name, to a caller of the session's own user the short \
                   one",
            ..call(N::GetName, "GET_NAME", SESSION_GET_NAME, Mainline, Session)
        },
        Call {
            form: Form::sized::<UnpreserveFd>(),
            when: CHANGES,
            errors: &[E::EINVAL, E::ENOENT],
            does: "takes one file back out of an outgoing session",
            ..call(
                N::UnpreserveFd,
                "UNPRESERVE_FD",
                UNPRESERVE_FD,
                Contract,
                Session,
            )
        },
        Call {
            form: Form::sized::<SessionFreeze>(),
            when: FREEZES,
            errors: &[E::EINVAL, E::EBUSY, E::ENOLINK],
            asks: true,
            does: "freezes an outgoing session before the others; from then on it does not \
                   change, and no later freeze asks its handlers again",
            ..call(
                N::SessionFreeze,
                "SESSION_FREEZE",
                SESSION_FREEZE,
                Contract,
                Session,
            )
        },
        Call {
            form: Form::sized::<Dependency>(),
            when: CHANGES,
            errors: &[
                E::EINVAL,
                E::ENOENT,
                E::EEXIST,
                E::ELOOP,
                E::ENOSPC,
                E::EBADF,
                E::EACCES,
                E::ENAMETOOLONG,
                E::EDQUOT,
            ],
            does: "declares that a file needs another",
            ..call(
                N::AddDependency,
                "ADD_DEPENDENCY",
                ADD_DEPENDENCY,
                Contract,
                Both,
            )
        },
        Call {
            form: Form::sized::<Dependency>(),
            when: CHANGES,
            errors: &[E::EINVAL, E::ENOENT, E::EBADF],
            does: "takes such a declaration back",
            ..call(
                N::DropDependency,
                "DROP_DEPENDENCY",
                DROP_DEPENDENCY,
                Contract,
                Both,
            )
        },
        Call {
            form: Form::sized::<List>(),
            errors: &[E::EINVAL, E::ESTALE],
            list: Some(Entries::of::<FileInfo>().on_device(LIST_INCOMING)),
            does: "lists the files of a session, or of this open of the device; with \
                   LIST_INCOMING those that were registered on the device in the previous \
                   kernel",
            ..call(N::ListFiles, "LIST_FILES", LIST_FILES, Contract, Both)
        },
        Call {
            form: Form::sized::<List>(),
            errors: &[E::EINVAL, E::ENOENT, E::ESTALE],
            list: Some(Entries::of::<DependencyInfo>().of_file()),
            does: "lists what one file needs",
            ..call(
                N::ListDependencies,
                "LIST_DEPENDENCIES",
                LIST_DEPENDENCIES,
                Contract,
                Both,
            )
        },
        Call {
            form: Form::sized::<List>(),
            errors: &[E::EINVAL, E::ESTALE],
            list: Some(Entries::of::<SessionInfo>().on_device(LIST_OUTGOING | LIST_INCOMING)),
            does: "lists the sessions, of LIST_OUTGOING, of LIST_INCOMING, or all; without \
                   CAP_SYS_ADMIN those of the caller's user",
            ..call(
                N::ListSessions,
                "LIST_SESSIONS",
                LIST_SESSIONS,
                Contract,
                Device,
            )
        },
        Call {
            who: Who::Administrator,
            form: Form::sized::<List>(),
            errors: &[E::EINVAL],
            list: Some(Entries::of::<ParticipantInfo>()),
            does: "lists file handlers, FLBs and subsystems",
            ..call(
                N::ListParticipants,
                "LIST_PARTICIPANTS",
                LIST_PARTICIPANTS,
                Contract,
                Device,
            )
        },
        Call {
            form: Form::sized::<Info>(),
            does: "tells what this orchestrator is and how it stands; without CAP_SYS_ADMIN \
                   the counts are those of the caller's user, and nothing of what was lost",
            ..call(N::GetInfo, "GET_INFO", GET_INFO, Contract, Device)
        },
        Call {
            who: Who::Administrator,
            form: Form::sized::<Failure>(),
            does: "tells why the last transition failed",
            ..call(N::GetFailure, "GET_FAILURE", GET_FAILURE, Contract, Device)
        },
        Call {
            who: Who::Administrator,
            form: Form::Fixed(size_of::<LiveupdateFd>()),
            when: REGISTERS,
            errors: &[E::EINVAL, E::EBADF, E::ENOENT, E::EBUSY, E::ENOSPC],
            does: "registers a file of the caller's, to be preserved at prepare, and gives \
                   its token",
            ..call(N::FdPreserve, "FD_PRESERVE", FD_PRESERVE, Rfc, Device)
        },
        Call {
            who: Who::Administrator,
            form: Form::Fixed(size_of::<u64>()),
            when: REGISTERS,
            errors: &[E::ENOENT],
            does: "takes a registration back",
            ..call(N::FdUnpreserve, "FD_UNPRESERVE", FD_UNPRESERVE, Rfc, Device)
        },
        Call {
            who: Who::Administrator,
            form: Form::Fixed(size_of::<LiveupdateFd>()),
            when: When::In(&[State::Updated], E::EBUSY),
            errors: &[
                E::EINVAL,
                E::ENOENT,
                E::EMFILE,
                E::ENOTRECOVERABLE,
                E::ENOTCONN,
                E::EAGAIN,
                E::ENOSPC,
            ],
            asks: true,
            gives: Some(offset_of!(LiveupdateFd, fd)),
            does: "restores a file that was registered in the previous kernel and gives a \
                   descriptor of it",
            ..call(N::FdRestore, "FD_RESTORE", FD_RESTORE, Rfc, Device)
        },
        Call {
            form: Form::Fixed(size_of::<u32>()),
            does: "tells the state",
            ..call(N::GetState, "GET_STATE", GET_STATE, Rfc, Device)
        },
        Call {
            who: Who::Administrator,
            when: When::In(&[State::Normal], E::EINVAL),
            errors: &[E::ENOLINK, E::ENOSPC, E::EAGAIN, E::EBUSY],
            asks: true,
            moves: true,
            does: "asks everybody to get ready",
            ..call(N::EventPrepare, "EVENT_PREPARE", EVENT_PREPARE, Rfc, Device)
        },
        Call {
            who: Who::Administrator,
            when: When::In(&[State::Prepared], E::EINVAL),
            errors: &[E::ENOLINK, E::ENOSPC, E::EAGAIN, E::EBUSY],
            asks: true,
            moves: true,
            does: "is the last step before the kexec",
            ..call(N::EventFreeze, "EVENT_FREEZE", EVENT_FREEZE, Rfc, Device)
        },
        Call {
            who: Who::Administrator,
            when: When::In(&[State::Prepared, State::Frozen], E::EINVAL),
            errors: &[E::EAGAIN, E::EBUSY],
            moves: true,
            does: "undoes prepare, and freeze",
            ..call(N::EventCancel, "EVENT_CANCEL", EVENT_CANCEL, Rfc, Device)
        },
        Call {
            who: Who::Administrator,
            when: When::In(&[State::Updated], E::EINVAL),
            errors: &[E::EAGAIN, E::EBUSY],
            moves: true,
            does: "ends the update in the next kernel",
            ..call(N::EventFinish, "EVENT_FINISH", EVENT_FINISH, Rfc, Device)
        },
    ]
};

/// The errors that the first call on an open device can end with besides, whichever it is: before
/// it, the handover of the previous kernel is taken over. EIO if that was refused or a handler for
/// it is missing, EBUSY if it takes too long, EAGAIN for a caller that is killed while it waits.
pub const TAKE_OVER: [Errno; 3] = [Errno::EIO, Errno::EBUSY, Errno::EAGAIN];

impl Call {
    /// The call of a command, on whatever descriptor; `None` if there is none.
    #[must_use]
    pub fn of(command: u32) -> Option<&'static Self> {
        CALLS.iter().find(|call| call.command == command)
    }

    /// The call of a command on a descriptor of a kind.
    ///
    /// # Errors
    /// ENOTTY if a descriptor of this kind does not take it.
    pub fn on(command: u32, kind: DescriptorKind) -> Result<&'static Self, Errno> {
        let found = Self::of(command).filter(|call| call.on.takes(kind));
        found.ok_or(Errno::ENOTTY)
    }

    /// Whether the call can end with an error, other than that of a handler or of a
    /// subsystem, and other than [`TAKE_OVER`].
    #[must_use]
    pub fn may_answer(&self, errno: Errno) -> bool {
        let by_form = match self.form {
            Form::Nothing => false,
            Form::Fixed(_) => errno == Errno::EFAULT,
            Form::Sized { .. } => {
                matches!(errno, Errno::EFAULT | Errno::EINVAL | Errno::E2BIG)
            }
        };
        let by_state = matches!(
            self.when,
            When::In(_, refusal) | When::OrLate(_, refusal) if refusal == errno
        );
        let by_caller = self.who.refusal(false) == Some(errno);
        by_form || by_state || by_caller || errno == Errno::ENOMEM || self.errors.contains(&errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_a_word_and_a_number_each_mean_one_call() {
        for (at, call) in CALLS.iter().enumerate() {
            for other in &CALLS[..at] {
                assert_ne!(call.name, other.name);
                assert_ne!(call.word, other.word);
                assert_ne!(call.command, other.command);
            }
            assert!(!call.does.is_empty(), "{}", call.word);
        }
    }

    #[test]
    fn a_number_of_the_proposal_encodes_the_size_of_its_argument() {
        for call in CALLS {
            let encoded = (call.command >> 16) as usize & 0x3fff;
            match call.origin {
                Origin::Rfc => assert_eq!(encoded, call.form.known(), "{}", call.word),
                Origin::Mainline | Origin::Contract => {
                    assert_eq!(encoded, 0, "{}", call.word);
                    assert!(matches!(call.form, Form::Sized { .. }), "{}", call.word);
                }
            }
        }
    }

    #[test]
    fn a_call_is_found_on_the_descriptors_that_take_it() {
        let found = |command, kind| Call::on(command, kind).map(|call| call.name);
        assert_eq!(
            found(CREATE_SESSION, DescriptorKind::Device),
            Ok(Name::CreateSession)
        );
        assert_eq!(
            found(CREATE_SESSION, DescriptorKind::Session),
            Err(Errno::ENOTTY)
        );
        assert_eq!(
            found(SESSION_FINISH, DescriptorKind::Session),
            Ok(Name::Finish)
        );
        assert_eq!(
            found(SESSION_FINISH, DescriptorKind::Device),
            Err(Errno::ENOTTY)
        );
        assert_eq!(
            found(LIST_FILES, DescriptorKind::Device),
            Ok(Name::ListFiles)
        );
        assert_eq!(
            found(LIST_FILES, DescriptorKind::Session),
            Ok(Name::ListFiles)
        );
        assert_eq!(found(0xBA8A, DescriptorKind::Device), Err(Errno::ENOTTY));
    }

    #[test]
    fn the_errors_of_a_call_include_what_its_form_and_its_state_imply() {
        let prepare = Call::of(EVENT_PREPARE).unwrap();
        assert!(prepare.may_answer(Errno::EINVAL) && !prepare.may_answer(Errno::EFAULT));
        let restore = Call::of(FD_RESTORE).unwrap();
        assert!(restore.may_answer(Errno::EFAULT) && restore.may_answer(Errno::EBUSY));
        assert!(!restore.may_answer(Errno::E2BIG));
        let info = Call::of(GET_INFO).unwrap();
        assert!(info.may_answer(Errno::E2BIG) && !info.may_answer(Errno::EBUSY));
        assert_eq!(restore.when.refusal(State::Normal), Some(Errno::EBUSY));
        assert_eq!(restore.when.refusal(State::Updated), None);
    }
}
