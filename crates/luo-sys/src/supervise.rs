// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting a tree of processes whose system calls arrive at a [`Listener`].
//!
//! ```text
//! this process
//!   '-- init     adopts and reaps every orphan of the tree, reports how the
//!        |       command ended, and ends when nobody is left
//!        '-- the command, under the filter, as are all its descendants
//! ```
//!
//! The init is what keeps the tree together: whatever daemonises stays below it,
//! so that all of it can be found, and be looked into where only ancestors may. It
//! hears of the end of this process, whatever ends it, by the socket between the two,
//! and ends all that is below it then.

mod init;
mod orphans;
mod step;

use core::mem::MaybeUninit;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use self::step::{MESSAGE, Step, message};
use crate::error::{Error, Result};
use crate::seccomp::{Instruction, Listener};

/// A tree of supervised processes. All of them are killed when this is dropped, and
/// when this process ends, by whatever.
#[derive(Debug)]
pub struct Tree {
    /// The init.
    pub init: Child,
    /// Where the calls of all others arrive.
    pub listener: Arc<Listener>,
    control: UnixStream,
}

/// Why a tree could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Supervision itself is not possible: the step that failed.
    #[error("{0}")]
    Supervision(Error),
    /// The command cannot be executed.
    #[error("{0}")]
    Command(#[from] io::Error),
}

/// How many descriptors a process may have: now, and at most.
pub type DescriptorLimit = rustix::process::Rlimit;

/// Starts `command` under `filter`, with a limit of descriptors of its own.
///
/// If the thread that calls this has descriptors of its own it must outlive the tree:
/// the tree is killed when they are closed.
///
/// # Errors
/// [`SpawnError`]; nothing is left behind.
pub fn spawn(
    mut command: Command,
    filter: &[Instruction],
    limit: DescriptorLimit,
) -> core::result::Result<Tree, SpawnError> {
    let (control, theirs) = UnixStream::pair()?;
    let filter: Vec<libc::sock_filter> = filter
        .iter()
        .map(|&Instruction { code, jt, jf, k }| libc::sock_filter { code, jt, jf, k })
        .collect();
    let socket = OwnedFd::from(theirs);
    // SAFETY: the closure runs in a new process that has one thread. It makes system
    // calls only; what it refers to was allocated before, and it allocates nothing.
    unsafe { command.pre_exec(move || begin(&socket, &filter, &limit)) };
    let spawned = command.spawn();
    // Our copy of the other end goes with the closure.
    drop(command);
    let init = match spawned {
        Ok(init) => init,
        Err(error) => return Err(failure(&control).unwrap_or_else(|| error.into())),
    };
    match receive_listener(&control) {
        Ok(fd) => Ok(Tree {
            init,
            listener: Arc::new(Listener::from_fd(fd)),
            control,
        }),
        Err(error) => {
            kill(init);
            Err(error)
        }
    }
}

fn kill(mut init: Child) {
    let _ = init.kill();
    let _ = init.wait();
}

/// What a process that could not begin has said.
fn failure(control: &UnixStream) -> Option<SpawnError> {
    match receive_listener(control) {
        Err(error @ SpawnError::Supervision(_)) => Some(error),
        _ => None,
    }
}

fn receive_listener(control: &UnixStream) -> core::result::Result<OwnedFd, SpawnError> {
    let mut bytes = [0; MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        control,
        &mut [io::IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_err(io::Error::from)?;
    let fd = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    match (fd, Step::of_failure(bytes[0])) {
        (Some(fd), _) => Ok(fd),
        (None, Some(call)) if received.bytes == MESSAGE => {
            let [_, a, b, c, d] = bytes;
            let errno = i32::from_ne_bytes([a, b, c, d]);
            let errno = rustix::io::Errno::from_raw_os_error(errno);
            Err(SpawnError::Supervision(Error::of(call)(errno)))
        }
        _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

impl Tree {
    /// Becomes readable when [`Tree::ended`] has something to say.
    #[must_use]
    pub fn control(&self) -> impl AsFd + '_ {
        &self.control
    }

    /// How the command ended, if it did. Its descendants may go on.
    ///
    /// # Errors
    /// UnexpectedEof: the init was killed.
    pub fn ended(&self) -> io::Result<ExitStatus> {
        use std::io::Read as _;
        let mut bytes = [0; MESSAGE];
        (&self.control).read_exact(&mut bytes)?;
        let [_, a, b, c, d] = bytes;
        Ok(ExitStatus::from_raw(i32::from_ne_bytes([a, b, c, d])))
    }
}

/// Runs in the new process, before the command is executed: splits off the init
/// and goes on as the command.
fn begin(
    socket: &OwnedFd,
    filter: &[libc::sock_filter],
    limit: &DescriptorLimit,
) -> io::Result<()> {
    // SAFETY: takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    // SAFETY: a plain fork without the C library's preparations, which this process
    // of one thread does not need: both sides make system calls only, until one
    // executes another program and the other exits.
    let forked = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(libc::SIGCHLD),
            0,
            0,
            0,
            0,
        )
    };
    match forked {
        0 => {}
        child if child > 0 => init::be_init(socket.as_raw_fd(), child as libc::pid_t),
        _ => return tell(socket, Step::Fork),
    }
    // SAFETY: takes numbers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
    let limited = rustix::process::setrlimit(rustix::process::Resource::Nofile, *limit);
    if let Err(errno) = limited {
        set_errno(errno);
        return tell(socket, Step::Limit);
    }
    // SAFETY: takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return tell(socket, Step::NoNewPrivileges);
    }
    let Some(listener) = install(filter) else {
        return tell(socket, Step::Filter);
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [listener.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let bytes = message(Step::Listener, 0);
    let sent = rustix::net::sendmsg(
        socket,
        &[io::IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::empty(),
    );
    match sent {
        Ok(_) => Ok(()),
        Err(errno) => {
            set_errno(errno);
            tell(socket, Step::Send)
        }
    }
}

fn set_errno(errno: rustix::io::Errno) {
    // SAFETY: the location is this thread's own.
    unsafe { *libc::__errno_location() = errno.raw_os_error() };
}

/// Tells the supervisor which step failed, and `errno`.
fn tell(socket: &OwnedFd, step: Step) -> io::Result<()> {
    let error = io::Error::last_os_error();
    let bytes = message(step, error.raw_os_error().unwrap_or(libc::EIO));
    let _ = rustix::io::write(socket, &bytes);
    Err(error)
}

/// Installs the filter; its listener closes when a program is executed.
fn install(filter: &[libc::sock_filter]) -> Option<OwnedFd> {
    use std::os::fd::FromRawFd as _;
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).ok()?,
        filter: filter.as_ptr().cast_mut(),
    };
    let wanted = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // With the second flag no signal but a deadly one interrupts a call that is
    // being handled (Linux 5.19); without it a call may be made twice.
    for flags in [
        wanted | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
        wanted,
    ] {
        // SAFETY: the kernel reads the program and the instructions it points to,
        // as many as it says, all of them borrowed here.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        if let Ok(fd) = RawFd::try_from(fd) {
            if fd >= 0 {
                // SAFETY: the kernel has just made it for us.
                return Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        if io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL) {
            return None;
        }
    }
    None
}

/// The limit of descriptors of this process, before it was raised; raises it as
/// far as it goes, to `wanted` if that is allowed.
///
/// # Errors
/// None in practice: the limit stays as it is if it cannot be raised.
pub fn raise_descriptor_limit(wanted: u64) -> Result<DescriptorLimit> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let most = before.maximum.unwrap_or(u64::MAX);
    let raised = |maximum: u64| Rlimit {
        current: Some(maximum),
        maximum: Some(maximum),
    };
    if most >= wanted || setrlimit(Resource::Nofile, raised(wanted)).is_err() {
        setrlimit(Resource::Nofile, raised(most)).map_err(Error::of("setrlimit"))?;
    }
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::Answer;

    /// Asks about getpid-like calls only: `uname`, which is cheap and harmless.
    fn ask_about(number: libc::c_long) -> Vec<Instruction> {
        let instruction = |code: u32, jt, jf, k| Instruction {
            code: code as u16,
            jt,
            jf,
            k,
        };
        vec![
            instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            instruction(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                0,
                1,
                number as u32,
            ),
            instruction(
                libc::BPF_RET | libc::BPF_K,
                0,
                0,
                libc::SECCOMP_RET_USER_NOTIF,
            ),
            instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ]
    }

    fn limit() -> DescriptorLimit {
        rustix::process::getrlimit(rustix::process::Resource::Nofile)
    }

    #[test]
    fn a_command_is_supervised_and_its_end_told() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 0.1 & exit 7"]);
        let mut tree = spawn(command, &ask_about(libc::SYS_uname), limit()).unwrap();
        let ended = tree.ended().unwrap();
        assert_eq!(ended.code(), Some(7));
        // The init ends by itself when nobody is left.
        assert!(tree.init.wait().unwrap().success());
    }

    /// One that has left its session and its parent goes, too.
    #[test]
    fn all_of_a_tree_go_with_whoever_supervises_it() {
        use std::io::{BufRead as _, BufReader, Read as _};
        let mut command = Command::new("sh");
        let script = "(setsid sleep 1000 &) ; sleep 1000 & echo on; exec sleep 1000";
        command.args(["-c", script]);
        command.stdout(std::process::Stdio::piped());
        let tree = spawn(command, &ask_about(libc::SYS_uname), limit()).unwrap();
        let Tree {
            mut init,
            listener,
            control,
        } = tree;
        let mut said = BufReader::new(init.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "on\n");
        // As the kernel does when this process is killed.
        drop((control, listener));
        // It ends when nobody has it any more.
        assert_eq!(said.read_to_end(&mut Vec::new()).unwrap(), 0);
        assert!(init.wait().unwrap().success());
    }

    #[test]
    fn calls_arrive_and_are_answered() {
        let mut command = Command::new("uname");
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        let mut tree = spawn(command, &ask_about(libc::SYS_uname), limit()).unwrap();
        let call = tree.listener.receive().unwrap().unwrap();
        assert_eq!(i64::from(call.number), libc::SYS_uname);
        assert!(tree.listener.is_waiting(call.id));
        let refusal = Answer::Error(luo_abi::errno::Errno::EIO);
        tree.listener.answer(call.id, refusal).unwrap();
        assert!(!tree.listener.is_waiting(call.id));
        assert!(!tree.ended().unwrap().success());
        tree.init.wait().unwrap();
    }

    #[test]
    fn a_command_that_is_not_there_is_told() {
        let command = Command::new("/nonexistent/program");
        let error = spawn(command, &ask_about(libc::SYS_uname), limit()).unwrap_err();
        let SpawnError::Command(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_filter_that_is_none_is_told() {
        let error = spawn(Command::new("true"), &[], limit()).unwrap_err();
        assert!(matches!(error, SpawnError::Supervision(_)), "{error}");
    }
}
