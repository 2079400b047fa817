// SPDX-License-Identifier: MIT OR Apache-2.0
//! The identity of a peer, in terms that mean the same after a reboot: the service, the
//! user and the group, never a process number.

use std::fs;
use std::os::fd::BorrowedFd;

use luo_varlink::Identity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

/// Why the identity of a peer cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// The socket does not say.
    #[error("the socket does not tell who its peer is: {0}")]
    Socket(std::io::Error),
    /// The process has gone: its number may be another's.
    #[error("the peer has gone")]
    Gone,
    /// `/proc` does not say.
    #[error("the peer's control group: {0}")]
    Group(std::io::Error),
}

/// The facts that a socket tells of its peer.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Its process, as of the connect.
    pub pid: i32,
    /// Its user, as of the connect.
    pub uid: u32,
    /// Its group, as of the connect.
    pub gid: u32,
    /// The process itself. Its number may be given to another process, this descriptor
    /// cannot. From Linux 6.5 on.
    pub process: Option<BorrowedFd<'a>>,
}

/// Finds out the identity of a peer.
///
/// # Errors
/// [`Unknown`]: such a peer is not served.
pub fn of(peer: Peer<'_>) -> Result<Identity, Unknown> {
    let text = match fs::read_to_string(format!("/proc/{}/cgroup", peer.pid)) {
        Ok(text) => text,
        // The kernel has no control groups, so no peer is a service.
        Err(_) if !fs::exists("/proc/self/cgroup").unwrap_or(true) => String::new(),
        // Nothing stands in `/proc` of one that has ended.
        Err(_) if peer.process.is_some_and(has_ended) => return Err(Unknown::Gone),
        Err(why) => return Err(Unknown::Group(why)),
    };
    // The control group is that of the peer only if the process is still there now.
    if peer.process.is_some_and(has_ended) {
        return Err(Unknown::Gone);
    }
    Ok(Identity {
        uid: peer.uid,
        gid: peer.gid,
        unit: unit(&text),
    })
}

/// The control group of a process, as a path in the unified hierarchy. It is no part of the
/// identity: it says what limits there are.
pub fn group(pid: i32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let unified = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(unified.to_owned())
}

fn has_ended(process: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(process, PollFlags::IN)];
    let now = Timespec::default();
    // A signal that comes just then, as HUP for a reload, ends a poll also if it waits for nothing.
    let polled = retry_on_intr(|| poll(&mut fds, Some(&now)));
    // If the poll fails, the process is taken for one that has ended.
    !matches!(polled, Ok(0))
}

/// The unit in the text of `/proc/PID/cgroup`: the first part of the path in the unified
/// hierarchy that is no slice, if it is a service or a scope of the machine. The service, the
/// user or the container gives the groups below that whatever names it likes. Those in a
/// user's sessions and units count by their user only.
fn unit(text: &str) -> Option<String> {
    let unified = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mut parts = unified.split('/');
    let is_users = unified.starts_with("user.slice/");
    let first = parts.find(|part| !part.ends_with(".slice"))?;
    let is_unit = match first.rsplit_once('.')? {
        ("", _) => false,
        // The manager of a user is not a service of the machine.
        (name, "service") => !name.starts_with("user@"),
        (name, "scope") => !is_users && name != "init",
        _ => false,
    };
    is_unit.then(|| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_of_the_machine_counts() {
        let cases = [
            ("0::/system.slice/cache.service\n", Some("cache.service")),
            (
                "0::/system.slice/system-vmm.slice/vmm@7.service/payload\n",
                Some("vmm@7.service"),
            ),
            ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/init.scope\n",
                None,
            ),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/vm.service\n",
                None,
            ),
            // A group below a container or a service has a name of their choice.
            (
                "0::/machine.slice/machine-a.scope/system.slice/cache.service\n",
                Some("machine-a.scope"),
            ),
            (
                "0::/machine.slice/machine-qemu\\x2d1\\x2dguest.scope/libvirt/emulator\n",
                Some("machine-qemu\\x2d1\\x2dguest.scope"),
            ),
            ("0::/init.scope\n", None),
            (
                "0::/system.slice/vmm.service/cache.service\n",
                Some("vmm.service"),
            ),
            ("0::/../../system.slice/cache.service\n", None),
            ("0::/docker/0123/cache.service\n", None),
            ("0::/cache.service\n", Some("cache.service")),
            ("0::/\n", None),
            ("1:name=systemd:/system.slice/old.service\n", None),
            ("", None),
            ("0::/.service", None),
        ];
        for (text, expected) in cases {
            assert_eq!(unit(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn we_are_somebody() {
        let identity = of(Peer {
            pid: std::process::id() as i32,
            uid: 7,
            gid: 8,
            process: None,
        });
        let identity = identity.unwrap();
        assert_eq!((identity.uid, identity.gid), (7, 8));
    }

    #[test]
    fn who_has_gone_is_nobody() {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        let process = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        let process = std::os::fd::AsFd::as_fd(&process);
        assert!(has_ended(process));
        let peer = Peer {
            pid,
            uid: 0,
            gid: 0,
            process: Some(process),
        };
        assert!(matches!(of(peer), Err(Unknown::Gone)));
    }
}
