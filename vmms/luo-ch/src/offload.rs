// SPDX-License-Identifier: MIT OR Apache-2.0
//! The conversation of an offload: a guest out of its process, and into the next one.
//!
//! On the way out the last request is not answered. Cloud-hypervisor ends once it is, and it is
//! to live until the machine jumps: if the update is called off the answer is no, upon which it
//! gives the migration up and has its guest as it was.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use crate::api::{Api, Pending, until};
use crate::exit::Error;
use crate::protocol::{Command, Request, answer, answered, receive_slot, send_slot};
use crate::state::{MOST, MOST_SLOTS, Slot, State};

/// Between two attempts to reach a socket that comes into being.
const PAUSE: Duration = Duration::from_millis(5);

/// A guest that was handed over, whose process waits for the last answer.
#[derive(Debug)]
pub struct Held {
    stream: UnixStream,
    request: Option<Pending>,
}

impl Held {
    /// Says that the guest is not wanted.
    pub fn refuse(mut self, late: Instant) {
        // Whatever comes of it, the guest is looked at next.
        let _ = answer(&mut self.stream, false);
        drop(self.stream);
        if let Some(request) = self.request {
            let _ = request.wait(late);
        }
    }
}

/// Has a guest that stands still handed over to `path`. `region` knows which region a slot of
/// memory is.
///
/// # Errors
/// [`Error::Guest`], and the guest is where it was; it stands still, or goes on.
pub fn out(
    api: &Api,
    path: &Path,
    late: Instant,
    region: impl Fn(&File) -> io::Result<Option<u32>>,
) -> Result<(State, Held), Error> {
    let failed = |why: io::Error| Error::Guest(format!("handing the guest over: {}", plain(&why)));
    let listener = UnixListener::bind(path).map_err(failed)?;
    let body = json!({ "destination_url": format!("unix:{}", path.display()), "local": true });
    let mut request = Some(api.begin("vm.send-migration", &body)?);
    let mut stream = accept(&listener, &mut request, late)?;
    let came = receive(&mut stream, late, region);
    match came {
        Ok(state) => Ok((state, Held { stream, request })),
        Err(why) => {
            Held { stream, request }.refuse(late);
            Err(failed(why))
        }
    }
}

/// Waits for cloud-hypervisor to connect; its answer to the request may come first, and says why
/// it does not.
fn accept(
    listener: &UnixListener,
    request: &mut Option<Pending>,
    late: Instant,
) -> Result<UnixStream, Error> {
    let failed = |why: io::Error| Error::Guest(format!("handing the guest over: {}", plain(&why)));
    loop {
        let time = Timespec::try_from(until(late)).ok();
        let mut fds = vec![PollFd::new(listener, PollFlags::IN)];
        fds.extend(
            request
                .as_ref()
                .map(|it| PollFd::new(it.stream(), PollFlags::IN)),
        );
        let ready = match poll(&mut fds, time.as_ref()) {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => continue,
            Err(why) => return Err(failed(why.into())),
        };
        let is_here = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        if is_here {
            return Ok(listener.accept().map_err(failed)?.0);
        }
        match request.take() {
            // A version that answers at once says yes, and connects afterwards.
            Some(answered) if ready > 0 => drop(answered.wait(late)?),
            _ => return Err(failed(io::ErrorKind::TimedOut.into())),
        }
    }
}

fn receive(
    stream: &mut UnixStream,
    late: Instant,
    region: impl Fn(&File) -> io::Result<Option<u32>>,
) -> io::Result<State> {
    stream.set_write_timeout(Some(until(late)))?;
    let mut state = State::default();
    let (mut config, mut rest, mut has_begun) = (None, None, false);
    loop {
        stream.set_read_timeout(Some(until(late)))?;
        let request = Request::read(stream)?;
        match (request.command, request.length) {
            (Command::Start, 0) if !has_begun => {
                has_begun = true;
                state.start = request.own;
            }
            (Command::MemoryFd, 4) if has_begun && config.is_none() => {
                let (number, file) = receive_slot(stream)?;
                let Some(region) = region(&file)? else {
                    return Err(bad(format!(
                        "the memory of slot {number} was not the guest's when the update was \
                         prepared: it was plugged in since, or is no memfd"
                    )));
                };
                let is_known = state.slots.iter().any(|slot| slot.number == number);
                if is_known || state.slots.len() >= MOST_SLOTS {
                    return Err(bad(format!("slot {number} is one too many")));
                }
                state.slots.push(Slot { number, region });
            }
            (Command::Config, length) if has_begun && config.is_none() => {
                config = Some(payload(stream, length, late)?);
            }
            (Command::State, length) if config.is_some() && rest.is_none() => {
                rest = Some(payload(stream, length, late)?);
            }
            (Command::CompletePaused | Command::Complete, 0) => {
                let (Some(config), Some(rest), false) = (config, rest, state.slots.is_empty())
                else {
                    return Err(bad("it says that it is done, and it is not".into()));
                };
                state.config = config;
                state.state = rest;
                return Ok(state);
            }
            (Command::Abandon, _) => return Err(bad("it gives up".into())),
            (Command::Memory, _) => {
                return Err(bad("it sends memory and not its descriptor".into()));
            }
            (command, length) => {
                return Err(bad(format!(
                    "it sends {command:?} with {length} bytes where that cannot be"
                )));
            }
        }
        answer(stream, true)?;
    }
}

/// Gives a guest to the cloud-hypervisor that listens at `path`. `mark` is called when all but
/// the last word is said, and `unmark` if that is refused.
///
/// # Errors
/// [`Error::NotResumed`]: it does not run, and can be given to another; [`Error::Guest`]: nobody
/// knows whether it runs.
pub fn back(
    path: &Path,
    state: &State,
    late: Instant,
    memory: impl Fn(u32) -> Option<File>,
    mark: impl FnOnce() -> Result<(), Error>,
    unmark: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let refused = |why: io::Error| Error::NotResumed(plain(&why));
    let mut stream = connect(path, late).map_err(refused)?;
    let given = give(&mut stream, state, late, memory);
    given.map_err(refused)?;
    mark()?;
    let last = Request::new(Command::Complete, 0).encode();
    let told = stream.write_all(&last).and_then(|()| answered(&mut stream));
    match told {
        Ok(()) => Ok(()),
        Err(why) if why.kind() == io::ErrorKind::InvalidData => {
            unmark()?;
            Err(refused(why))
        }
        Err(why) => Err(Error::Guest(format!(
            "it was given the guest, and does not say whether that runs: {}",
            plain(&why)
        ))),
    }
}

fn give(
    stream: &mut UnixStream,
    state: &State,
    late: Instant,
    memory: impl Fn(u32) -> Option<File>,
) -> io::Result<()> {
    stream.set_write_timeout(Some(until(late)))?;
    stream.set_read_timeout(Some(until(late)))?;
    let mut start = Request::new(Command::Start, 0);
    start.own = state.start;
    stream.write_all(&start.encode())?;
    answered(stream)?;
    for slot in &state.slots {
        let missing = || {
            bad(format!(
                "the memory of slot {} did not come over",
                slot.number
            ))
        };
        let file = memory(slot.region).ok_or_else(missing)?;
        stream.write_all(&Request::new(Command::MemoryFd, 4).encode())?;
        send_slot(stream, slot.number, &file)?;
        answered(stream)?;
    }
    let parts = [
        (Command::Config, &state.config),
        (Command::State, &state.state),
    ];
    for (command, bytes) in parts {
        let request = Request::new(command, bytes.len() as u64);
        stream.write_all(&request.encode())?;
        stream.write_all(bytes)?;
        answered(stream)?;
    }
    Ok(())
}

fn connect(path: &Path, late: Instant) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(why) if Instant::now() >= late => return Err(why),
            // Nothing tells of a socket that comes into being.
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn payload(stream: &mut UnixStream, length: u64, late: Instant) -> io::Result<Vec<u8>> {
    if length > MOST {
        return Err(bad(format!(
            "it sends {length} bytes at once, and {MOST} can be kept"
        )));
    }
    let mut bytes = Vec::new();
    stream.set_read_timeout(Some(until(late)))?;
    (&*stream).take(length).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn bad(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn plain(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it takes too long".to_owned(),
        io::ErrorKind::UnexpectedEof => "it ends in the middle".to_owned(),
        _ => why.to_string(),
    }
}
