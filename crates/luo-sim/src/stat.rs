// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stat, statx and access say of our paths, before anybody opens them.

use luo_abi::errno::Errno;
use zerocopy::IntoBytes as _;

use crate::caller::Thread;
use crate::files::not_a_folder;
use crate::machine::Machine;
use crate::path::Place;
use crate::policy::Choice;
use crate::table::Object;

/// From `linux/stat.h`.
const CHARACTER_DEVICE: u32 = 0o020_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// The major number of miscellaneous devices; minors are from the dynamic range.
const MISC: u32 = 10;
const FIRST_MINOR: u32 = 240;

/// Bytes of a file in sysfs, as the kernel says.
const ATTRIBUTE: u64 = 4096;

/// In which structure the answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Stat,
    Statx,
}

/// What there is to say of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    number: u64,
    mode: u32,
    minor: Option<u32>,
    size: u64,
    links: u32,
    /// User and group.
    owners: [u32; 2],
}

/// Of one of our paths; `None` if it is not in this machine, or there anyway.
fn status(machine: &Machine, place: Place) -> Option<Status> {
    let driver = machine.driver.is_some();
    let file = machine.permissions(place);
    let device = |minor| {
        (
            CHARACTER_DEVICE | file.mode,
            Some(FIRST_MINOR + minor),
            0,
            1,
        )
    };
    let regular = |size| (REGULAR | file.mode, None, size, 1);
    let (number, (mode, minor, size, links)) = match place {
        Place::Device => (1, device(0)),
        Place::Forge if driver => (2, device(1)),
        Place::Participant if driver => (3, device(2)),
        Place::Lock => (32, regular(0)),
        Place::Folder => (4, (DIRECTORY | file.mode, None, 0, 2)),
        Place::State => (5, regular(ATTRIBUTE)),
        Place::UpdateCount => (6, regular(ATTRIBUTE)),
        Place::Image => (7, regular(ATTRIBUTE)),
        Place::Choice(Choice::Of(word)) => (8 + word as u64, regular(ATTRIBUTE)),
        Place::Choice(Choice::Users(whom, quota)) => {
            (16 + 8 * whom as u64 + quota as u64, regular(ATTRIBUTE))
        }
        _ => return None,
    };
    machine.policy.enabled.then_some(Status {
        number,
        mode,
        minor,
        size,
        links,
        owners: [file.user, file.group],
    })
}

/// A structure of numbers at known places.
struct Layout(Vec<u8>);

impl Layout {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(to) = self.0.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    }
}

impl Status {
    /// As `struct stat` of this architecture: x86-64 has one of its own.
    fn stat(&self) -> Vec<u8> {
        let x86 = cfg!(target_arch = "x86_64");
        let (length, mode) = if x86 { (144, 24) } else { (128, 16) };
        let (links, device) = if x86 { (16, 40) } else { (20, 32) };
        let owners = if x86 { 28 } else { 24 };
        let mut to = Layout(vec![0; length]);
        to.put(8, &self.number.to_ne_bytes());
        to.put(links, &self.links.to_ne_bytes());
        to.put(mode, &self.mode.to_ne_bytes());
        to.put(owners, self.owners.as_bytes());
        let encoded = self.minor.map_or(0, |minor| {
            u64::from(minor & 0xff | MISC << 8 | (minor & !0xff) << 12)
        });
        to.put(device, &encoded.to_ne_bytes());
        to.put(48, &self.size.to_ne_bytes());
        to.put(56, &4096u32.to_ne_bytes());
        to.0
    }

    /// As `struct statx`.
    fn statx(&self) -> Vec<u8> {
        /// All that `stat` has, but times.
        const BASIC: u32 = 0x7ff & !0xe0;
        let mut to = Layout(vec![0; 256]);
        to.put(0, &BASIC.to_ne_bytes());
        to.put(4, &4096u32.to_ne_bytes());
        to.put(16, &self.links.to_ne_bytes());
        to.put(20, self.owners.as_bytes());
        to.put(28, &(self.mode as u16).to_ne_bytes());
        to.put(32, &self.number.to_ne_bytes());
        to.put(40, &self.size.to_ne_bytes());
        if let Some(minor) = self.minor {
            to.put(128, &MISC.to_ne_bytes());
            to.put(132, &minor.to_ne_bytes());
        }
        to.0
    }
}

/// Answers a stat or statx; false if it is not ours.
///
/// # Errors
/// EFAULT.
pub(crate) fn tell(
    machine: &Machine,
    caller: &Thread<'_>,
    place: Place,
    form: Form,
    to: u64,
) -> Result<bool, Errno> {
    if place == Place::InFile && machine.policy.enabled {
        return Err(not_a_folder());
    }
    let Some(status) = status(machine, place) else {
        return Ok(false);
    };
    let bytes = match form {
        Form::Stat => status.stat(),
        Form::Statx => status.statx(),
    };
    caller.write(to, &bytes)?;
    Ok(true)
}

/// Answers an fstatfs of a descriptor; false if it is not ours.
///
/// # Errors
/// EFAULT.
pub(crate) fn tell_file_system(
    caller: &Thread<'_>,
    object: Option<&Object>,
    to: u64,
) -> Result<bool, Errno> {
    // From `linux/magic.h`: a device is in devtmpfs.
    const TMPFS: u64 = 0x0102_1994;
    const ANONYMOUS: u64 = 0x0904_1934;
    let magic = match object {
        Some(Object::Session(_)) => ANONYMOUS,
        Some(Object::Device(_)) => TMPFS,
        _ => return Ok(false),
    };
    // `struct statfs` of all 64-bit architectures: kind, size of a block, counts, longest
    // name, size of a fragment.
    let mut answer = Layout(vec![0; 120]);
    answer.put(0, &magic.to_ne_bytes());
    answer.put(8, &4096_u64.to_ne_bytes());
    answer.put(64, &255_u64.to_ne_bytes());
    answer.put(72, &4096_u64.to_ne_bytes());
    caller.write(to, &answer.0)?;
    Ok(true)
}

/// Answers an access; false if it is not ours.
///
/// # Errors
/// EACCES: the mode does not admit that. What an open or a write asks for beside it is not
/// asked here.
pub(crate) fn access(
    machine: &Machine,
    caller: &Thread<'_>,
    place: Place,
    wanted: u64,
) -> Result<bool, Errno> {
    if place == Place::InFile && machine.policy.enabled {
        return Err(not_a_folder());
    }
    if status(machine, place).is_none() {
        return Ok(false);
    }
    // The lower bits of a mode mean what those of the call mean.
    let wanted = wanted as u32 & 7;
    if wanted != 0 && !machine.permissions(place).admit(caller, wanted) {
        return Err(Errno::EACCES);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: Status = Status {
        number: 1,
        mode: CHARACTER_DEVICE | 0o600,
        minor: Some(300),
        size: 0,
        links: 1,
        owners: [0, 7],
    };

    #[test]
    fn a_device_has_its_number_in_both() {
        let statx = DEVICE.statx();
        assert_eq!(statx[128..136], [10, 0, 0, 0, 44, 1, 0, 0]);
        assert_eq!(statx[20..28], [0, 0, 0, 0, 7, 0, 0, 0]);
        let stat = DEVICE.stat();
        let at = if cfg!(target_arch = "x86_64") { 40 } else { 32 };
        let encoded = u64::from_ne_bytes(stat[at..at + 8].try_into().unwrap());
        assert_eq!(encoded, 44 | 10 << 8 | 256 << 12);
    }

    #[test]
    fn the_structures_are_as_long_as_the_kernels() {
        assert_eq!(DEVICE.statx().len(), size_of::<rustix::fs::Statx>());
        assert_eq!(DEVICE.stat().len(), size_of::<rustix::fs::Stat>());
    }
}
