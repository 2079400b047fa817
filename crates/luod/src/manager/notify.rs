// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages to the service manager: the agent is up, how it stands, it is alive. But for the
//! first, nobody waits long for them to be taken: a manager that stands still must not have luod do
//! so in the middle of an update.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use luo_sys::message;
use rustix::net::SendFlags;
use sd_notify::NotifyState;

use super::protocol::NOTIFY;

/// Tells the manager that the service is up and, in a line, how it stands.
pub fn ready(line: &str) {
    if let Err(why) = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(line)]) {
        tracing::warn!("the service manager: {why}");
    }
}

/// Tells the manager, in a line, how it stands.
pub fn status(line: &str) {
    mention(&format!("STATUS={line}"));
}

/// Tells the manager that the service is alive.
pub fn alive() {
    mention("WATCHDOG=1");
}

fn mention(text: &str) {
    let Some(socket) = std::env::var_os(NOTIFY) else {
        return;
    };
    match send(&socket, text, &[], Duration::ZERO) {
        Ok(()) => {}
        Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
            tracing::debug!("the service manager reads nothing just now");
        }
        // The agent tells of one that is gone, once.
        Err(why) if is_gone(&why) => tracing::debug!("the service manager is gone: {why}"),
        Err(why) => tracing::warn!("the service manager: {why}"),
    }
}

fn is_gone(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
    )
}

/// Sends to the manager, with descriptors. If it reads nothing, it is waited for as long as
/// `patience` says.
///
/// # Errors
/// `WouldBlock`: it reads nothing. There is no manager; or it is gone.
pub(super) fn send_within(
    patience: Duration,
    text: &str,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let socket = std::env::var_os(NOTIFY);
    let socket = socket.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    send(&socket, text, fds, patience)
}

/// The socket is a path or, behind `@`, an abstract name.
fn send(socket: &OsStr, text: &str, fds: &[BorrowedFd<'_>], patience: Duration) -> io::Result<()> {
    let address = match socket.as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.connect_addr(&address)?;
    let flags = match patience.is_zero() {
        true => SendFlags::DONTWAIT,
        false => {
            sender.set_write_timeout(Some(patience))?;
            SendFlags::empty()
        }
    };
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    message::send(&sender, text.as_bytes(), fds, &mut room, flags)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_manager_that_reads_nothing_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut sent = 0;
        let full = loop {
            match send(path.as_os_str(), "STATUS=normal", &[], Duration::ZERO) {
                Ok(()) => sent += 1,
                Err(why) => break why,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        assert!(sent > 0);
        let patience = Duration::from_millis(20);
        let late = send(path.as_os_str(), "FDSTORE=1", &[manager.as_fd()], patience);
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut text = [0; 64];
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"STATUS=normal");
        send(path.as_os_str(), "WATCHDOG=1", &[], Duration::ZERO).unwrap();
    }

    #[test]
    fn a_name_may_be_abstract() {
        let name = format!("luod-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let name = format!("@{name}");
        send(name.as_ref(), "WATCHDOG=1", &[], Duration::ZERO).unwrap();
        let mut text = [0; 64];
        assert_eq!(manager.recv(&mut text).unwrap(), 10);
    }
}
