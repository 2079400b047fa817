// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sockets of the small manager: one on which its agent sends messages and descriptors,
//! and one from which a new agent fetches what is kept. Nobody but the agent is listened to,
//! whatever the modes of the files say.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use luo_sys::message;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_passcred, set_socket_timeout, socket_peercred};
use rustix::net::{RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, accept_with, bind, listen};
use rustix::process::Pid;

use super::kept::Kept;
use crate::journal::quiet::Quiet;
use crate::manager::protocol::{NOTIFY_FILE, STORE_FILE, Taken, seqpacket, take};

/// How long a new agent may take to fetch one descriptor.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a socket is left alone that could not be served: it would be ready at once again.
const REST: Duration = Duration::from_secs(1);

/// How often it is looked whether the files are there.
const LOOKS: Duration = Duration::from_secs(1);

/// A socket that could not be served.
#[derive(Default)]
struct Rest {
    until: Option<Instant>,
    /// It is told once, until it is served again.
    is_told: bool,
}

impl Rest {
    fn begin(&mut self, why: &io::Error) {
        self.until = Instant::now().checked_add(REST);
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::error!(
                "luod cannot be served just now, and it is tried again each second: {why}"
            );
        }
    }

    /// How long it still lasts; nothing if it is over.
    fn left(&self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

/// The sockets; their files go with them.
pub(super) struct Sockets {
    notify: UnixDatagram,
    store: OwnedFd,
    /// A descriptor to be closed where there is none left to accept a connection with.
    spare: Option<File>,
    rests: [Rest; 2],
    quiet: Quiet,
    pub(super) paths: [PathBuf; 2],
    /// When it was looked last whether the files are there.
    looked: Instant,
    /// That they cannot be made anew is told once.
    is_told: bool,
}

/// Where a supervisor of a folder listens. It is the same for each, so that an agent whose
/// supervisor has died finds the next one.
fn paths(folder: &Path) -> [PathBuf; 2] {
    [NOTIFY_FILE, STORE_FILE].map(|name| folder.join(name))
}

/// Makes the two sockets.
fn listens(paths: &[PathBuf; 2]) -> io::Result<(UnixDatagram, OwnedFd)> {
    for path in paths {
        let _ = std::fs::remove_file(path);
    }
    let notify = UnixDatagram::bind(&paths[0])?;
    set_socket_passcred(&notify, true)?;
    let store = seqpacket()?;
    bind(&store, &SocketAddrUnix::new(&paths[1])?)?;
    listen(&store, 1)?;
    rustix::io::ioctl_fionbio(&store, true)?;
    Ok((notify, store))
}

impl Sockets {
    pub(super) fn bind(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let paths = paths(folder);
        let (notify, store) = listens(&paths)?;
        Ok(Self {
            notify,
            store,
            spare: spare(),
            rests: Default::default(),
            quiet: Quiet::default(),
            paths,
            looked: Instant::now(),
            is_told: false,
        })
    }

    /// Looks each second whether the files are there still: somebody may have cleared the folder, and
    /// without them an agent reaches nobody, and a new one gets nothing of what is kept.
    pub(super) fn look(&mut self) {
        if self.looked.elapsed() >= LOOKS {
            self.mend();
        }
    }

    /// Listens anew if a file is gone. One of another socket is another supervisor's, and stays.
    /// All that was sent to the old sockets has to be taken before.
    pub(super) fn mend(&mut self) {
        self.looked = Instant::now();
        let is_gone = |path: &PathBuf| {
            std::fs::symlink_metadata(path).is_err_and(|why| why.kind() == io::ErrorKind::NotFound)
        };
        if !self.paths.iter().any(is_gone) {
            return;
        }
        let folder = self.paths[0]
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all);
        match folder.and_then(|()| listens(&self.paths)) {
            Ok((notify, store)) => {
                (self.notify, self.store) = (notify, store);
                self.rests = Default::default();
                self.is_told = false;
                tracing::warn!("the files of luod's supervisor were gone, and are made anew");
            }
            Err(why) => {
                if !std::mem::replace(&mut self.is_told, true) {
                    tracing::error!(
                        "the files of luod's supervisor are gone, and it is tried each second to \
                         make them anew: {why}"
                    );
                }
            }
        }
    }

    /// The sockets to wait for, and for how long at most.
    pub(super) fn waits(&self) -> (Vec<PollFd<'_>>, Option<Duration>) {
        let fds = [self.notify.as_fd(), self.store.as_fd()];
        let served = fds.into_iter().zip(&self.rests);
        let served = served.filter(|(_, rest)| rest.left().is_none());
        let served = served.map(|(fd, _)| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let next = LOOKS.saturating_sub(self.looked.elapsed());
        let left = self.rests.iter().filter_map(Rest::left).chain([next]).min();
        (served.collect(), left)
    }

    /// Takes the messages of the agent that are there.
    pub(super) fn receive(&mut self, kept: &mut Kept, agent: Pid) {
        loop {
            match take(self.notify.as_fd(), RecvFlags::DONTWAIT) {
                Ok(Taken {
                    fds, text, sender, ..
                }) => {
                    self.rests[0].is_told = false;
                    if sender == Some(agent.as_raw_nonzero().get()) {
                        kept.take(&text, fds);
                    } else {
                        self.quiet
                            .warn("a message of another process than luod is not heeded");
                    }
                }
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return self.rests[0].begin(&why),
            }
        }
    }

    /// Gives all that is kept to the agent, if it has asked for that.
    pub(super) fn give(&mut self, kept: &[(String, OwnedFd)], agent: Pid) {
        if self.rests[1].left().is_some() {
            return;
        }
        match self.accept() {
            Ok(None) => {}
            Ok(Some(socket)) => {
                self.rests[1].is_told = false;
                match is_of(&socket, agent) {
                    true => {
                        if let Err(why) = send(&socket, kept) {
                            tracing::error!("what was kept could not be given: {why}");
                        }
                    }
                    false => self
                        .quiet
                        .warn("another process than luod gets nothing of what is kept"),
                }
            }
            Err(why) => self.rests[1].begin(&why),
        }
        // A descriptor that was closed to make room for a connection is opened again once that is
        // closed.
        self.spare = self.spare.take().or_else(spare);
    }

    /// A connection, if there is one.
    fn accept(&mut self) -> io::Result<Option<OwnedFd>> {
        let accept = || accept_with(&self.store, SocketFlags::CLOEXEC);
        let mut accepted = accept();
        if matches!(accepted, Err(Errno::MFILE | Errno::NFILE)) && self.spare.take().is_some() {
            accepted = accept();
        }
        match accepted {
            Ok(socket) => Ok(Some(socket)),
            // The peer that has asked is gone again.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for path in &self.paths {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A descriptor of no use but that it can be closed.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Whether a connection is the agent's.
fn is_of(socket: &OwnedFd, agent: Pid) -> bool {
    socket_peercred(socket).is_ok_and(|peer| peer.pid == agent)
}

/// Sends all that is kept.
fn send(socket: &OwnedFd, kept: &[(String, OwnedFd)]) -> io::Result<()> {
    set_socket_timeout(socket, Timeout::Send, Some(PATIENCE))?;
    for (name, fd) in kept {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let flags = SendFlags::empty();
        message::send(socket, name.as_bytes(), &[fd.as_fd()], &mut space, flags)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::net::connect;

    use super::*;

    fn kept() -> Vec<(String, OwnedFd)> {
        vec![("0".to_owned(), File::open("/dev/null").unwrap().into())]
    }

    /// Connects, has what is kept given, and says how many descriptors have come.
    fn fetches(sockets: &mut Sockets, agent: Pid) -> usize {
        let socket = seqpacket().unwrap();
        connect(&socket, &SocketAddrUnix::new(&sockets.paths[1]).unwrap()).unwrap();
        sockets.give(&kept(), agent);
        take(socket.as_fd(), RecvFlags::empty()).unwrap().fds.len()
    }

    #[test]
    fn nobody_but_the_agent_is_listened_to() {
        let folder = tempfile::tempdir().unwrap();
        let mut sockets = Sockets::bind(folder.path()).unwrap();
        let own = rustix::process::getpid();
        let other = Pid::INIT;
        assert_eq!(fetches(&mut sockets, own), 1);
        assert_eq!(fetches(&mut sockets, other), 0);
        let stranger = UnixDatagram::unbound().unwrap();
        for (agent, heeded) in [(other, false), (own, true)] {
            stranger.send_to(b"READY=1", &sockets.paths[0]).unwrap();
            let mut kept = Kept::default();
            sockets.receive(&mut kept, agent);
            assert_eq!(kept.is_up, heeded);
        }
    }

    /// A careless cleaner of the folder.
    #[test]
    fn files_that_are_gone_are_made_anew() {
        let own = rustix::process::getpid();
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("run");
        let mut sockets = Sockets::bind(&folder).unwrap();
        assert!(sockets.waits().1.is_some_and(|left| left <= LOOKS));
        for gone in [&[0][..], &[1], &[0, 1], &[]] {
            for number in gone {
                std::fs::remove_file(&sockets.paths[*number]).unwrap();
            }
            if gone.is_empty() {
                std::fs::remove_dir_all(&folder).unwrap();
            }
            sockets.mend();
            assert_eq!(fetches(&mut sockets, own), 1);
            let agent = UnixDatagram::unbound().unwrap();
            agent.send_to(b"READY=1", &sockets.paths[0]).unwrap();
            let mut kept = Kept::default();
            sockets.receive(&mut kept, own);
            assert!(kept.is_up);
        }
        // Another supervisor's.
        for path in &sockets.paths {
            std::fs::remove_file(path).unwrap();
        }
        let others = UnixDatagram::bind(&sockets.paths[0]).unwrap();
        std::fs::write(&sockets.paths[1], "").unwrap();
        sockets.mend();
        let agent = UnixDatagram::unbound().unwrap();
        agent.send_to(b"READY=1", &sockets.paths[0]).unwrap();
        let mut text = [0; 64];
        assert_eq!(others.recv(&mut text).unwrap(), 7);
    }

    #[test]
    fn a_socket_that_cannot_be_served_is_left_alone_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let mut sockets = Sockets::bind(folder.path()).unwrap();
        assert_eq!(sockets.waits().0.len(), 2);
        sockets.rests[1].begin(&Errno::NFILE.into());
        let (fds, left) = sockets.waits();
        assert_eq!(fds.len(), 1);
        assert!(left.is_some_and(|left| left <= REST));
    }

    /// The descriptors that are kept are most needed just then. The limit is a process's: this is
    /// one of its own.
    #[test]
    fn where_no_descriptor_is_left_the_agent_gets_what_is_kept() {
        use rustix::process::{Resource, getrlimit, setrlimit};
        const ALONE: &str = "LUOD_TEST_ALONE";
        const NAME: &str = "where_no_descriptor_is_left_the_agent_gets_what_is_kept";
        if std::env::var_os(ALONE).is_none() {
            let test = format!("{}::{NAME}", module_path!().split_once("::").unwrap().1);
            let program = std::env::current_exe().unwrap();
            let mut alone = std::process::Command::new(program);
            alone.args(["--exact", test.as_str()]).env(ALONE, "1");
            let output = alone.output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && text.contains("1 passed"),
                "{text}"
            );
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut sockets = Sockets::bind(folder.path()).unwrap();
        let socket = seqpacket().unwrap();
        connect(&socket, &SocketAddrUnix::new(&sockets.paths[1]).unwrap()).unwrap();
        let kept = kept();
        let before = getrlimit(Resource::Nofile);
        let mut few = before;
        // Below all that are open.
        few.current = Some(3);
        setrlimit(Resource::Nofile, few).unwrap();
        sockets.give(&kept, rustix::process::getpid());
        setrlimit(Resource::Nofile, before).unwrap();
        let (fds, left) = sockets.waits();
        assert_eq!(
            (fds.len(), left.is_some()),
            (1, true),
            "it is left alone, and does not spin"
        );
        // One is left now: the spare's.
        let free = File::open("/dev/null").unwrap();
        let number = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&free)).unwrap();
        sockets.spare = Some(free);
        sockets.rests = Default::default();
        few.current = Some(number + 1);
        setrlimit(Resource::Nofile, few).unwrap();
        sockets.give(&kept, rustix::process::getpid());
        setrlimit(Resource::Nofile, before).unwrap();
        assert_eq!(
            take(socket.as_fd(), RecvFlags::empty()).unwrap().fds.len(),
            1
        );
        assert!(sockets.spare.is_some(), "for the next time");
    }
}
