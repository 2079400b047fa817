// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Which PCI devices go on running through a kexec, and which bridges they need for that.
//!
//! A driver names a device by its path: the device itself, and the bridges above it. Each entry
//! counts the devices that need it, so a bridge goes on for as long as one device below does. The
//! table is one page for the next kernel ([`luo_abi::pci`]), which reads it with distrust while it
//! looks for devices.

use core::fmt;
use core::mem::{offset_of, size_of};

use luo_abi::bytes;
use luo_abi::errno::Errno;
use luo_abi::note::Head;
use luo_abi::pci::{Device, MOST, PCI_MAGIC};
use zerocopy::{FromBytes, IntoBytes};

use crate::handover::block::{BlockMemory, HandedMemory};
use crate::mem::{OutOfMemory, Vec};
use crate::note::Unread;
use crate::table::hash::Digest;

/// Where a device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its domain.
    pub domain: u32,
    /// Bus, slot and function, as in [`Device::bdf`].
    pub bdf: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (domain, bus) = (self.domain, self.bdf >> 8);
        let (slot, function) = (self.bdf >> 3 & 0x1f, self.bdf & 7);
        write!(f, "{domain:04x}:{bus:02x}:{slot:02x}.{function}")
    }
}

/// Why a device is not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// No file of a driver of such devices is preserved.
    NoTable,
    /// There is no device in the path.
    NoDevice,
    /// It goes on already.
    Already,
    /// There is no room for it, or for a bridge above it.
    Full,
    /// There is no memory for it.
    NoMemory,
}

impl NotAdded {
    /// The error that the caller is told.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::NoTable => Errno::ENOENT,
            Self::NoDevice => Errno::EINVAL,
            Self::Already => Errno::EBUSY,
            Self::Full => Errno::ENOSPC,
            Self::NoMemory => Errno::ENOMEM,
        }
    }
}

impl From<OutOfMemory> for NotAdded {
    fn from(_: OutOfMemory) -> Self {
        Self::NoMemory
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    place: Place,
    uses: u16,
}

/// Devices and the bridges above them, in ascending order.
pub struct Devices {
    entries: Vec<Entry>,
}

impl Default for Devices {
    fn default() -> Self {
        Self::new()
    }
}

impl Devices {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// How many devices and bridges there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Whether a device or a bridge is among them.
    #[must_use]
    pub fn contains(&self, place: Place) -> bool {
        self.find(place).is_ok()
    }

    fn find(&self, place: Place) -> Result<usize, usize> {
        self.entries
            .binary_search_by_key(&place, |entry| entry.place)
    }

    /// Adds a device and the bridges above it; the device comes first. All of them or none.
    ///
    /// # Errors
    /// [`NotAdded`].
    pub fn add(&mut self, path: &[Place]) -> Result<(), NotAdded> {
        let device = path.first().ok_or(NotAdded::NoDevice)?;
        if self.contains(*device) {
            return Err(NotAdded::Already);
        }
        let mut new = 0usize;
        for place in path {
            match self.find(*place) {
                Ok(at) => {
                    let uses = self.entries.get(at).map(|entry| entry.uses);
                    uses.and_then(|uses| uses.checked_add(1))
                        .ok_or(NotAdded::Full)?;
                }
                Err(_) => new = new.saturating_add(1),
            }
        }
        if self.entries.len().saturating_add(new) > MOST {
            return Err(NotAdded::Full);
        }
        self.entries.reserve(new)?;
        for place in path {
            match self.find(*place) {
                Ok(at) => {
                    if let Some(entry) = self.entries.get_mut(at) {
                        entry.uses = entry.uses.saturating_add(1);
                    }
                }
                Err(_) => self.insert(*place)?,
            }
        }
        Ok(())
    }

    /// Adds an entry where it belongs. There is room for it.
    fn insert(&mut self, place: Place) -> Result<(), OutOfMemory> {
        self.entries.push(Entry { place, uses: 1 })?;
        let mut end = self.entries.len();
        while let Some([.., before, last]) = self.entries.get_mut(..end) {
            if before.place <= last.place {
                break;
            }
            core::mem::swap(before, last);
            end = end.saturating_sub(1);
        }
        Ok(())
    }

    /// Takes a device out, and those of the bridges above it that no other device needs. False if
    /// the device is not among them; nothing happens then.
    pub fn remove(&mut self, path: &[Place]) -> bool {
        if !path.first().is_some_and(|device| self.contains(*device)) {
            return false;
        }
        for place in path {
            let Ok(at) = self.find(*place) else {
                continue;
            };
            match self.entries.get_mut(at) {
                Some(entry) if entry.uses > 1 => entry.uses = entry.uses.saturating_sub(1),
                _ => drop(self.entries.remove(at)),
            }
        }
        true
    }

    /// Writes them onto a page, which is all zeros or has others of them.
    pub fn write(&self, page: &mut [u8]) {
        let mut head = Head {
            magic: PCI_MAGIC,
            required: 0,
            optional: 0,
            length: (self.entries.len() as u64).saturating_mul(size_of::<Device>() as u64),
            checksum: 0,
        };
        let mut digest = digest_of(&head);
        let (start, rest) = page
            .split_at_mut_checked(size_of::<Head>())
            .unwrap_or_default();
        let rooms = rest.chunks_exact_mut(size_of::<Device>());
        for (room, entry) in rooms.zip(self.entries.iter()) {
            let device = Device {
                domain: entry.place.domain,
                bdf: entry.place.bdf,
                uses: entry.uses,
            };
            digest.absorb_bytes(device.as_bytes());
            bytes::copy(room, device.as_bytes());
        }
        head.checksum = digest.finish();
        bytes::copy(start, head.as_bytes());
    }

    /// Reads those of the previous kernel.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn read(page: &impl HandedMemory) -> Result<Self, Unread> {
        let head: Head = structure(page, 0)?;
        if head.magic != PCI_MAGIC {
            return Err(Unread::Mark);
        }
        let length = usize::try_from(head.length).unwrap_or(usize::MAX);
        let count = length.checked_div(size_of::<Device>()).unwrap_or(0);
        if length.checked_rem(size_of::<Device>()) != Some(0) || count > MOST {
            return Err(Unread::Length(head.length));
        }
        let mut digest = digest_of(&head);
        let mut entries = Vec::with_capacity(count).map_err(|OutOfMemory| Unread::NoMemory)?;
        let mut are_sane = true;
        // Each byte is looked at once.
        for at in 0..count {
            let offset = at.saturating_mul(size_of::<Device>());
            let device: Device = structure(page, size_of::<Head>().saturating_add(offset))?;
            digest.absorb_bytes(device.as_bytes());
            let entry = Entry {
                place: Place {
                    domain: device.domain,
                    bdf: device.bdf,
                },
                uses: device.uses,
            };
            let ascends = |before: &Entry| before.place < entry.place;
            are_sane &= entry.uses > 0 && entries.last().is_none_or(ascends);
            entries
                .push(entry)
                .map_err(|OutOfMemory| Unread::NoMemory)?;
        }
        if digest.finish() != head.checksum {
            return Err(Unread::Checksum);
        }
        match (head.required, are_sane) {
            (0, true) => Ok(Self { entries }),
            (0, false) => Err(Unread::Value),
            (features, _) => Err(Unread::Unknown(features)),
        }
    }
}

/// What a host knows of them: those that go on in the next kernel, with the page for it, and those
/// that came from the previous one.
pub struct Running<B> {
    outgoing: Option<(Devices, B)>,
    /// With the page's address.
    incoming: Option<(Devices, u64)>,
    had_incoming: bool,
}

impl<B: BlockMemory> Running<B> {
    /// None of either.
    pub const NONE: Self = Self {
        outgoing: None,
        incoming: None,
        had_incoming: false,
    };

    /// Devices can be added from now on. What was there before goes.
    pub fn begin(&mut self, mut page: B) -> Option<(Devices, B)> {
        let devices = Devices::new();
        devices.write(page.bytes());
        self.outgoing.replace((devices, page))
    }

    /// None goes on. What was there goes.
    pub fn end(&mut self) -> Option<(Devices, B)> {
        self.outgoing.take()
    }

    /// See [`Devices::add`].
    ///
    /// # Errors
    /// [`NotAdded`].
    pub fn add(&mut self, path: &[Place]) -> Result<(), NotAdded> {
        let (devices, page) = self.outgoing.as_mut().ok_or(NotAdded::NoTable)?;
        devices.add(path)?;
        devices.write(page.bytes());
        Ok(())
    }

    /// See [`Devices::remove`].
    pub fn remove(&mut self, path: &[Place]) {
        if let Some((devices, page)) = self.outgoing.as_mut() {
            devices.remove(path);
            devices.write(page.bytes());
        }
    }

    /// Whether a device or a bridge goes on in the next kernel.
    pub fn goes_on(&self, place: Place) -> bool {
        let outgoing = self.outgoing.as_ref();
        outgoing.is_some_and(|(devices, _)| devices.contains(place))
    }

    /// These have come from the previous kernel, on a page at `address`.
    pub fn arrive(&mut self, devices: Devices, address: u64) {
        self.had_incoming |= devices.count() > 0;
        self.incoming = Some((devices, address));
    }

    /// Whether a device or a bridge has come from the previous kernel and is not finished.
    pub fn is_incoming(&self, place: Place) -> bool {
        let incoming = self.incoming.as_ref();
        incoming.is_some_and(|(devices, _)| devices.contains(place))
    }

    /// Whether one has ever come.
    pub fn had_incoming(&self) -> bool {
        self.had_incoming
    }

    /// A device is like all others now, and so are bridges that no other one needs.
    pub fn finish(&mut self, path: &[Place]) {
        if let Some((devices, _)) = self.incoming.as_mut() {
            devices.remove(path);
        }
    }

    /// All are. Answers with the page's address, and how many have not been finished before.
    pub fn finish_all(&mut self) -> Option<(u64, usize)> {
        let (devices, address) = self.incoming.take()?;
        Some((address, devices.count()))
    }
}

fn structure<T: FromBytes + IntoBytes>(
    page: &impl HandedMemory,
    offset: usize,
) -> Result<T, Unread> {
    crate::note::structure(page, offset).ok_or(Unread::Mark)
}

/// A digest that has absorbed what counts of a head.
fn digest_of(head: &Head) -> Digest {
    let mut digest = Digest::new();
    let counts = head.as_bytes().get(..offset_of!(Head, checksum));
    digest.absorb_bytes(counts.unwrap_or_default());
    digest
}

#[cfg(test)]
mod tests;
