// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kills the children of this process. It may have been forked from one of several threads, so
//! nothing here asks for memory: names and texts lie on the stack.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::process::{Pid, Signal, getpid, kill_process};

/// Bytes of a list of processes that are read at once.
const LIST: usize = 8192;

/// Bytes of what is told of a process: its parent stands at the beginning.
const TOLD: usize = 512;

/// The longest number of a process, and what stands behind it, with the zero.
const NAME: usize = 24;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);

/// Kills the children of this process, as far as `/proc` names them; says whether there were any.
/// Not each kernel has lists of children, so everybody is asked for their parent.
pub(super) fn kill_children() -> bool {
    let folder = openat(CWD, c"/proc", FLAGS | OFlags::DIRECTORY, Mode::empty());
    let Ok(folder) = folder else {
        return false;
    };
    let mut buffer = [MaybeUninit::uninit(); LIST];
    let mut list = RawDir::new(&folder, &mut buffer);
    let own = getpid();
    let mut any = false;
    while let Some(Ok(entry)) = list.next() {
        let Some(pid) = number(entry.file_name().to_bytes()) else {
            continue;
        };
        let mut path = [0; NAME];
        let parent = stat_of(entry.file_name(), &mut path).and_then(|path| {
            let file = openat(&folder, path, FLAGS, Mode::empty()).ok()?;
            let mut told = [0; TOLD];
            let length = rustix::io::read(&file, &mut told).ok()?;
            parent(told.get(..length)?)
        });
        if parent == Some(own) {
            // One that has ended meanwhile takes a signal, too, for nobody else reaps it.
            any |= kill_process(pid, Signal::KILL).is_ok();
        }
    }
    any
}

fn number(digits: &[u8]) -> Option<Pid> {
    let mut number: i32 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number
            .checked_mul(10)?
            .checked_add(i32::from(digit - b'0'))?;
    }
    Pid::from_raw(number)
}

/// `PID/stat`, below the list of processes.
fn stat_of<'a>(name: &CStr, to: &'a mut [u8; NAME]) -> Option<&'a CStr> {
    const FILE: &[u8] = b"/stat\0";
    let name = name.to_bytes();
    let end = name.len().checked_add(FILE.len())?;
    to.get_mut(..name.len())?.copy_from_slice(name);
    to.get_mut(name.len()..end)?.copy_from_slice(FILE);
    CStr::from_bytes_with_nul(to.get(..end)?).ok()
}

/// The parent, of a text such as `7 (a name) S 1 7 ...`. The name may have brackets in it.
fn parent(told: &[u8]) -> Option<Pid> {
    let bracket = told.iter().rposition(|&byte| byte == b')')?;
    let mut words = told.get(bracket..)?.split(|&byte| byte == b' ');
    number(words.nth(2)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_stands_behind_the_name() {
        let pid = |number| Pid::from_raw(number);
        assert_eq!(parent(b"7 (sh) S 12 7 7 0"), pid(12));
        assert_eq!(parent(b"7 (a ) S 9 (b) R 12 7"), pid(12));
        for told in [&b""[..], b"7 (sh)", b"7 (sh) S x", b"7 (sh) S 0 0"] {
            assert_eq!(parent(told), None);
        }
        assert_eq!(number(b"99999999999"), None);
        assert_eq!(stat_of(c"42", &mut [0; NAME]), Some(c"42/stat"));
        assert_eq!(stat_of(c"4242424242424242424242", &mut [0; NAME]), None);
    }
}
