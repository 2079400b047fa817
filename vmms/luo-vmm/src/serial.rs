// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's serial port: what it says goes to a file, or to standard output, by way of
//! [`crate::said`]. Nothing is read.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use vm_superio::serial::{NoEvents, SerialState};

use crate::exit::Error;
use crate::said::{Mouth, Said};
use crate::vm::{Line, Vm};

/// The ports of the first one on a PC.
pub const PORTS: core::ops::Range<u16> = 0x3f8..0x400;

/// Its line.
const IRQ: u32 = 4;

/// The port.
pub struct Serial {
    device: vm_superio::Serial<Line, NoEvents, Mouth>,
}

impl Serial {
    /// A port in a state; after a power-on it is the default one.
    ///
    /// # Errors
    /// [`Error::NotResumed`].
    pub fn new(vm: &Vm, state: &SerialState, said: &Arc<Said>) -> Result<Self, Error> {
        let out = Mouth(Arc::clone(said));
        let device = vm_superio::Serial::from_state(state, vm.line(IRQ), NoEvents, out);
        let device =
            device.map_err(|why| Error::NotResumed(format!("the serial port: {why:?}")))?;
        Ok(Self { device })
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> SerialState {
        self.device.state()
    }

    /// The guest reads a register.
    pub fn read(&mut self, port: u16, data: &mut [u8]) {
        data.fill(0xff);
        if let (Some(register), [byte]) = (register(port), data) {
            *byte = self.device.read(register);
        }
    }

    /// The guest writes a register.
    ///
    /// # Errors
    /// Of its line. What the guest says is none: see [`crate::said`].
    pub fn write(&mut self, port: u16, data: &[u8]) -> Result<(), Error> {
        use vm_superio::serial::Error::{FullFifo, IOError, Trigger};
        let (Some(register), [byte]) = (register(port), data) else {
            return Ok(());
        };
        match self.device.write(register, *byte) {
            // What is looped back, and is too much for a real port, too.
            Ok(()) | Err(FullFifo | IOError(_)) => Ok(()),
            Err(Trigger(why)) => Err(Error::kvm("KVM_IRQ_LINE")(why)),
        }
    }
}

fn register(port: u16) -> Option<u8> {
    let register = PORTS.contains(&port).then(|| port - PORTS.start)?;
    u8::try_from(register).ok()
}

/// Opens where the port goes to. A file is appended to: the guest goes on in it.
///
/// # Errors
/// [`Error::Monitor`].
pub fn out(path: Option<&Path>) -> Result<Arc<Said>, Error> {
    let (file, name) = match path {
        Some(path) => (
            OpenOptions::new().create(true).append(true).open(path),
            path.display().to_string(),
        ),
        None => (
            io::stdout().as_fd().try_clone_to_owned().map(File::from),
            "standard output".to_owned(),
        ),
    };
    let said = file.and_then(Said::new);
    Ok(Arc::new(said.map_err(Error::system(name))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_registers() {
        assert_eq!(register(0x3f8), Some(0));
        assert_eq!(register(0x3ff), Some(7));
        assert_eq!(register(0x3f7), None);
        assert_eq!(register(0x400), None);
    }
}
