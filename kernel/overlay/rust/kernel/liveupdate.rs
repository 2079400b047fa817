// SPDX-License-Identifier: GPL-2.0-only

//! Live updates: what drivers in Rust hand over to the next kernel.
//!
//! - Files: a driver whose open files are to go over implements [`FileHandler`], and registers it
//!   by a [`Handler`]. What it leaves for the next kernel is on a [`PreservedPage`], which comes
//!   back as a [`HandedPage`]. Files of a device are recognised and made by [`DeviceFiles`].
//! - PCI devices go on running by [`pci`], and what a device works on is a [`DevicePage`].
//! - Without files: a [`Subsystem`] hears of each update, may call it off, and can leave one
//!   number.
//!
//! `Documentation/core-api/liveupdate.rst` has the whole of it. `lib/tests/luo_slot.rs` is a driver
//! to begin with.
//!
//! What is unsafe is in `sys`; the traits are beside it.
//!
//! C headers: [`include/linux/liveupdate.h`](srctree/include/linux/liveupdate.h),
//! [`include/linux/liveupdate_subsystem.h`](srctree/include/linux/liveupdate_subsystem.h)

mod handler;
mod subsystem;
mod sys;

pub use handler::{
    FileHandler,
    Incoming,
    Outgoing,
    Preserved,
    Retrieval,
    Token, //
};
pub use subsystem::Subsystem;
#[cfg(CONFIG_PCI_LIVEUPDATE)]
pub use sys::pci;
pub use sys::{
    files::DeviceFiles,
    handler::{
        Handler,
        HandlerRegistration, //
    },
    memory::DevicePage,
    page::{
        HandedPage,
        PreservedPage, //
    },
    session::{
        Needed,
        Session, //
    },
    subsystem::Registration, //
};
