// SPDX-License-Identifier: GPL-2.0-only
//! `/dev/liveupdate`: one opener at a time; makes and retrieves sessions.

use core::sync::atomic::{AtomicBool, Ordering};

use kernel::fs::file::{flags, FileDescriptorReservation};
use kernel::fs::File;
use kernel::miscdevice::{MiscDevice, MiscDeviceOptions, MiscDeviceRegistration};
use kernel::prelude::*;
use kernel::sync::SetOnce;
use luo_abi::uapi::{CreateSession, RetrieveSession, CREATE_SESSION, RETRIEVE_SESSION};
use luo_core::{ops, SessionId, SessionName};

use crate::argument;
use crate::boot;
use crate::errno;
use crate::host::{linux, Linux};
use crate::say::Say;
use crate::sys::session_file;

static DEVICE: SetOnce<Pin<KBox<MiscDeviceRegistration<Opener>>>> = SetOnce::new();

/// Makes the device available.
pub(crate) fn register() -> Result {
    let options = MiscDeviceOptions {
        name: c"liveupdate",
    };
    let device = KBox::pin_init(MiscDeviceRegistration::register(options), GFP_KERNEL)?;
    DEVICE.populate(device);
    Ok(())
}

/// Set while somebody has the device open.
static OPEN: AtomicBool = AtomicBool::new(false);

/// The one who has the device open.
struct Opener;

impl Opener {
    fn new() -> Result<Self> {
        match OPEN.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(Self),
            Err(_) => Err(EBUSY),
        }
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        OPEN.store(false, Ordering::Release);
    }
}

#[vtable]
impl MiscDevice for Opener {
    type Ptr = KBox<Self>;

    fn open(_file: &File, _device: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        let linux = linux().ok_or(ENODEV)?;
        let opener = Opener::new()?;
        take_over(linux)?;
        Ok(KBox::new(opener, GFP_KERNEL)?)
    }

    fn ioctl(_opener: &Self, _file: &File, command: u32, argument: usize) -> Result<isize> {
        let linux = linux().ok_or(ENODEV)?;
        match command {
            CREATE_SESSION => create(linux, argument)?,
            RETRIEVE_SESSION => retrieve(linux, argument)?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }
}

/// Takes over the previous kernel's sessions, at the first open, and finishes
/// what could not be finished at its close.
fn take_over(linux: &Linux) -> Result {
    let unfinished =
        |why: &luo_core::Error| pr_warn!("a closed session is not finished yet: {}\n", Say(why));
    match ops::open_device(linux, unfinished) {
        Ok(report) => {
            if let Some((sessions, files)) = report.taken_over {
                pr_info!("took over {sessions} sessions with {files} files\n");
            }
            Ok(())
        }
        Err((why, news)) => {
            if news {
                boot::refused(&why);
            }
            Err(errno::of_operation(why))
        }
    }
}

fn create(linux: &Linux, argument: usize) -> Result {
    let (mut call, answer) = argument::read::<CreateSession>(argument)?;
    let name = SessionName::parse(&call.name).map_err(|why| errno::of_operation(why.into()))?;
    let fd = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
    call.fd = fd.reserved_fd() as i32;
    let id = ops::create_session(linux, &name).map_err(errno::of_operation)?;
    publish(fd, &name, id, || answer.write(&call)).inspect_err(|_| {
        // It has no files yet: closing it cannot fail.
        let _ = ops::close_session(linux, id);
    })
}

fn retrieve(linux: &Linux, argument: usize) -> Result {
    let (mut call, answer) = argument::read::<RetrieveSession>(argument)?;
    // No session has a name that is none: ENOENT, as in mainline.
    let name = SessionName::parse(&call.name).map_err(|_| ENOENT)?;
    let fd = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
    call.fd = fd.reserved_fd() as i32;
    let id = ops::retrieve_session(linux, &name).map_err(errno::of_operation)?;
    // Whoever is not told gets nothing: the session is there for another try.
    publish(fd, &name, id, || answer.write(&call)).inspect_err(|_| ops::put_back_session(linux, id))
}

/// Tells the program and gives it the descriptor, or neither.
fn publish(
    fd: FileDescriptorReservation,
    name: &SessionName,
    id: SessionId,
    answer: impl FnOnce() -> Result,
) -> Result {
    // Before the file is made: closing a file would close the session.
    answer()?;
    fd.fd_install(session_file::create(name, id)?);
    Ok(())
}
