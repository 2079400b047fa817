// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest goes on from its state, in a new QEMU: the one at its path, or else the one that was
//! kept.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use luo_client::memory::Region;
use luo_monitor::point::Point;

use crate::about::About;
use crate::carry;
use crate::exit::Error;
use crate::gap;
use crate::guest::{Guest, within};
use crate::room::Room;
use crate::state::Head;
use crate::told::Told;
use crate::waiting::Waiting;

/// How long a state may take to be loaded.
const LOAD: Duration = Duration::from_secs(60);

/// Where QEMU is to be started, or was.
#[derive(Debug)]
pub enum Place {
    /// None lives, by this lock.
    Vacant(File),
    /// It waits for its RAM.
    Taken(Box<Waiting>),
}

/// What the kernel before, or a QEMU that has ended, has left of a guest.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    /// How its QEMU is started.
    pub about: &'a About,
    /// Its RAM.
    pub ram: &'a File,
    /// Its devices' state.
    pub state: &'a Region,
}

/// Starts a QEMU that takes the state, and lets the guest go on: the one that is at its path now,
/// or else the one that was kept. If neither does, nothing has changed, and it can be tried
/// again. Gives the guest, and what is to be said of it.
///
/// # Errors
/// [`Error`].
pub fn resume(
    room: &Room,
    left: Left<'_>,
    place: Place,
    told: &Told<'_>,
) -> Result<(Guest, String), Error> {
    let none = || Error::NotResumed("there is no state".into());
    let head = carry::head(left.state)?.ok_or_else(none)?;
    let stream = carry::stream(left.state, &head)?;
    let about = left.about;
    let lives = || Error::NotResumed("a QEMU that did not take it does not end".into());
    let start = |words: &[PathBuf], lock: File| {
        let started = Guest::start(about, words, room, left.ram, lock, true);
        started.map_err(|why| Error::NotResumed(why.to_string()))
    };
    let words = [about.program.clone()];
    let guest = match place {
        Place::Vacant(lock) => start(&words, lock),
        Place::Taken(waiting) => waiting.go(room, left.ram).or_else(|why| {
            (told.say)(&format!(
                "the QEMU that waited for its RAM does not take it ({why}): it is started once more"
            ));
            start(&words, room.vacant()?.ok_or_else(lives)?)
        }),
    };
    let taken = guest.and_then(|guest| take(guest, left, &head, &stream, told));
    let refused = match taken {
        Err(Error::NotResumed(why)) => why,
        done => return done,
    };
    let Some(kept) = about.kept.as_ref().filter(|kept| kept.is_whole()) else {
        return Err(Error::NotResumed(refused));
    };
    let folder = kept.folder.display();
    (told.say)(&format!(
        "{} does not take the guest's state ({refused}): the QEMU that wrote it is started, which \
         is kept in {folder}",
        about.program.display()
    ));
    let guest = start(&kept.words(), room.vacant()?.ok_or_else(lives)?)?;
    let (guest, words) = take(guest, left, &head, &stream, told)?;
    let more = format!(
        "{words}; kept in {folder}, because {} did not take it",
        about.program.display()
    );
    Ok((guest, more))
}

/// Has a QEMU that waits take the state, and lets the guest go on.
fn take(
    mut guest: Guest,
    Left { about, state, .. }: Left<'_>,
    head: &Head,
    stream: &[u8],
    told: &Told<'_>,
) -> Result<(Guest, String), Error> {
    (told.reach)(Point::Waiting);
    look_at_clock(&mut guest, about, told);
    if let Err(why) = carry::load(&mut guest, stream, within(LOAD)) {
        if guest.version() != about.qemu {
            (told.say)(&format!(
                "QEMU is {} and wrote the state as {}",
                guest.version(),
                about.qemu,
            ));
        }
        guest.kill();
        return Err(why);
    }
    (told.reach)(Point::Loaded);
    carry::mark_used(state, head)?;
    (told.reach)(Point::Used);
    if head.ran
        && let Err(why) = guest.go_on()
    {
        if !guest.ended_while_it_stood() {
            return Err(why.into());
        }
        // Nothing of the guest has run: the state is its state still.
        carry::remember(state, head)?;
        return Err(Error::NotResumed(why.to_string()));
    }
    let stood = gap::since(state, &told.clock.moment());
    let stood = stood.map_err(Error::system("the guest's state"))?;
    (told.reach)(Point::Resumed);
    (told.say)(&format!(
        "resumed: {} bytes copied, {} MiB of RAM mapped, QEMU is process {}",
        stream.len(),
        about.memory >> 20,
        guest.process()
    ));
    let stood = stood.map_or_else(String::new, |stood| {
        format!(", stood still for {:.3} s", stood.as_secs_f64())
    });
    let words = format!(
        "{} MiB of RAM mapped, {} bytes of state copied{stood}, QEMU {}",
        about.memory >> 20,
        stream.len(),
        guest.version()
    );
    Ok((guest, words))
}

/// Compares the frequency of the guest's TSC with what KVM has under this kernel.
fn look_at_clock(guest: &mut Guest, about: &About, told: &Told<'_>) {
    /// Parts in a million within which KVM takes another frequency without scaling.
    const TOLERANCE: u64 = 250;
    let (Some(was), Some(now)) = (about.tsc_khz, guest.tsc_khz()) else {
        return;
    };
    if was.abs_diff(now).saturating_mul(1_000_000) > was.saturating_mul(TOLERANCE) {
        (told.say)(&format!(
            "the guest's TSC runs at {was} kHz, and this kernel has measured {now} kHz: where KVM \
             cannot scale it the guest's clocks leap. tsc_early_khz={was} on the command line of \
             each kernel keeps them from it"
        ));
    }
}
