// SPDX-License-Identifier: GPL-2.0-only

//! How devices are found.

use kernel::{
    device::Core,
    miscdevice::{
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    pci,
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    },
};

use crate::{
    edu::{
        Edu,
        Told, //
    },
    files::{
        Opened,
        FILES, //
    },
    handler,
    sys::irq::Irq, //
};

/// QEMU's, as its `docs/specs/edu.rst` has it.
const VENDOR: u16 = 0x1234;
const DEVICE: u32 = 0x11e8;

/// What their files are called. There are no more of them.
const NAMES: [&CStr; 4] = [c"luo_edu0", c"luo_edu1", c"luo_edu2", c"luo_edu3"];

/// All that were found, in order; they stay.
static ALL: [SetOnce<Arc<Edu>>; NAMES.len()] = [const { SetOnce::new() }; NAMES.len()];

/// The device that a file is of, by the file's name.
pub(crate) fn of_file(name: &CStr) -> Option<Arc<Edu>> {
    let at = NAMES.iter().position(|known| *known == name)?;
    ALL.get(at)?.as_ref().cloned()
}

/// The device at a place.
pub(crate) fn at(place: (u32, u16)) -> Option<Arc<Edu>> {
    let mut all = ALL.iter().filter_map(SetOnce::as_ref);
    all.find(|edu| edu.place() == place).cloned()
}

/// Puts a device behind those that were found before.
fn remember(edu: &Arc<Edu>) -> Result<&'static CStr> {
    let mut rooms = ALL.iter().zip(NAMES);
    let room = rooms.find(|(room, _)| room.populate(edu.clone()));
    room.map(|(_, name)| name).ok_or(ENOSPC)
}

pub(crate) struct Driver;

/// A device that has its driver. The fields are dropped in order.
#[pin_data]
pub(crate) struct Bound<'bound> {
    #[pin]
    _file: MiscDeviceRegistration<Opened>,
    #[pin]
    _irq: Irq<'bound, Told>,
}

kernel::pci_device_table!(
    TABLE,
    <Driver as pci::Driver>::IdInfo,
    [(
        pci::DeviceId::from_id(pci::Vendor::from_raw(VENDOR), DEVICE),
        ()
    )]
);

impl pci::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Bound<'bound>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &TABLE;

    fn probe<'bound>(
        device: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let edu = Edu::new(device)?;
            let name = remember(&edu)?;
            // Only a machine with such a device has a handler of its files.
            handler::register();
            let told = Told(edu.clone());
            let options = MiscDeviceOptions { name };
            Ok(try_pin_init!(Bound {
                _irq <- Irq::new(device, told),
                // What it has said before that is looked at once.
                _: { edu.look() },
                _file <- MiscDeviceRegistration::register_known(options, &FILES),
            }))
        })
    }
}
