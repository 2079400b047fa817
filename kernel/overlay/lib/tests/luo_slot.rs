// SPDX-License-Identifier: GPL-2.0-only

//! `/dev/luo_slot`: a driver whose files go over live updates, to begin one's own from, and for
//! tests. It is built as a module.
//!
//! Each open file of the device is a slot, which holds a number:
//!
//! ```text
//! write of "77"         it holds that number
//! write of "needs 5"    it needs the open file that is descriptor 5: it goes over with it only,
//!                       and has it again in the next kernel
//! write of "spoil"      for tests: what it leaves for the next kernel is damaged
//! read                  the number and a newline
//! ```
//!
//! A slot may need a file that needs the slot, over a socket that has it queued, and then neither
//! is ever freed. The device is root's alone.

use core::str;

use kernel::{
    fs::{
        file::LocalFile,
        File,
        Kiocb, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    liveupdate::{
        DeviceFiles,
        FileHandler,
        HandedPage,
        Handler,
        HandlerRegistration,
        Incoming,
        Needed,
        Outgoing,
        Preserved,
        PreservedPage,
        Session,
        Token, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        Mutex, //
    }, //
};
use zerocopy_derive::Immutable;

module! {
    type: LuoSlot,
    name: "luo_slot",
    authors: ["The LUO in Rust authors"],
    description: "Device whose files go over live updates",
    license: "GPL",
}

static FILES: DeviceFiles<Slot> = DeviceFiles::new();
static HANDLER: Handler<Slots> = Handler::new(Slots);

#[pin_data]
struct LuoSlot {
    #[pin]
    _device: MiscDeviceRegistration<Slot>,
    /// None if live update is off: the device is there all the same.
    _handler: Option<HandlerRegistration<Slots>>,
}

impl kernel::InPlaceModule for LuoSlot {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let options = MiscDeviceOptions { name: c"luo_slot" };
        try_pin_init!(Self {
            _device <- MiscDeviceRegistration::register_known(options, &FILES),
            _handler: register()?,
        })
    }
}

fn register() -> Result<Option<HandlerRegistration<Slots>>> {
    match HANDLER.register() {
        Ok(registered) => Ok(Some(registered)),
        Err(EOPNOTSUPP) => Ok(None),
        Err(why) => Err(why),
    }
}

/// The longest write.
const LONGEST: usize = 32;

/// An open file of the device.
#[pin_data]
struct Slot {
    // Held for a moment only: a handler must not wait for a lock that a program can hold.
    #[pin]
    held: Mutex<Held>,
}

/// What is in a slot.
#[derive(Clone)]
struct Held {
    number: u64,
    needs: Option<Needed>,
    spoilt: bool,
}

impl Slot {
    fn new(number: u64, needs: Option<Needed>) -> Result<Pin<KBox<Self>>> {
        let held = Held {
            number,
            needs,
            spoilt: false,
        };
        KBox::pin_init(
            pin_init!(Self {
                held <- new_mutex!(held, "luo_slot"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    fn held(&self) -> Held {
        self.held.lock().clone()
    }

    /// Does what was written.
    fn obey(&self, text: &str) -> Result {
        if let Some(descriptor) = text.strip_prefix("needs ") {
            let descriptor = descriptor.parse::<u32>().map_err(|_| EINVAL)?;
            let needed = Needed::from(LocalFile::fget(descriptor)?);
            // What it has needed so far may end here, and that is nothing to do under a lock.
            let before = self.held.lock().needs.replace(needed);
            drop(before);
        } else if text == "spoil" {
            self.held.lock().spoilt = true;
        } else {
            self.held.lock().number = text.parse::<u64>().map_err(|_| EINVAL)?;
        }
        Ok(())
    }
}

#[vtable]
impl MiscDevice for Slot {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _device: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        Self::new(0, None)
    }

    fn read_iter(mut kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let number = kiocb.file().held.lock().number;
        let text = CString::try_from_fmt(fmt!("{number}\n"))?;
        iov.simple_read_from_buffer(kiocb.ki_pos_mut(), text.to_bytes())
    }

    fn write_iter(mut kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let mut room = [0; LONGEST];
        if iov.len() > room.len() {
            return Err(EINVAL);
        }
        let length = iov.copy_from_iter(&mut room);
        let text = str::from_utf8(room.get(..length).ok_or(EINVAL)?).map_err(|_| EINVAL)?;
        kiocb.file().obey(text.trim_end())?;
        // The next read begins at the start.
        *kiocb.ki_pos_mut() = 0;
        Ok(length)
    }
}

/// The handler of slots.
struct Slots;

/// What is kept of a preserved slot: the page with its note, and what that says of its need.
struct Kept {
    page: PreservedPage,
    needs: Option<Token>,
}

impl Kept {
    /// Writes down what the slot holds now.
    fn update(&mut self, held: &Held) {
        let mut note = Note::of(held.number, self.needs);
        if held.spoilt {
            note.checksum ^= 1;
        }
        self.page.write(&note);
    }
}

#[vtable]
impl FileHandler for Slots {
    const COMPATIBLE: &'static CStr = c"luo-slot-v1";

    type Data = Kept;

    fn can_preserve(&self, file: &File) -> bool {
        FILES.data(file).is_some()
    }

    fn preserve(&self, session: &Session<'_>, file: &File) -> Result<Preserved<Kept>> {
        let held = FILES.data(file).ok_or(EINVAL)?.held();
        let needs = match &held.needs {
            Some(needed) => Some(session.need(needed)?),
            None => None,
        };
        let page = PreservedPage::new()?;
        let handle = page.address();
        let mut data = Kept { page, needs };
        data.update(&held);
        Ok(Preserved { handle, data })
    }

    fn freeze(&self, file: &mut Outgoing<'_, Kept>) -> Result<u64> {
        let slot = FILES.data(file.file).ok_or(EINVAL)?;
        file.data.update(&slot.held());
        Ok(file.handle)
    }

    fn retrieve(&self, session: &Session<'_>, handle: u64) -> Result<ARef<File>> {
        let note = Note::at(handle).inspect_err(|_| {
            pr_err!("what a slot has left at {handle:#x} is damaged\n");
        })?;
        let needs = match note.token() {
            Some(token) => Some(Needed::from(session.get(token)?)),
            None => None,
        };
        FILES.make(c"[luo_slot]", Slot::new(note.number, needs)?)
    }

    fn finish(&self, file: &Incoming<'_>) {
        // A page whose note is damaged may be anybody's: it stays kept until the next reboot.
        if Note::at(file.handle).is_ok() {
            HandedPage::free(file.handle);
        }
    }
}

/// What a slot leaves for the next kernel. The handler's name stands for its layout.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
struct Note {
    magic: u64,
    number: u64,
    /// 1 if the slot needs a file, 0 if it needs none.
    needs: u64,
    /// That file's, or 0.
    token: u64,
    /// Over all before it.
    checksum: u64,
}

impl Note {
    const MAGIC: u64 = u64::from_le_bytes(*b"luo-slot");

    fn of(number: u64, needs: Option<Token>) -> Self {
        let mut note = Self {
            magic: Self::MAGIC,
            number,
            needs: u64::from(needs.is_some()),
            token: needs.map_or(0, |token| token.0),
            checksum: 0,
        };
        note.checksum = note.sum();
        note
    }

    /// The note on the page at an address that may be any number. What is believed of it later is
    /// what is copied here: the page itself may change.
    fn at(address: u64) -> Result<Self> {
        let note: Self = HandedPage::at(address)?.read();
        let is_good = note.magic == Self::MAGIC && note.checksum == note.sum() && note.needs <= 1;
        is_good.then_some(note).ok_or(EINVAL)
    }

    fn token(&self) -> Option<Token> {
        (self.needs == 1).then_some(Token(self.token))
    }

    /// FNV-1a, by words.
    fn sum(&self) -> u64 {
        let words = [self.magic, self.number, self.needs, self.token];
        words.iter().fold(0xcbf2_9ce4_8422_2325, |sum, word| {
            (sum ^ word).wrapping_mul(0x0100_0000_01b3)
        })
    }
}
