// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parameters of the simulator's test driver, by ioctl on its descriptor.
//!
//! In a kernel the driver `luo_forge` has its parameters in sysfs. The simulator does
//! not see what is written to a file, so it offers the same parameters, by the same
//! names and with the same values, by two calls on `/dev/luo_forge`: [`SET`] and
//! [`GET`] with a [`Parameter`]. No kernel has these calls.

use std::os::fd::AsFd;

use luo_abi::uapi::IOCTL_TYPE;
use zerocopy::{FromZeros as _, IntoBytes as _};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::anonymous::{Access, Anonymous};
use crate::call::with_pointer;
use crate::error::{Error, Result};

/// Sets a parameter.
pub const SET: u32 = IOCTL_TYPE << 8 | 0xf0;

/// Gets a parameter.
pub const GET: u32 = IOCTL_TYPE << 8 | 0xf1;

/// The argument of both calls.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Parameter {
    /// Bytes of this structure.
    pub size: u32,
    /// Bytes of the value.
    pub length: u32,
    /// Which one, padded with zeros.
    pub name: [u8; 32],
    /// Its value: a text.
    pub value: [u8; Self::LONGEST],
}

impl Parameter {
    /// Bytes of the longest value.
    pub const LONGEST: usize = 4096;

    /// A parameter with a value.
    ///
    /// # Errors
    /// E2BIG if one of them is too long.
    pub fn new(name: &str, value: &str) -> Result<Self> {
        let mut this = Self::new_zeroed();
        let (to_name, to_value) = (
            this.name.get_mut(..name.len()),
            this.value.get_mut(..value.len()),
        );
        let (Some(to_name), Some(to_value)) = (to_name, to_value) else {
            return Err(Error::of("parameter")(rustix::io::Errno::TOOBIG));
        };
        to_name.copy_from_slice(name.as_bytes());
        to_value.copy_from_slice(value.as_bytes());
        this.size = size_of::<Self>() as u32;
        this.length = value.len() as u32;
        Ok(this)
    }

    /// Its name, up to the first zero; `None` if it is no text.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let name = self.name.split(|&byte| byte == 0).next()?;
        core::str::from_utf8(name).ok()
    }

    /// Its value; `None` if it is no text, or longer than there is room.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        let value = self.value.get(..usize::try_from(self.length).ok()?)?;
        core::str::from_utf8(value).ok()
    }
}

/// Sets a parameter.
///
/// # Errors
/// ENOTTY: this is no descriptor of the simulator's driver. ENOENT: there is no such
/// parameter. EACCES: it is there to be read. Else what the driver answers.
pub fn set(device: impl AsFd, name: &str, value: &str) -> Result<()> {
    call(&device, SET, &Parameter::new(name, value)?).map(drop)
}

/// Gets a parameter.
///
/// # Errors
/// As [`set`]; EACCES: it is there to be written.
pub fn get(device: impl AsFd, name: &str) -> Result<String> {
    let answer = call(&device, GET, &Parameter::new(name, "")?)?;
    let value = answer.value().map(str::to_owned);
    value.ok_or_else(|| Error::of("parameter")(rustix::io::Errno::IO))
}

fn call(device: &impl AsFd, command: u32, parameter: &Parameter) -> Result<Parameter> {
    let bytes = parameter.as_bytes();
    let mapping = Anonymous::with(bytes, Access::ReadWrite).map_err(Error::of("mmap"))?;
    // SAFETY: the simulator reads and writes one `Parameter` at the pointer, which
    // `mapping` has room for, is borrowed and therefore alive. Another driver that has
    // a call of this number and no size in it takes a structure at the pointer as
    // well, and no address in it: these are a size, a length and two texts.
    unsafe { with_pointer(device, command, mapping.pointer()) }.map_err(Error::of("parameter"))?;
    let mut answer = Parameter::new_zeroed();
    mapping.read_into(answer.as_mut_bytes());
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use luo_abi::errno::Errno;

    #[test]
    fn a_parameter_is_two_texts() {
        let parameter = Parameter::new("hold", "freeze:3").unwrap();
        assert_eq!(parameter.name(), Some("hold"));
        assert_eq!(parameter.value(), Some("freeze:3"));
        let mut broken = parameter;
        broken.length = u32::MAX;
        assert_eq!(broken.value(), None);
        assert!(Parameter::new(&"n".repeat(33), "").is_err());
        assert!(Parameter::new("n", &"v".repeat(Parameter::LONGEST + 1)).is_err());
    }

    #[test]
    fn other_files_have_none() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let error = get(&null, "hold").unwrap_err();
        assert_eq!(error.errno(), Errno::ENOTTY);
    }
}
