// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processes of a simulated machine: looking into them, and ending them all.

use std::os::fd::RawFd;
use std::time::Duration;

use luo_abi::errno::Errno;
use luo_sys::process::{self, Process};
use luo_sys::supervise::Tree;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

/// How long the init may take to see that its children are gone, before they are
/// looked for again.
const PATIENCE: Duration = Duration::from_millis(5);

/// Kills everybody under the init; it ends when nobody is left.
pub(crate) fn kill(mut tree: Tree) {
    let init = tree.init.id();
    let process = Process::open(init).ok();
    loop {
        for pid in descendants(init) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // A process that is gone already needs no signal.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let ended = match &process {
            Some(process) => has_ended(process),
            // No descriptor is left for it, or that is forbidden: look now and then.
            None => {
                std::thread::sleep(PATIENCE);
                !matches!(tree.init.try_wait(), Ok(None))
            }
        };
        if ended {
            break;
        }
    }
    let _ = tree.init.wait();
}

/// Looks into a tree as is done at each call: whether anything forbids that.
///
/// # Errors
/// What is forbidden.
pub(crate) fn probe(tree: &Tree) -> Result<(), luo_sys::Error> {
    let init = tree.init.id();
    // There is nothing to be had at such places: who may look is told that.
    let (nowhere, nothing) = (0, RawFd::MAX);
    let process = Process::open(init)?;
    let looks = [
        process.descriptor(nothing).err(),
        process::read_memory(init, nowhere, &mut [0]).err(),
        process::write_memory(init, nowhere, &[0]).err(),
    ];
    let answers = [Errno::EBADF, Errno::EFAULT];
    let forbidden = |error: &luo_sys::Error| !answers.contains(&error.errno());
    looks
        .into_iter()
        .flatten()
        .find(forbidden)
        .map_or(Ok(()), Err)
}

fn has_ended(process: &Process) -> bool {
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    let timeout = Timespec::try_from(PATIENCE).ok();
    // An error would not go away by asking again.
    !matches!(
        poll(&mut fds, timeout.as_ref()),
        Ok(0) | Err(rustix::io::Errno::INTR)
    )
}

/// All processes below one.
fn descendants(of: u32) -> Vec<u32> {
    let mut found = children(of);
    let mut at = 0;
    while let Some(&pid) = found.get(at) {
        found.extend(children(pid));
        at += 1;
    }
    found
}

/// The children of all threads of a process.
fn children(of: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{of}/task")) else {
        return Vec::new();
    };
    let lists = threads.flatten().map(|thread| {
        let list = thread.path().join("children");
        std::fs::read_to_string(list)
    });
    let mut found = Vec::new();
    for list in lists {
        match list {
            Ok(list) => found.extend(list.split_ascii_whitespace().flat_map(str::parse::<u32>)),
            // A kernel without these lists: everybody is asked for their parent.
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
                return by_parent(of);
            }
            Err(_) => {}
        }
    }
    found
}

fn by_parent(of: u32) -> Vec<u32> {
    let Ok(all) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = all
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| parent(pid) == Some(of)).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may have brackets in it.
    let behind = stat.rsplit_once(')')?.1;
    behind.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn children_are_found_both_ways() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let own = std::process::id();
        assert!(children(own).contains(&child.id()));
        assert!(by_parent(own).contains(&child.id()));
        assert!(descendants(own).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
