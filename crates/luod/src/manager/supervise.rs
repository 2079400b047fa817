// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small service manager for machines without systemd: it starts the agent, keeps
//! the descriptors that the agent stores, and starts it anew with them when it dies.
//!
//! The agent speaks systemd's protocol, see sd_notify(3), "FDSTORE=1". The new agent
//! fetches what was kept from a socket of its own (`protocol::fetch`): one
//! descriptor with each message, and the message is its name.

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use luo_sys::message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, SocketAddrUnix, accept, bind, listen};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::protocol::{MOST, ROOM, SOCKET, seqpacket, take};

/// The exit code of an agent whose configuration or policy cannot be used: to start it again
/// does not help. It is that of sysexits.h.
pub const BAD_CONFIG: u8 = 78;

/// The exit code of an agent whose kernel refuses what the previous one has handed over: to start
/// it again does not help before the next boot. It is that of sysexits.h.
pub const REFUSED_HANDOVER: u8 = 71;

/// An agent that dies so soon after its start has failed, though it may have been up: it is not
/// started again at once.
const SOON: Duration = Duration::from_secs(60);

/// How long it waits then; twice as long each time in a row.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest such time.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How often in a row that is tried if nothing is kept that would be lost.
const TIMES: u32 = 10;

/// How long an agent that is told to end may take, as in the unit for systemd
/// (`TimeoutStopSec=`). Then it is killed: it hangs, and a jump that is under way goes on
/// without it.
const GRACE: Duration = Duration::from_secs(90);

/// How many times in a row an agent has failed, if it had so many before. `up_for` is for how
/// long this one ran, if it has ever been up.
fn failures(before: u32, up_for: Option<Duration>) -> u32 {
    match up_for {
        Some(time) if time >= SOON => 0,
        _ => before.saturating_add(1),
    }
}

/// How long to wait before an agent is started again that has failed so many times in a row;
/// `None` to give up. As long as sessions are kept it is tried for ever.
fn pause(times: u32, keeps: bool, is_hopeless: bool) -> Option<Duration> {
    if (is_hopeless || times >= TIMES) && !keeps {
        return None;
    }
    let factor = 1_u32.checked_shl(times.saturating_sub(1));
    Some(
        PAUSE
            .saturating_mul(factor.unwrap_or(u32::MAX))
            .min(MAX_PAUSE),
    )
}

/// The descriptors that are kept, by name.
#[derive(Default)]
struct Kept {
    fds: Vec<(String, OwnedFd)>,
    /// The agent that runs now has said that it is up.
    is_up: bool,
}

impl Kept {
    /// Takes a message of the agent.
    fn take(&mut self, text: &str, fds: Vec<OwnedFd>) {
        let field = |key: &str| {
            let lines = text.lines();
            let mut values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            values.next()
        };
        self.is_up |= field("READY") == Some("1");
        let name = field("FDNAME").unwrap_or("stored");
        if field("FDSTORE") == Some("1") {
            for fd in fds {
                if self.fds.len() >= MOST {
                    tracing::error!("{MOST} descriptors are kept already: '{name}' is not");
                    return;
                }
                self.fds.push((name.to_owned(), fd));
            }
        } else if field("FDSTOREREMOVE") == Some("1") {
            self.fds.retain(|(known, _)| known != name);
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

/// The signals that are passed on, each with a pipe that has a byte when it has come.
struct Signals([(Signal, UnixStream); 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        let pipe = |signal: Signal| {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal.as_raw(), theirs)?;
            Ok::<_, io::Error>((signal, ours))
        };
        Ok(Self([
            pipe(Signal::TERM)?,
            pipe(Signal::INT)?,
            pipe(Signal::HUP)?,
        ]))
    }

    /// Those that have come since.
    fn come(&mut self) -> Vec<Signal> {
        let mut come = Vec::new();
        for (signal, pipe) in &mut self.0 {
            // The pipe does not block. However often a signal has come, it counts once.
            if matches!(pipe.read(&mut [0; 64]), Ok(1..)) {
                come.push(*signal);
            }
        }
        come
    }

    /// Waits until a time is over; says whether it was told to end before. HUP ends the
    /// waiting: the administrator has mended something.
    fn ends_within(&mut self, time: Duration) -> io::Result<bool> {
        let begun = Instant::now();
        loop {
            let come = self.come();
            if come.iter().any(|signal| ends(*signal)) {
                return Ok(true);
            }
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() || !come.is_empty() {
                return Ok(false);
            }
            let left = Timespec::try_from(left).unwrap_or_default();
            let mut fds = self
                .0
                .each_ref()
                .map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN));
            match poll(&mut fds, Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(why) => return Err(why.into()),
            }
        }
    }
}

/// Whether a signal says to end.
fn ends(signal: Signal) -> bool {
    signal != Signal::HUP
}

/// How an agent has ended.
struct Ended {
    status: ExitStatus,
    /// It was told to.
    was_told: bool,
}

/// Runs a command, and again whenever it dies of a signal or fails, until it succeeds or
/// there is no hope. SIGTERM, SIGINT and SIGHUP are passed on to it; after the first two it
/// is not started again.
///
/// # Errors
/// The command cannot be started; the sockets cannot be made.
pub fn run(program: &Path, arguments: &[String], runtime: &Path) -> io::Result<ExitStatus> {
    run_with(GRACE, program, arguments, runtime)
}

fn run_with(
    grace: Duration,
    program: &Path,
    arguments: &[String],
    runtime: &Path,
) -> io::Result<ExitStatus> {
    let mut signals = Signals::new()?;
    let sockets = Sockets::bind(runtime)?;
    let mut kept = Kept::default();
    let mut times = 0;
    loop {
        let begun = Instant::now();
        kept.is_up = false;
        let child = Command::new(program)
            .args(arguments)
            .env("NOTIFY_SOCKET", &sockets.paths[0])
            .env(SOCKET, &sockets.paths[1])
            .env(ROOM, MOST.to_string())
            .spawn()?;
        let Ended { status, was_told } = watch(child, &sockets, &mut kept, &mut signals, grace)?;
        if status.success() || was_told {
            return Ok(status);
        }
        times = failures(times, kept.is_up.then(|| begun.elapsed()));
        if times == 0 {
            tracing::warn!("luod has ended ({status}): it is started again");
            continue;
        }
        let hopeless = [BAD_CONFIG, REFUSED_HANDOVER].map(i32::from);
        let is_hopeless = status.code().is_some_and(|code| hopeless.contains(&code));
        let Some(pause) = pause(times, !kept.fds.is_empty(), is_hopeless) else {
            tracing::error!("luod has ended ({status}): to start it again does not help");
            return Ok(status);
        };
        let seconds = pause.as_secs_f64();
        tracing::warn!("luod has ended ({status}): it is started again in {seconds} s");
        if signals.ends_within(pause)? {
            return Ok(status);
        }
    }
}

/// Takes messages until the child has ended, and then those that are left.
fn watch(
    mut child: Child,
    sockets: &Sockets,
    kept: &mut Kept,
    signals: &mut Signals,
    grace: Duration,
) -> io::Result<Ended> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut told: Option<Instant> = None;
    let mut is_killed = false;
    loop {
        let [(_, one), (_, two), (_, three)] = &signals.0;
        let mut fds = [
            PollFd::new(&sockets.notify, PollFlags::IN),
            PollFd::new(&process, PollFlags::IN),
            PollFd::new(&sockets.store, PollFlags::IN),
            PollFd::new(one, PollFlags::IN),
            PollFd::new(two, PollFlags::IN),
            PollFd::new(three, PollFlags::IN),
        ];
        let left = told.filter(|_| !is_killed);
        let left = left.map(|told| grace.saturating_sub(told.elapsed()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(why) => {
                let _ = pidfd_send_signal(&process, Signal::TERM);
                return Err(why.into());
            }
            Ok(_) => {}
        }
        let [_, ended, asked, ..] = fds.map(|fd| !fd.revents().is_empty());
        for signal in signals.come() {
            if ends(signal) {
                told.get_or_insert_with(Instant::now);
            }
            // If it has ended, there is nobody to be told.
            let _ = pidfd_send_signal(&process, signal);
        }
        while receive(&sockets.notify, kept)? {}
        if ended {
            let status = child.wait()?;
            let was_told = told.is_some();
            return Ok(Ended { status, was_told });
        }
        if told.is_some_and(|told| told.elapsed() >= grace) && !is_killed {
            is_killed = true;
            let seconds = grace.as_secs_f64();
            tracing::error!("luod was told to end {seconds} s ago, and hangs: it is killed");
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }
        if asked && let Err(why) = give(&sockets.store, &kept.fds) {
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
        let names: Vec<_> = kept.fds.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "stored"]);
        kept.take("FDSTOREREMOVE=1\nFDNAME=a", vec![]);
        assert_eq!(kept.fds.len(), 2);
        // Descriptors that come with another message are closed.
        kept.take("STATUS=x", vec![fd()]);
        assert_eq!(kept.fds.len(), 2);
    }

    #[test]
    fn one_that_cannot_be_started_is_given_up() {
        let pauses: Vec<_> = (1..)
            .map_while(|times| pause(times, false, false))
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(
            pauses,
            [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]
        );
        assert_eq!(pause(1, false, true), None);
        // Not while sessions would be lost by that.
        for times in [1, 10, 100, u32::MAX] {
            assert!(pause(times, true, true).is_some_and(|pause| pause <= MAX_PAUSE));
        }
    }

    #[test]
    fn one_that_dies_again_and_again_has_failed_however_far_it_came() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(failures(0, None), 1);
        assert_eq!(failures(3, seconds(2)), 4);
        assert_eq!(failures(3, seconds(59)), 4);
        assert_eq!(failures(3, seconds(60)), 0);
    }

    #[test]
    fn one_that_does_not_end_when_it_is_told_to_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().to_owned();
        let script = "trap '' TERM; : > \"$0\"; while :; do sleep 0.01; done";
        let deaf = folder.path().join("deaf");
        let arguments = ["-c", script, deaf.to_str().unwrap()].map(str::to_owned);
        let running = std::thread::spawn(move || {
            let grace = Duration::from_millis(300);
            run_with(grace, Path::new("/bin/sh"), &arguments, &runtime).unwrap()
        });
        while !deaf.exists() {
            std::thread::yield_now();
        }
        // By now this process has a handler for it.
        let told = Instant::now();
        rustix::process::kill_process(rustix::process::getpid(), Signal::TERM).unwrap();
        let status = running.join().unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
        assert!(told.elapsed() >= Duration::from_millis(300));
    }

    #[test]
    fn the_agent_says_that_it_is_up() {
        let mut kept = Kept::default();
        kept.take("STATUS=normal", vec![]);
        assert!(!kept.is_up);
        kept.take("READY=1\nSTATUS=normal", vec![]);
        assert!(kept.is_up);
    }
}
