// SPDX-License-Identifier: MIT OR Apache-2.0
//! The driver's parameters, by the names they have in
//! `/sys/module/luo_forge/parameters`.
//!
//! | parameter | |
//! |---|---|
//! | `preserve_errno`, `freeze_errno`, `retrieve_errno` | what the callback of a file returns, 0 for success |
//! | `fault_file` | the ID of the only file that those strike, 0 for all |
//! | `freeze_passes` | how many files freeze before `freeze_errno` strikes |
//! | `finish_refusals` | how many times can_finish says no |
//! | `subsystem_prepare_errno`, `subsystem_freeze_errno` | the same for `forge-b` |
//! | `preserved`, `frozen` | files that are so at present (read only) |
//! | `hold` | the words of the callbacks that are to wait, until others are written |
//! | `held` | the words of those that do (read only) |
//! | `calls` | the callbacks since the last write, in order, but for can_finish |
//! | `print_calls` | 1: each is also a line of the kernel's log |
//! | `files_register` | 1 registers the handler of files, 0 unregisters it (write only) |
//! | `subsystem_register` | 1 registers `forge-a` and `forge-b`, 0 unregisters them (write only) |
//! | `subsystem_data` | what they left in the previous kernel (read only) |
//! | `waiting` | the threads whose calls wait for others (read only; in a kernel `/proc/PID/syscall` tells) |
//! | `id` | the ID of this file (read only; in a kernel it is read from the file) |

use luo_abi::errno::Errno;
use luo_sys::test_driver::{GET, Parameter, SET};
use zerocopy::{FromZeros as _, IntoBytes as _};

use crate::client::Client;
use crate::driver::{Driver, Numbers, subsystem};
use crate::handler;
use crate::machine::Machine;

/// An ioctl on a file of the driver's, which has an ID.
pub(crate) fn call(
    machine: &Machine,
    client: &dyn Client,
    (driver, id): (&Driver, u32),
    command: u32,
    argument: u64,
    said: &mut String,
) -> Result<(), Errno> {
    if command != SET && command != GET {
        return Err(Errno::ENOTTY);
    }
    let mut parameter = Parameter::new_zeroed();
    client.read(argument, parameter.as_mut_bytes())?;
    if usize::try_from(parameter.size) != Ok(size_of::<Parameter>()) {
        return Err(Errno::EINVAL);
    }
    let name = parameter.name().ok_or(Errno::ENOENT)?;
    if command == SET {
        let value = parameter.value().ok_or(Errno::EINVAL)?;
        let value = value.strip_suffix('\n').unwrap_or(value);
        *said = format!("test_driver {name} = {}", value.escape_debug());
        return driver.set(machine, name, value);
    }
    *said = format!("test_driver {name}");
    let value = driver.get(machine, id, name)?;
    let answer = Parameter::new(name, &value).map_err(|why| why.errno())?;
    client.write(argument, answer.as_bytes())
}

impl Numbers {
    /// The number of a name, and whether it may be set.
    fn find(&mut self, name: &str) -> Option<(&mut i32, bool)> {
        Some(match name {
            "fault_file" => (&mut self.fault_file, true),
            "preserve_errno" => (&mut self.preserve_errno, true),
            "freeze_errno" => (&mut self.freeze_errno, true),
            "retrieve_errno" => (&mut self.retrieve_errno, true),
            "subsystem_prepare_errno" => (&mut self.subsystem_prepare_errno, true),
            "subsystem_freeze_errno" => (&mut self.subsystem_freeze_errno, true),
            "freeze_passes" => (&mut self.freeze_passes, true),
            "finish_refusals" => (&mut self.finish_refusals, true),
            "preserved" => (&mut self.preserved, false),
            "frozen" => (&mut self.frozen, false),
            _ => return None,
        })
    }
}

fn switch(value: &str) -> Result<bool, Errno> {
    match value.as_bytes().first() {
        Some(b'1' | b'y' | b'Y') => Ok(true),
        Some(b'0' | b'n' | b'N') => Ok(false),
        _ => Err(Errno::EINVAL),
    }
}

impl Driver {
    fn set(&self, machine: &Machine, name: &str, value: &str) -> Result<(), Errno> {
        match name {
            "hold" => return self.hold(value),
            "calls" => self.state().calls.clear(),
            "print_calls" => self.state().print_calls = switch(value)?,
            // A transition may be under way, which this waits for: without the lock.
            "subsystem_register" => return subsystem::register(machine, switch(value)?),
            "files_register" => return handler::register_drivers(machine, switch(value)?),
            "held" | "subsystem_data" | "waiting" | "id" => return Err(Errno::EACCES),
            _ => {
                let mut state = self.state();
                let (number, may_be_set) = state.numbers.find(name).ok_or(Errno::ENOENT)?;
                if !may_be_set {
                    return Err(Errno::EACCES);
                }
                *number = value.parse().map_err(|_| Errno::EINVAL)?;
            }
        }
        Ok(())
    }

    fn get(&self, machine: &Machine, id: u32, name: &str) -> Result<String, Errno> {
        let mut state = self.state();
        Ok(match name {
            "id" => id.to_string(),
            "waiting" => {
                let threads: Vec<String> = state.waiting.iter().map(u32::to_string).collect();
                threads.join(" ")
            }
            "hold" => state.hold.clone(),
            "held" => state.held.clone(),
            "calls" => state.calls.clone(),
            "print_calls" => if state.print_calls { "Y" } else { "N" }.to_owned(),
            "subsystem_data" => {
                drop(state);
                subsystem::data(machine)?
            }
            "files_register" | "subsystem_register" => return Err(Errno::EACCES),
            _ => {
                let (number, _) = state.numbers.find(name).ok_or(Errno::ENOENT)?;
                number.to_string()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_name() {
        let mut numbers = Numbers::default();
        let (number, may_be_set) = numbers.find("freeze_passes").unwrap();
        assert!(may_be_set);
        *number = 3;
        assert_eq!(numbers.freeze_passes, 3);
        assert!(!numbers.find("frozen").unwrap().1);
        assert!(numbers.find("melted").is_none());
    }

    #[test]
    fn a_switch_is_as_in_the_kernel() {
        assert_eq!(switch("1"), Ok(true));
        assert_eq!(switch("no"), Ok(false));
        assert_eq!(switch(""), Err(Errno::EINVAL));
    }
}
