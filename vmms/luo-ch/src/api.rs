// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control socket of cloud-hypervisor: HTTP over a Unix socket, one request a connection.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::exit::Error;

/// The most that an answer has.
const MOST: usize = 1 << 20;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(5);

/// The most headers of an answer.
const HEADERS: usize = 64;

/// The socket.
#[derive(Clone, Debug)]
pub struct Api {
    path: PathBuf,
}

/// A request whose answer has not come.
#[derive(Debug)]
pub struct Pending {
    stream: UnixStream,
    what: &'static str,
}

impl Api {
    /// That of a process.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks for something, and waits for the answer.
    ///
    /// # Errors
    /// [`Error::Guest`]: it refuses, or does not answer in time.
    pub fn ask(&self, what: &'static str, body: &Value, late: Instant) -> Result<Value, Error> {
        self.begin(what, body)?.wait(late)
    }

    /// Asks for something, and does not wait.
    ///
    /// # Errors
    /// [`Error::Guest`]: the socket takes nothing.
    pub fn begin(&self, what: &'static str, body: &Value) -> Result<Pending, Error> {
        let begin = || {
            let mut stream = UnixStream::connect(&self.path)?;
            let method = if is_question(what) { "GET" } else { "PUT" };
            let text = match body {
                Value::Null => String::new(),
                body => body.to_string(),
            };
            let kind = if text.is_empty() {
                ""
            } else {
                "Content-Type: application/json\r\n"
            };
            let length = text.len();
            let request = format!(
                "{method} /api/v1/{what} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n{kind}\
                 Content-Length: {length}\r\n\r\n{text}"
            );
            stream.write_all(request.as_bytes())?;
            Ok(stream)
        };
        match begin() {
            Ok(stream) => Ok(Pending { stream, what }),
            Err(why) => Err(failed(what, &why)),
        }
    }

    /// The process whose socket this is.
    ///
    /// # Errors
    /// Of the socket: nobody is there.
    pub fn process(&self) -> io::Result<rustix::process::Pid> {
        let stream = UnixStream::connect(&self.path)?;
        Ok(rustix::net::sockopt::socket_peercred(&stream)?.pid)
    }

    /// Whether there is a guest. While one is being handed over that is not said, and waited for.
    ///
    /// # Errors
    /// [`Error::Guest`]: it is not said in time.
    pub fn has_guest(&self, late: Instant) -> Result<bool, Error> {
        loop {
            match self.begin("vm.info", &Value::Null)?.answer(late) {
                Ok((200..300, _)) => return Ok(true),
                Ok((404, _)) => return Ok(false),
                Ok((status, body)) if Instant::now() >= late => {
                    return Err(refused("vm.info", status, &body));
                }
                Err(why) => return Err(failed("vm.info", &why)),
                // Nothing tells of its end.
                Ok(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// What the guest does, in cloud-hypervisor's word: `Running`, `Paused`, `Created`.
    ///
    /// # Errors
    /// [`Error::Guest`].
    pub fn state(&self, late: Instant) -> Result<String, Error> {
        let info = self.ask("vm.info", &Value::Null, late)?;
        let state = info.get("state").and_then(Value::as_str);
        let none = || Error::Guest("vm.info says no state".into());
        state.map(str::to_owned).ok_or_else(none)
    }
}

impl Pending {
    /// Can be read from when the answer, or some of it, is there.
    #[must_use]
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// [`Error::Guest`]: it refuses, or does not answer in time.
    pub fn wait(self, late: Instant) -> Result<Value, Error> {
        let what = self.what;
        match self.answer(late) {
            Ok((200..300, body)) if body.is_empty() => Ok(Value::Null),
            Ok((200..300, body)) => serde_json::from_slice(&body)
                .map_err(|why| Error::Guest(format!("{what}: its answer is no JSON: {why}"))),
            Ok((status, body)) => Err(refused(what, status, &body)),
            Err(why) => Err(failed(what, &why)),
        }
    }

    fn answer(mut self, late: Instant) -> io::Result<(u16, Vec<u8>)> {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            if let Some((status, from, length)) = parsed(&bytes)?
                && let Some(body) = bytes.get(from..from + length)
            {
                return Ok((status, body.to_vec()));
            }
            if bytes.len() > MOST {
                return Err(bad("its answer is too long"));
            }
            self.stream.set_read_timeout(Some(until(late)))?;
            let read = match self.stream.read(&mut piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                Err(why) => return Err(why),
            };
            bytes.extend(piece.iter().take(read));
        }
    }
}

/// What is left of the time; never nothing, which a socket takes for no limit.
#[must_use]
pub fn until(late: Instant) -> Duration {
    late.saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

/// The status of an answer, where its body begins, and how long that is.
fn parsed(bytes: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let from = match response.parse(bytes) {
        Ok(httparse::Status::Complete(from)) => from,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(why) => return Err(bad(&format!("its answer is no HTTP: {why}"))),
    };
    let is_length =
        |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("content-length");
    let length = match response.headers.iter().find(is_length) {
        Some(header) => {
            let text = std::str::from_utf8(header.value).unwrap_or_default().trim();
            let length: Option<usize> = text.parse().ok();
            length
                .filter(|length| *length <= MOST)
                .ok_or_else(|| bad("its answer has no length"))?
        }
        None => 0,
    };
    Ok(Some((response.code.unwrap_or_default(), from, length)))
}

fn is_question(what: &str) -> bool {
    matches!(what, "vm.info" | "vmm.ping")
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

fn refused(what: &str, status: u16, body: &[u8]) -> Error {
    let why = String::from_utf8_lossy(body);
    let why: String = why.chars().filter(|c| !c.is_control()).take(500).collect();
    Error::Guest(format!("{what} is refused ({status}): {why}"))
}

fn failed(what: &str, why: &io::Error) -> Error {
    let text = match why.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it does not answer in time".into(),
        _ => why.to_string(),
    };
    Error::Guest(format!("{what}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// What comes of a request that is answered with these bytes.
    fn answered(bytes: &'static [u8]) -> (Result<Value, Error>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api");
        let listener = UnixListener::bind(&path).unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(bytes).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let late = Instant::now() + Duration::from_secs(20);
        let body = serde_json::json!({ "local": true });
        let came = Api::new(path).ask("vm.send-migration", &body, late);
        (came, served.join().unwrap())
    }

    #[test]
    fn a_request_is_http_and_an_empty_answer_is_good() {
        let (came, request) = answered(b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n");
        assert_eq!(came.unwrap(), Value::Null);
        assert!(
            request.starts_with("PUT /api/v1/vm.send-migration HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains("Content-Length: 14\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n{\"local\":true}"), "{request}");
    }

    #[test]
    fn an_answer_has_a_body_or_says_why_not() {
        let (came, _) = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"a\": 1}");
        assert_eq!(came.unwrap()["a"], 1);
        for (bytes, words) in [
            (
                &b"HTTP/1.1 500 Internal\r\nContent-Length: 4\r\n\r\nnope"[..],
                "(500): nope",
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"a\"",
                "end of file",
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
                "no length",
            ),
            (b"nonsense\r\n\r\n", "no HTTP"),
            (b"", "end of file"),
        ] {
            let (came, _) = answered(bytes);
            let why = came.unwrap_err().to_string();
            assert!(why.contains(words), "{words}: {why}");
        }
    }

    #[test]
    fn an_answer_that_does_not_come_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api");
        let _listener = UnixListener::bind(&path).unwrap();
        let late = Instant::now() + Duration::from_millis(20);
        let why = Api::new(path)
            .ask("vmm.ping", &Value::Null, late)
            .unwrap_err();
        assert!(why.to_string().contains("in time"), "{why}");
    }
}
