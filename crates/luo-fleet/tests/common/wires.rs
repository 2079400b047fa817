// SPDX-License-Identifier: MIT OR Apache-2.0
//! The wires between members of etcd, which can be cut. In the first request of a connection a
//! member says where its peers reach it, so a wire knows whose each connection is.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

/// All wires of a cluster.
#[derive(Clone, Default)]
pub(crate) struct Wires(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Where each member is reached, in order.
    ports: Vec<u16>,
    /// The one that is cut off.
    cut: Option<u16>,
    /// Connections, with who has made them, if that is known, and who was meant.
    open: Vec<(Option<u16>, u16, TcpStream)>,
}

impl State {
    /// Whether a connection may be. One that does not say whose it is may be anybody's.
    fn may_be(&self, by: Option<u16>, to: u16) -> bool {
        match (self.cut, by) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(cut), Some(by)) => by != cut && to != cut,
        }
    }
}

impl Wires {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Lays a wire to a member, and gives its port. It is there as long as this process.
    pub(crate) fn lay(&self, member: u16) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        self.state().ports.push(port);
        let wires = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let wires = wires.clone();
                thread::spawn(move || wires.carry(stream?, port, member));
            }
        });
        port
    }

    /// Cuts a member off from its peers, and from nobody else.
    pub(crate) fn cut(&self, member: usize) {
        let mut state = self.state();
        state.cut = Some(state.ports[member]);
        let open = std::mem::take(&mut state.open);
        for (by, to, stream) in open {
            if state.may_be(by, to) {
                state.open.push((by, to, stream));
            } else {
                // It may have ended by itself.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// All reach each other again.
    pub(crate) fn mend(&self) {
        self.state().cut = None;
    }

    fn carry(&self, mut near: TcpStream, port: u16, member: u16) -> io::Result<()> {
        let mut head = Vec::new();
        let mut bytes = [0; 4096];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let length = near.read(&mut bytes)?;
            if length == 0 {
                return Ok(());
            }
            head.extend_from_slice(&bytes[..length]);
        }
        let text = String::from_utf8_lossy(&head).to_lowercase();
        let by = text.lines().find_map(|line| {
            let own = line.strip_prefix("x-peerurls:")?;
            own.rsplit(':').next()?.trim().parse().ok()
        });
        let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, member))?;
        {
            let mut state = self.state();
            if !state.may_be(by, port) {
                return Ok(());
            }
            state.open.push((by, port, near.try_clone()?));
            state.open.push((by, port, far.try_clone()?));
        }
        far.write_all(&head)?;
        let (mut from, mut to) = (far.try_clone()?, near.try_clone()?);
        thread::spawn(move || {
            // Whichever way it ends, both ends are told.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
        let carried = io::copy(&mut near, &mut far);
        let _ = far.shutdown(Shutdown::Both);
        carried.map(drop)
    }
}
