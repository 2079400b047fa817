// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stands between a server and etcd, and can keep answers, or calls, to itself. No connection
//! ends by it: so it is with a network that drops packets, and with a member that stands still.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// It stands between one server and one member.
#[derive(Clone)]
pub(crate) struct Between {
    /// Where the server reaches it.
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The path whose calls are not carried any more.
    held: Option<&'static str>,
    open: Vec<Arc<Connection>>,
}

#[derive(Default)]
struct Connection {
    /// The path of its last call.
    path: Mutex<String>,
    /// Whether answers are kept from the server.
    is_silent: AtomicBool,
}

impl Between {
    /// Stands before a member. It is there as long as this process.
    pub(crate) fn before(endpoint: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let between = Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::default(),
        };
        let (own, member) = (between.clone(), endpoint.replace("http://", ""));
        thread::spawn(move || {
            for near in listener.incoming() {
                let (own, far) = (own.clone(), TcpStream::connect(&member)?);
                thread::spawn(move || own.carry(near?, far));
            }
            io::Result::Ok(())
        });
        between
    }

    /// Nothing more comes of the calls of a path that were made before.
    pub(crate) fn silence(&self, path: &str) {
        for connection in &self.state.lock().unwrap().open {
            if *connection.path.lock().unwrap() == path {
                connection.is_silent.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Calls of a path do not get to the member from now on; with none, all do.
    pub(crate) fn hold(&self, path: Option<&'static str>) {
        self.state.lock().unwrap().held = path;
    }

    fn carry(&self, mut near: TcpStream, mut far: TcpStream) -> io::Result<()> {
        let connection = Arc::new(Connection::default());
        self.state
            .lock()
            .unwrap()
            .open
            .push(Arc::clone(&connection));
        let (mut from, mut to) = (far.try_clone()?, near.try_clone()?);
        let own = Arc::clone(&connection);
        thread::spawn(move || {
            let _ = pass(&mut from, &mut to, |_| own.is_silent.load(Ordering::SeqCst));
            let _ = to.shutdown(Shutdown::Both);
        });
        let done = pass(&mut near, &mut far, |bytes| {
            // A call begins with a packet: the one before it has been answered.
            if let Some(rest) = bytes.strip_prefix(b"POST ") {
                let path = rest.split(|byte| *byte == b' ').next().unwrap_or_default();
                let path = String::from_utf8_lossy(path).into_owned();
                if self.state.lock().unwrap().held == Some(&path) {
                    connection.is_silent.store(true, Ordering::SeqCst);
                }
                *connection.path.lock().unwrap() = path;
            }
            connection.is_silent.load(Ordering::SeqCst)
        });
        let _ = far.shutdown(Shutdown::Both);
        done
    }
}

/// Passes bytes on until there are no more, but for those that are kept.
fn pass(
    from: &mut TcpStream,
    to: &mut TcpStream,
    is_kept: impl Fn(&[u8]) -> bool,
) -> io::Result<()> {
    let mut bytes = [0; 16 * 1024];
    loop {
        let length = from.read(&mut bytes)?;
        if length == 0 {
            return Ok(());
        }
        if !is_kept(&bytes[..length]) {
            to.write_all(&bytes[..length])?;
        }
    }
}
