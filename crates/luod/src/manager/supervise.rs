// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small service manager for machines without systemd: it starts the agent, keeps
//! the descriptors that the agent stores, and starts it anew with them when it dies.
//!
//! The agent speaks systemd's protocol, see sd_notify(3), "FDSTORE=1". The new agent
//! fetches what was kept from a socket of its own (`protocol::fetch`): one
//! descriptor with each message, and the message is its name.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use luo_sys::message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, SocketAddrUnix, accept, bind, listen};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::protocol::{MOST, ROOM, SOCKET, seqpacket, take};

/// An agent that dies so soon after its start is not started again at once.
const SOON: Duration = Duration::from_secs(1);

/// How long it waits then.
const PAUSE: Duration = Duration::from_millis(200);

/// The descriptors that are kept, by name.
#[derive(Default)]
struct Kept(Vec<(String, OwnedFd)>);

impl Kept {
    /// Takes a message of the agent.
    fn take(&mut self, text: &str, fds: Vec<OwnedFd>) {
        let field = |key: &str| {
            let lines = text.lines();
            let mut values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            values.next()
        };
        let name = field("FDNAME").unwrap_or("stored");
        if field("FDSTORE") == Some("1") {
            for fd in fds {
                if self.0.len() >= MOST {
                    tracing::error!("{MOST} descriptors are kept already: '{name}' is not");
                    return;
                }
                self.0.push((name.to_owned(), fd));
            }
        } else if field("FDSTOREREMOVE") == Some("1") {
            self.0.retain(|(known, _)| known != name);
        }
    }
}

/// The sockets of a manager; their files go with it.
struct Sockets {
    notify: UnixDatagram,
    store: OwnedFd,
    paths: [PathBuf; 2],
}

impl Sockets {
    fn bind(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let number = std::process::id();
        let path = |name: &str| {
            let path = folder.join(format!(".{name}.{number}"));
            let _ = std::fs::remove_file(&path);
            path
        };
        let paths = [path("notify"), path("store")];
        let notify = UnixDatagram::bind(&paths[0])?;
        let store = seqpacket()?;
        bind(&store, &SocketAddrUnix::new(&paths[1])?)?;
        listen(&store, 1)?;
        Ok(Self {
            notify,
            store,
            paths,
        })
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for path in &self.paths {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Runs a command, and again whenever it dies of a signal or fails, until it succeeds.
///
/// # Errors
/// The command cannot be started; the sockets cannot be made.
pub fn run(program: &Path, arguments: &[String], runtime: &Path) -> io::Result<ExitStatus> {
    let sockets = Sockets::bind(runtime)?;
    let mut kept = Kept::default();
    loop {
        let begun = Instant::now();
        let child = Command::new(program)
            .args(arguments)
            .env("NOTIFY_SOCKET", &sockets.paths[0])
            .env(SOCKET, &sockets.paths[1])
            .env(ROOM, MOST.to_string())
            .spawn()?;
        let status = watch(child, &sockets, &mut kept)?;
        if status.success() {
            return Ok(status);
        }
        tracing::warn!("luod has ended ({status}): it is started again");
        if begun.elapsed() < SOON {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Takes messages until the child has ended, and then those that are left.
fn watch(mut child: Child, sockets: &Sockets, kept: &mut Kept) -> io::Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        let mut fds = [
            PollFd::new(&sockets.notify, PollFlags::IN),
            PollFd::new(&process, PollFlags::IN),
            PollFd::new(&sockets.store, PollFlags::IN),
        ];
        match poll(&mut fds, None::<&Timespec>) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(why) => {
                let _ = pidfd_send_signal(&process, Signal::TERM);
                return Err(why.into());
            }
            Ok(_) => {}
        }
        let [_, ended, asked] = fds.map(|fd| !fd.revents().is_empty());
        while receive(&sockets.notify, kept)? {}
        if ended {
            return child.wait();
        }
        if asked && let Err(why) = give(&sockets.store, &kept.0) {
            tracing::error!("what was kept could not be given: {why}");
        }
    }
}

/// Gives all that is kept to the process that has connected.
fn give(listener: &OwnedFd, kept: &[(String, OwnedFd)]) -> io::Result<()> {
    let socket = accept(listener)?;
    let timeout = Some(Duration::from_secs(5));
    rustix::net::sockopt::set_socket_timeout(
        &socket,
        rustix::net::sockopt::Timeout::Send,
        timeout,
    )?;
    for (name, fd) in kept {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let flags = SendFlags::empty();
        message::send(&socket, name.as_bytes(), &[fd.as_fd()], &mut space, flags)?;
    }
    Ok(())
}

/// Takes a message, if one is there.
fn receive(socket: &UnixDatagram, kept: &mut Kept) -> io::Result<bool> {
    match take(socket.as_fd(), RecvFlags::DONTWAIT) {
        Ok((_, fds, text)) => {
            kept.take(&text, fds);
            Ok(true)
        }
        Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(why) if why.kind() == io::ErrorKind::Interrupted => Ok(true),
        Err(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn descriptors_are_kept_and_removed_by_name() {
        let mut kept = Kept::default();
        kept.take("FDSTORE=1\nFDNAME=a\nFDPOLL=0", vec![fd()]);
        kept.take("FDSTORE=1\nFDNAME=b", vec![fd()]);
        kept.take("READY=1\nSTATUS=normal", vec![]);
        kept.take("FDSTORE=1", vec![fd()]);
        let names: Vec<_> = kept.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "stored"]);
        kept.take("FDSTOREREMOVE=1\nFDNAME=a", vec![]);
        assert_eq!(kept.0.len(), 2);
        // Descriptors that come with another message are closed.
        kept.take("STATUS=x", vec![fd()]);
        assert_eq!(kept.0.len(), 2);
    }
}
