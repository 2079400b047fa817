// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's half of an update. Its calls block, so they are made on a thread of their
//! own ([`Worker`]), in the order in which they were asked for.
//!
//! | file | concern |
//! |---|---|
//! | `interface` | [`Kernel`], the trait: all that the agent asks of a kernel |
//! | `target` | what the boot loader's entry says of the target |
//! | `handed_on` | what of guests' clocks the target is told |
//! | `image` | loading the kernel to jump into |
//! | `device` | the device, which others may have |
//! | `linux` | [`Linux`], the running kernel, through `/dev/liveupdate` and kexec |
//! | `told` | what the kernel tells everybody, whatever that thread waits for |
//! | `worker` | the thread |
//!
//! The agent's tests have a made-up kernel behind the same trait (`agent/tests/fake.rs`).

mod device;
mod handed_on;
mod image;
mod interface;
mod linux;
mod target;
mod told;
mod worker;

pub use handed_on::HandedOn;
pub use image::command_line;
pub use interface::{Kernel, Opener, Probe, duplicate};
pub use linux::{Linux, release};
pub use target::{Resolve, Resolved, initrds, resolve};
pub use told::{Tell, Told};
pub use worker::Worker;
