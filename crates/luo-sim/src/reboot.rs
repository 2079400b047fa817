// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loading the next kernel, and leaving this one.

use std::sync::Mutex;

use luo_abi::errno::Errno;
use luo_core::ops::{self, Image};

use crate::call::Done;
use crate::caller::Thread;
use crate::fault::Step;
use crate::lock::lock;
use crate::machine::Machine;
use crate::stop::End;

/// A kernel to jump into.
pub(crate) enum Kernel {
    /// One that takes over what is preserved, and its command line.
    Handover(String),
    /// One that does not.
    Legacy,
}

/// The kernel that is loaded.
#[derive(Default)]
pub(crate) struct Loaded(Mutex<Option<Kernel>>);

impl Loaded {
    pub(crate) fn take(&self) -> Option<Kernel> {
        lock(&self.0).take()
    }

    /// What is loaded, as the engine and `/sys/kernel/liveupdate/image` know it.
    pub(crate) fn image(&self) -> Image {
        match *lock(&self.0) {
            None => Image::None,
            Some(Kernel::Handover(_)) => Image::Handover,
            Some(Kernel::Legacy) => Image::Legacy,
        }
    }
}

/// From `linux/kexec.h`.
const UNLOAD: u64 = 1;
const ON_CRASH: u64 = 2;
const NO_INITRAMFS: u64 = 4;
const DEBUG: u64 = 8;
const NO_CMA: u64 = 16;
const FORCE_DTB: u64 = 32;

/// Bytes of the longest command line that kernels take.
const COMMAND_LINE: u64 = 4096;

/// kexec_file_load: what the kernel is does not matter, that it is there does.
pub(crate) fn load(loaded: &Loaded, caller: &Thread<'_>, said: &mut String) -> Result<Done, Errno> {
    let flags = caller.argument(4);
    if flags & !(UNLOAD | ON_CRASH | NO_INITRAMFS | DEBUG | NO_CMA | FORCE_DTB) != 0 {
        return Err(Errno::EINVAL);
    }
    // A kernel for after a panic is another one: there are no panics here.
    if flags & ON_CRASH != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags & UNLOAD != 0 {
        said.push_str(" unload");
        loaded.take();
        return Ok(Done::Value(0));
    }
    is_open(caller, caller.fd_argument(0))?;
    if flags & NO_INITRAMFS == 0 {
        is_open(caller, caller.fd_argument(1))?;
    }
    let length = caller.argument(2);
    if length > COMMAND_LINE {
        return Err(Errno::EINVAL);
    }
    let mut line = vec![0; length as usize];
    if !line.is_empty() {
        caller.read(caller.argument(3), &mut line)?;
        // It ends with a zero.
        if line.pop() != Some(0) {
            return Err(Errno::EINVAL);
        }
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    said.push(' ');
    said.push_str(&line.escape_debug().to_string());
    *lock(&loaded.0) = Some(Kernel::Handover(line));
    Ok(Done::Value(0))
}

/// From `linux/kexec.h`: flags of kexec_load; the upper half names an architecture.
const LOAD_ON_CRASH: u64 = 1;
const LOAD_FLAGS: u64 = 0xffff_0000;
/// The most segments of an image.
const SEGMENTS: u64 = 16;

/// kexec_load: an image that knows of no handover. What is in its segments does not matter.
pub(crate) fn load_legacy(loaded: &Loaded, caller: &Thread<'_>) -> Result<Done, Errno> {
    let (segments, flags) = (caller.argument(1), caller.argument(3));
    // A kernel for after a panic, or one to come back from, is another thing.
    if flags & LOAD_ON_CRASH != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags & !LOAD_FLAGS != 0 || segments > SEGMENTS {
        return Err(Errno::EINVAL);
    }
    let kernel = (segments > 0).then_some(Kernel::Legacy);
    *lock(&loaded.0) = kernel;
    Ok(Done::Value(0))
}

fn is_open(caller: &Thread<'_>, fd: i32) -> Result<(), Errno> {
    let file = caller.descriptor(fd);
    file.map(drop).map_err(|_| Errno::EBADF)
}

/// From `linux/reboot.h`.
const MAGIC1: u32 = 0xfee1_dead;
const MAGIC2: [u32; 4] = [0x2812_1969, 0x0512_1996, 0x1604_1998, 0x2011_2000];
const RESTART: u32 = 0x0123_4567;
const RESTART2: u32 = 0xa1b2_c3d4;
const HALT: u32 = 0xcdef_0123;
const POWER_OFF: u32 = 0x4321_fedc;
const CTRL_ALT_DEL_ON: u32 = 0x89ab_cdef;
const CTRL_ALT_DEL_OFF: u32 = 0;
const KEXEC: u32 = 0x4558_4543;

/// reboot: of the simulated machine, whatever it asks for.
pub(crate) fn reboot(
    machine: &Machine,
    loaded: &Loaded,
    arguments: &[u64; 6],
) -> Result<Done, Errno> {
    // These have 32 bits.
    let [magic1, magic2, command, ..] = arguments.map(|argument| argument as u32);
    if magic1 != MAGIC1 || !MAGIC2.contains(&magic2) {
        return Err(Errno::EINVAL);
    }
    let end = match command {
        CTRL_ALT_DEL_ON | CTRL_ALT_DEL_OFF => return Ok(Done::Value(0)),
        KEXEC => {
            get_ready(machine, loaded)?;
            End::Kexec
        }
        RESTART | RESTART2 => End::Restart,
        HALT | POWER_OFF => End::PowerOff,
        _ => return Err(Errno::EINVAL),
    };
    machine.stop.ask(end);
    Ok(Done::Gone)
}

fn get_ready(machine: &Machine, loaded: &Loaded) -> Result<(), Errno> {
    let image = loaded.image();
    if image == Image::None {
        return Err(Errno::EINVAL);
    }
    if machine.policy.enabled {
        let policy = machine.policy.of_reboot();
        ops::reboot(machine, policy, image).map_err(|why| why.errno())?;
    }
    machine.reach(Step::Kexec)
}
