// SPDX-License-Identifier: GPL-2.0-only

//! `/dev/luo_participant`, for tests: a subsystem in Rust that takes part in live updates.
//!
//! The subsystem `forge-rust` is registered as long as the device is open, by one opener at a time:
//! another gets EEXIST. A read gives what it left in the previous kernel, as `0xc1` or `none`. Each
//! callback is a line in the kernel's log.

use kernel::{
    fs::{
        File,
        Kiocb, //
    },
    iov::IovIterDest,
    liveupdate::{
        Registration,
        Subsystem, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    prelude::*,
    str::CString, //
};

module! {
    type: Participant,
    name: "luo_participant",
    authors: ["The LUO in Rust authors"],
    description: "Test subsystem of the Live Update Orchestrator",
    license: "GPL",
}

/// What `prepare` leaves, and what `freeze` turns it into.
const PREPARED: u64 = 0xc0;
const FROZEN: u64 = 0xc1;

struct ForgeRust;

#[vtable]
impl Subsystem for ForgeRust {
    fn prepare(&self) -> Result<u64> {
        pr_info!("prepare:forge-rust\n");
        Ok(PREPARED)
    }

    fn freeze(&self, data: u64) -> Result<u64> {
        pr_info!("freeze:forge-rust {data:#x}\n");
        Ok(FROZEN)
    }

    fn cancel(&self, data: u64) {
        pr_info!("cancel:forge-rust {data:#x}\n");
    }

    fn finish(&self, data: u64) {
        pr_info!("finish:forge-rust {data:#x}\n");
    }
}

/// An open device: the subsystem's registration.
struct Opened(Registration<ForgeRust>);

#[vtable]
impl MiscDevice for Opened {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _device: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        let registration = Registration::register(c"forge-rust", ForgeRust)?;
        Ok(KBox::new(Self(registration), GFP_KERNEL)?)
    }

    fn read_iter(mut kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let text = match kiocb.file().0.incoming_data()? {
            Some(data) => CString::try_from_fmt(fmt!("{data:#x}\n"))?,
            None => CString::try_from_fmt(fmt!("none\n"))?,
        };
        iov.simple_read_from_buffer(kiocb.ki_pos_mut(), text.to_bytes())
    }
}

#[pin_data]
struct Participant {
    #[pin]
    _device: MiscDeviceRegistration<Opened>,
}

impl kernel::InPlaceModule for Participant {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let options = MiscDeviceOptions {
            name: c"luo_participant",
        };
        try_pin_init!(Self {
            _device <- MiscDeviceRegistration::register(options),
        })
    }
}
