// SPDX-License-Identifier: MIT OR Apache-2.0
//! The wire between a host and the servers of its fleet, which can be cut at a call.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

/// Where a call is cut off. Each counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// It does not arrive.
    Call(&'static str),
    /// It arrives, and the answer is lost.
    Answer(&'static str),
}

impl Cut {
    fn is_of(self, path: &str) -> bool {
        let (Self::Call(of) | Self::Answer(of)) = self;
        path.ends_with(of)
    }
}

/// How long a server may take before its host is as good as cut off.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all wires lead to.
#[derive(Clone)]
pub(super) struct Servers {
    pub(super) addresses: Vec<String>,
    /// How often a host has met a server that is gone, or that cannot serve.
    pub(super) failures: watch::Sender<u64>,
}

/// A call: its head, without what is said of the connection, its path, and its body.
struct Call {
    head: String,
    path: String,
    body: Vec<u8>,
}

impl Call {
    fn read(stream: &TcpStream) -> io::Result<Self> {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            let low = line.to_lowercase();
            if let Some(text) = low.strip_prefix("content-length:") {
                length = text.trim().parse().map_err(io::Error::other)?;
            }
            if !low.starts_with("connection:") {
                head += &line;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        Ok(Self { head, path, body })
    }

    /// Makes it of a server; gives the answer.
    fn make(&self, address: &str) -> io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(address)?;
        server.set_read_timeout(Some(PATIENCE))?;
        write!(server, "{}connection: close\r\n\r\n", self.head)?;
        server.write_all(&self.body)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        match answer.is_empty() {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(answer),
        }
    }
}

impl Servers {
    /// Makes a call of the first server that answers, from one of them on.
    fn answer(&self, call: &Call, from: usize) -> Option<Vec<u8>> {
        let servers = self.addresses.iter().cycle().skip(from);
        for address in servers.take(self.addresses.len()) {
            let answer = call.make(address);
            let serves = |answer: &[u8]| answer.get(9) != Some(&b'5');
            if !answer.as_deref().is_ok_and(serves) {
                self.failures.send_modify(|failures| *failures += 1);
            }
            if let Ok(answer) = answer {
                return Some(answer);
            }
        }
        None
    }
}

/// The same answer; a second later one may ask again.
fn hurried(answer: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(answer);
    let hurry = |line: &str| match line.starts_with("retry-after:") {
        true => "retry-after: 1\r\n".to_owned(),
        false => line.to_owned(),
    };
    let lines = text.split_inclusive("\r\n").map(hurry);
    lines.collect::<String>().into_bytes()
}

/// The wire of one host, by its address. It is there as long as this process.
pub(super) fn wire(servers: &Servers, number: usize, cuts: &[Cut]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let cuts = Arc::new(Mutex::new(cuts.to_vec()));
    let servers = servers.clone();
    std::thread::spawn(move || {
        for (count, stream) in listener.incoming().enumerate() {
            let (servers, cuts) = (servers.clone(), Arc::clone(&cuts));
            std::thread::spawn(move || {
                let mut stream = stream?;
                let call = Call::read(&stream)?;
                let cut = {
                    let mut cuts = cuts.lock().unwrap();
                    let at = cuts.iter().position(|cut| cut.is_of(&call.path));
                    at.map(|at| cuts.remove(at))
                };
                if matches!(cut, Some(Cut::Call(_))) {
                    return Ok(());
                }
                let answer = servers.answer(&call, number + count);
                match answer {
                    Some(answer) if cut.is_none() => stream.write_all(&hurried(&answer)),
                    _ => Ok(()),
                }
            });
        }
    });
    format!("http://{address}")
}
