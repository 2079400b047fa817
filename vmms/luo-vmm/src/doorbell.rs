// SPDX-License-Identifier: MIT OR Apache-2.0
//! A doorbell: the smallest device that works by eventfds in both directions.
//!
//! | the guest | what happens |
//! |---|---|
//! | writes to [`PORT`] | it rings: KVM adds one to an eventfd (ioeventfd), and the guest goes on at once |
//! | reads 32 bits from it | how many rings were heard up to now |
//! | has an interrupt on line 5 | rings were heard: by another eventfd, which KVM waits for (irqfd) |
//!
//! Both eventfds go over a jump with the guest. A ring that nobody has heard is in the count of the
//! first, and in no state: it is heard in the next kernel. An interrupt is in the interrupt
//! controllers' state, and for that KVM is taken off the second eventfd before the state is
//! read ([`Doorbell::disconnect`]), which waits for what is on its way.
//!
//! The kernel brings eventfds back, and not who waits for them: that is set up anew
//! ([`Doorbell::connect`]).

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kvm_ioctls::{IoEventAddress, NoDatamatch};
use luo_sys::kvm::{descriptor_of, eventfd};
use rustix::event::EventfdFlags;
use rustix::io::Errno;
use vmm_sys_util::eventfd::EventFd;

use crate::exit::Error;
use crate::vm::Vm;

/// Its port.
pub const PORT: u16 = 0x620;

/// Its line.
const IRQ: u32 = 5;

/// A doorbell.
pub struct Doorbell {
    rung: EventFd,
    line: EventFd,
    heard: Heard,
    /// KVM adds rings to the eventfd.
    is_rung: bool,
    /// KVM waits for the other one.
    is_wired: bool,
}

/// How many rings were heard, for the processors that ask for it.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<AtomicU64>);

impl Heard {
    /// The guest reads the port.
    pub fn read(&self, data: &mut [u8]) {
        let count = self.count().to_le_bytes();
        data.fill(0xff);
        for (byte, its) in data.iter_mut().zip(count) {
            *byte = its;
        }
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

fn made() -> Result<OwnedFd, Error> {
    // Whoever looks for rings where there are none does not wait.
    let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
    let made = rustix::event::eventfd(0, flags);
    made.map_err(|why| Error::system("an eventfd")(why.into()))
}

impl Doorbell {
    /// One that nobody has rung.
    ///
    /// # Errors
    /// [`Error::Monitor`]: there is no descriptor to be had.
    pub fn new() -> Result<Self, Error> {
        Ok(Self::of(made()?, made()?, 0))
    }

    /// One that has come over a jump: its eventfds, and how many rings were heard.
    #[must_use]
    pub fn of(rung: OwnedFd, line: OwnedFd, heard: u64) -> Self {
        Self {
            rung: eventfd(rung),
            line: eventfd(line),
            heard: Heard(Arc::new(AtomicU64::new(heard))),
            is_rung: false,
            is_wired: false,
        }
    }

    /// Has KVM use both eventfds, for a VM whose interrupt controllers have their state.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn connect(&mut self, vm: &Vm) -> Result<(), Error> {
        if !self.is_rung {
            let port = IoEventAddress::Pio(PORT.into());
            let done = vm.fd().register_ioevent(&self.rung, &port, NoDatamatch);
            done.map_err(Error::kvm("KVM_IOEVENTFD"))?;
            self.is_rung = true;
        }
        if !self.is_wired {
            match vm.fd().register_irqfd(&self.line, IRQ) {
                // A VM whose process has ended waits for this one, and for good.
                Err(why) if why.errno() == Errno::BUSY.raw_os_error() => {
                    self.line = eventfd(made()?);
                    vm.fd().register_irqfd(&self.line, IRQ)
                }
                done => done,
            }
            .map_err(Error::kvm("KVM_IRQFD"))?;
            self.is_wired = true;
        }
        Ok(())
    }

    /// Takes KVM off the interrupt's eventfd. When this returns, each interrupt is in the state of the
    /// interrupt controllers.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn disconnect(&mut self, vm: &Vm) -> Result<(), Error> {
        if std::mem::take(&mut self.is_wired) {
            let done = vm.fd().unregister_irqfd(&self.line, IRQ);
            done.map_err(Error::kvm("KVM_IRQFD"))?;
        }
        Ok(())
    }

    /// Hears what was rung, if something was, and interrupts the guest once for all of it.
    ///
    /// # Errors
    /// [`Error::Monitor`].
    pub fn answer(&self) -> Result<(), Error> {
        let rings = match self.rung.read() {
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            rings => rings.map_err(Error::system("the doorbell"))?,
        };
        // The count goes first: whoever is interrupted may read it at once.
        self.heard.0.fetch_add(rings, Ordering::AcqRel);
        let done = self.line.write(1);
        done.map_err(Error::system("the doorbell's interrupt"))
    }

    /// Rings that nobody has heard. They stay what they are.
    #[must_use]
    pub fn unheard(&self) -> u64 {
        let about = format!("/proc/thread-self/fdinfo/{}", self.rung.as_raw_fd());
        let about = std::fs::read_to_string(about).unwrap_or_default();
        let count = about
            .lines()
            .find_map(|line| line.strip_prefix("eventfd-count:"));
        let count = count.and_then(|count| u64::from_str_radix(count.trim(), 16).ok());
        count.unwrap_or_default()
    }

    /// How many rings were heard.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// What can be read from when it was rung, and is preserved.
    #[must_use]
    pub fn rung(&self) -> BorrowedFd<'_> {
        descriptor_of(&self.rung)
    }

    /// The eventfd of its interrupt, which is preserved, too.
    #[must_use]
    pub fn line(&self) -> BorrowedFd<'_> {
        descriptor_of(&self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ring_is_heard_once_and_the_guest_is_interrupted_once_for_all() {
        let bell = Doorbell::new().unwrap();
        bell.answer().unwrap();
        assert_eq!(
            bell.line.read().unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock
        );
        for _ in 0..3 {
            bell.rung.write(1).unwrap();
        }
        assert_eq!(
            (bell.unheard(), bell.unheard(), bell.heard().count()),
            (3, 3, 0)
        );
        bell.answer().unwrap();
        assert_eq!((bell.unheard(), bell.heard().count()), (0, 3));
        assert_eq!(bell.line.read().unwrap(), 1);
    }

    #[test]
    fn what_was_not_heard_is_heard_by_whoever_gets_the_eventfds() {
        let bell = Doorbell::new().unwrap();
        bell.rung.write(5).unwrap();
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
        let next = Doorbell::of(copy(bell.rung()), copy(bell.line()), 0x1_0000_0002);
        drop(bell);
        next.answer().unwrap();
        let mut data = [0; 4];
        next.heard().read(&mut data);
        assert_eq!(u32::from_le_bytes(data), 7);
        let mut more = [0xff; 9];
        next.heard().read(&mut more);
        assert_eq!(more, [7, 0, 0, 0, 1, 0, 0, 0, 0xff]);
    }
}
