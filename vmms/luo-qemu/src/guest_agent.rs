// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's guest agent, where the guest runs one: it is told the time after the guest stood still.
//!
//! The agent is reached through a virtio channel that the administrator's arguments make. It is
//! software of the guest, so nothing that it says or does holds this program up: it is asked on a
//! thread of its own, with a deadline, and what came of it is a line for the log.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde_json::{Value, json};

use crate::given::{is, of_option, parts};

/// How long the agent may take for all. A guest that has just gone on is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// The name of the agent's channel in each guest.
const CHANNEL: &str = "org.qemu.guest_agent.0";

/// The most bytes of what it may say.
const MOST: usize = 64 << 10;

/// The byte before an answer to `guest-sync-delimited`: it is no part of any text.
const MARK: u8 = 0xff;

/// Why a guest was not told the time.
#[derive(Debug)]
enum Failed {
    /// Nobody answered in time: the agent does not run, or somebody else speaks with it.
    Late,
    /// It said so.
    Refused(String),
    /// What it said is no answer.
    Nonsense,
    /// The channel.
    Channel(io::Error),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("it does not answer"),
            Self::Refused(why) => write!(f, "it says: {why}"),
            Self::Nonsense => f.write_str("what it says is no answer"),
            Self::Channel(why) => write!(f, "its channel: {why}"),
        }
    }
}

impl From<io::Error> for Failed {
    fn from(why: io::Error) -> Self {
        match why.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Late,
            _ => Self::Channel(why),
        }
    }
}

/// The socket of the agent's channel, if these arguments make one on which QEMU listens. A path that
/// is not absolute is one of QEMU's folder.
#[must_use]
pub fn socket(arguments: &[String], folder: &Path) -> Option<PathBuf> {
    let channel = of_option(arguments, "device").find_map(|value| {
        let parts = parts(value, "driver");
        let is_channel = is(&parts, "driver", |driver| driver == "virtserialport")
            && is(&parts, "name", |name| name == CHANNEL);
        let mut keys = parts.into_iter().filter(|(key, _)| key == "chardev");
        keys.next().filter(|_| is_channel).map(|(_, device)| device)
    })?;
    of_option(arguments, "chardev").find_map(|value| {
        let parts = parts(value, "backend");
        let is_it = is(&parts, "backend", |backend| backend == "socket")
            && is(&parts, "id", |id| id == channel)
            && is(&parts, "server", |server| {
                ["on", "yes", "true", "y"].contains(&server)
            });
        let mut keys = parts.into_iter().filter(|(key, _)| key == "path");
        let path = keys.next().filter(|_| is_it).map(|(_, path)| path)?;
        Some(folder.join(path))
    })
}

/// Has the agent behind this socket set the guest's clock, on a thread of its own. The one line that
/// is to be said of it can be read from what this gives, which then ends.
///
/// # Errors
/// There is no descriptor or no thread to be had.
pub fn tell_the_time(socket: PathBuf) -> io::Result<UnixStream> {
    let (ours, mut its) = UnixStream::pair()?;
    let end = Instant::now() + PATIENCE;
    let work = move || {
        let line = match set_time(&socket, end) {
            Ok(()) => "the guest's agent has set its clock, which stood still".to_owned(),
            Err(why) => format!(
                "the guest is not told that its clock stood still, because of its agent: {why}. It is \
                 behind until something in the guest sets it (`hwclock --hctosys`, chrony)"
            ),
        };
        // Nobody reads it where this program ends.
        let _ = its.write_all(line.as_bytes());
    };
    std::thread::Builder::new()
        .name("guest agent".to_owned())
        .spawn(work)?;
    Ok(ours)
}

/// Tells the agent what time it is, by the host's clock.
fn set_time(path: &Path, end: Instant) -> Result<(), Failed> {
    let mut agent = Agent {
        socket: reach(path)?,
        bytes: Vec::new(),
        end,
    };
    // What somebody else has asked, and did not wait for, may be answered first.
    let number = u64::from(std::process::id());
    agent.ask("guest-sync-delimited", json!({"id": number}))?;
    loop {
        let answer = agent.answer()?;
        if answer.get("return").and_then(Value::as_u64) == Some(number) {
            break;
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_err(|_| Failed::Refused("the host's clock stands before 1970".to_owned()))?;
    let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    agent.ask("guest-set-time", json!({"time": nanoseconds}))?;
    let answer = agent.answer()?;
    match (answer.get("return"), answer.get("error")) {
        (Some(_), _) => Ok(()),
        (None, Some(error)) => {
            let why = error.get("desc").and_then(Value::as_str);
            let why = why.unwrap_or("it does not say why").chars();
            Err(Failed::Refused(
                why.filter(|c| !c.is_control()).take(200).collect(),
            ))
        }
        (None, None) => Err(Failed::Nonsense),
    }
}

/// Connects at once, or not at all: QEMU takes one client, and a second one would wait for ever.
fn reach(path: &Path) -> Result<UnixStream, Failed> {
    let address = SocketAddrUnix::new(path).map_err(io::Error::from)?;
    let (kind, flags) = (
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
    );
    let socket = socket_with(AddressFamily::UNIX, kind, flags, None).map_err(io::Error::from)?;
    connect(&socket, &address).map_err(io::Error::from)?;
    let socket = UnixStream::from(socket);
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// A connection to an agent.
struct Agent {
    socket: UnixStream,
    /// What it has said and was not looked at.
    bytes: Vec<u8>,
    end: Instant,
}

impl Agent {
    /// The time that is left; none is an error.
    fn left(&self) -> Result<Option<Duration>, Failed> {
        let left = self.end.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(Failed::Late),
            false => Ok(Some(left)),
        }
    }

    fn ask(&mut self, command: &str, arguments: Value) -> Result<(), Failed> {
        let question = json!({"execute": command, "arguments": arguments});
        self.socket.set_write_timeout(self.left()?)?;
        // The agent begins anew behind this byte, whatever it was told before.
        self.socket.write_all(&[MARK])?;
        self.socket.write_all(format!("{question}\n").as_bytes())?;
        Ok(())
    }

    /// The next line that is JSON.
    fn answer(&mut self) -> Result<Value, Failed> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let rest = self.bytes.split_off(end + 1);
                let line = std::mem::replace(&mut self.bytes, rest);
                let text = line.rsplit(|byte| *byte == MARK).next();
                if let Ok(value) = serde_json::from_slice(text.unwrap_or_default()) {
                    return Ok(value);
                }
                // The end of something older.
                continue;
            }
            let mut buffer = [0; 4096];
            self.socket.set_read_timeout(self.left()?)?;
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
                Ok(count) => self.bytes.extend(buffer.iter().take(count)),
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why.into()),
            }
            if self.bytes.len() > MOST {
                return Err(Failed::Nonsense);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_channel_is_found_in_the_arguments() {
        let folder = Path::new("/srv");
        let device = "-device virtserialport,chardev=q,name=org.qemu.guest_agent.0";
        let json =
            r#"-device {"driver":"virtserialport","chardev":"q","name":"org.qemu.guest_agent.0"}"#;
        for (line, path) in [
            (format!("-chardev socket,path=/run/q,server=on,wait=off,id=q {device}"), Some("/run/q")),
            (format!("{device} -chardev socket,id=q,path=q.sock,server,wait=off"), Some("/srv/q.sock")),
            (format!("{json} -chardev socket,id=q,path=/run/q,server=on"), Some("/run/q")),
            // QEMU itself connects to somebody.
            (format!("-chardev socket,path=/run/q,id=q {device}"), None),
            (format!("-chardev socket,path=/run/q,server=on,id=other {device}"), None),
            (format!("-chardev pty,id=q {device}"), None),
            ("-chardev socket,path=/run/q,server=on,id=q -device virtserialport,chardev=q,name=spice".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(socket(&words(&line), folder).as_deref(), path.map(Path::new), "{line}");
        }
    }

    /// An agent that says something at once, and answers each question with the next of these, in which
    /// `ID` is the number that it was given.
    fn agent(
        before: &'static [u8],
        answers: &'static [&'static str],
    ) -> (
        tempfile::TempDir,
        PathBuf,
        std::thread::JoinHandle<Vec<Value>>,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qga");
        let listener = UnixListener::bind(&path).unwrap();
        let talk = std::thread::spawn(move || {
            let (mut its, _) = listener.accept().unwrap();
            its.write_all(before).unwrap();
            let mut lines = BufReader::new(its.try_clone().unwrap()).split(b'\n');
            let mut questions = Vec::new();
            for answer in answers {
                let Some(Ok(line)) = lines.next() else { break };
                let (mark, line) = line.split_first().unwrap();
                assert_eq!(*mark, MARK);
                let question: Value = serde_json::from_slice(line).unwrap();
                let id = question.pointer("/arguments/id").map(Value::to_string);
                let answer = answer.replace("ID", &id.unwrap_or_default());
                its.write_all(&[MARK]).unwrap();
                its.write_all(answer.as_bytes()).unwrap();
                questions.push(question);
            }
            questions
        });
        (folder, path, talk)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn an_agent_is_told_the_hosts_time_whatever_it_was_asked_before() {
        let before = b"the end of something\n{\"return\": 1}\n{\"ret";
        let (_folder, path, talk) = agent(before, &["{\"return\": ID}\n", "{\"return\": {}}\n"]);
        set_time(&path, soon()).unwrap();
        let questions = talk.join().unwrap();
        let set = questions.last().unwrap();
        assert_eq!(set["execute"], "guest-set-time");
        let told = Duration::from_nanos(set.pointer("/arguments/time").unwrap().as_u64().unwrap());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(
            now.saturating_sub(told) < Duration::from_secs(60),
            "{told:?}"
        );
    }

    #[test]
    fn one_that_cannot_is_told_of_in_its_words() {
        const NO: &str =
            "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not\\u001b permitted\"}}\n";
        let (_folder, path, talk) = agent(b"", &["{\"return\": ID}\n", NO]);
        let why = set_time(&path, soon()).unwrap_err();
        assert_eq!(why.to_string(), "it says: not permitted");
        drop(talk.join().unwrap());
        let none = set_time(Path::new("/nonexistent/qga"), soon()).unwrap_err();
        assert!(
            none.to_string().starts_with("its channel: No such file"),
            "{none}"
        );
    }

    #[test]
    fn one_that_says_nothing_or_too_much_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qga");
        let _listener = UnixListener::bind(&path).unwrap();
        let late = set_time(&path, Instant::now() + Duration::from_millis(20));
        assert!(matches!(late, Err(Failed::Late)), "{late:?}");
        let much = vec![b'x'; MOST + 1].leak();
        let (_folder, path, talk) = agent(much, &["no\n"]);
        let nonsense = set_time(&path, soon());
        assert!(matches!(nonsense, Err(Failed::Nonsense)), "{nonsense:?}");
        drop(talk.join());
    }

    #[test]
    fn what_came_of_it_is_one_line() {
        let (_folder, path, talk) = agent(b"", &["{\"return\": ID}\n", "{\"return\": {}}\n"]);
        let mut said = String::new();
        tell_the_time(path)
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!(
            said,
            "the guest's agent has set its clock, which stood still"
        );
        drop(talk.join().unwrap());
    }
}
