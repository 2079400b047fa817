// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a guest comes to be run: started for the first time, resumed after a jump, or found where
//! an earlier luo-qemu of this boot has left it.
//!
//! | QEMU lives | session of the previous kernel | state | then |
//! |---|---|---|---|
//! | no | no | - | it is started |
//! | yes | no | - | it is taken over; if it was stopped for an update, which is off, it goes on |
//! | no | yes | whole | it is resumed |
//! | no | yes | used | QEMU has ended after the jump: the session is over, and it is started |
//! | no | yes | none | the machine jumped before the guest stood still: refused |
//! | yes | yes | whole | QEMU waits for what no longer comes: it is ended, and the guest resumed |
//! | yes | yes | used | it is taken over |

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use luo_client::agent::{self, Claim, Refusal, Workload};
use luo_client::kernel::memfd::{self, Seals};
use luo_client::memory::{Region, Regions};
use luo_client::{Session, SessionName};
use luo_monitor::point::Point;

use crate::about::{self, About};
use crate::carry;
use crate::exit::Error;
use crate::guest::{Guest, within};
use crate::keep::{self, Kept};
use crate::launch;
use crate::probe;
use crate::ram;
use crate::resume::{Left, Place, resume};
use crate::room::{Record, Room};
use crate::state::Head;
use crate::told::Told;
use crate::waiting::Waiting;
use crate::wanted::Wanted;

/// The region that is the guest's RAM.
pub const RAM: &str = "ram";

/// The region for its devices' state.
pub const STATE: &str = "state";

/// Bytes that the devices' state may have beside their memory. It is mostly below 1 MiB.
const DEVICES: u64 = 8 << 20;

/// How long an agent that was lost is waited for.
pub const AGENT: Duration = Duration::from_secs(60);

/// The pause before a call is made again that the kernel was too busy for.
const AGAIN: Duration = Duration::from_secs(1);

/// A guest that is there, and what is to be preserved of it.
#[derive(Debug)]
pub struct Begun {
    /// QEMU.
    pub guest: Guest,
    /// RAM and room for the state.
    pub regions: Regions,
    /// The session for the next kernel.
    pub session: Session,
    /// How QEMU was started.
    pub about: About,
    /// What the workload says of itself.
    pub words: String,
    /// The guest may have stood still, and does not know of it.
    pub stood_still: bool,
}

/// A guest that runs, how its QEMU was started, its RAM, what is to be said of it, and whether it was
/// there before.
type Came = (Guest, About, File, String, bool);

/// Starts, resumes or takes over. `early` is a QEMU that waits for what may have come over a jump.
///
/// # Errors
/// [`Error`].
pub fn begin(
    wanted: &Wanted,
    room: &Room,
    early: Option<Waiting>,
    workload: &mut Workload,
    told: &Told<'_>,
) -> Result<Begun, Error> {
    let name = &wanted.name;
    let (mut guest, mut about, ram, words, stood_still) = match incoming(wanted, workload)? {
        Some(claim) => {
            (told.reach)(Point::Claimed);
            let came = after_jump(wanted, room, early, workload, told, &claim)?;
            finish(name, workload, told)?;
            came
        }
        None => {
            // It has nothing to wait for.
            drop(early);
            match room.vacant()? {
                Some(lock) => first(wanted, room, told, lock)?,
                None => take_over(room, told)?,
            }
        }
    };
    keep_qemu(&guest, &mut about, room, told)?;
    room.note(&Record {
        words: Some(words.clone()),
        ..room.noted()?
    })?;
    // The agent that is lost now is told when it is back.
    let _ = workload.describe(&words);
    let state = room_for_state(wanted.state, &about, &mut guest, told);
    let regions = regions(state, &about, ram)?;
    let session = session(name, workload, &regions, told)?;
    Ok(Begun {
        guest,
        regions,
        session,
        about,
        words,
        stood_still,
    })
}

/// Keeps the QEMU that runs, unless it is a kept one.
fn keep_qemu(guest: &Guest, about: &mut About, room: &Room, told: &Told<'_>) -> Result<(), Error> {
    let record = room.noted()?;
    let process = guest.process();
    let is_kept = |kept: &Kept| kept.runs(process);
    if about.kept.as_ref().is_some_and(is_kept) {
        return Ok(());
    }
    let socket = room.socket();
    let way = record.way();
    let lines = [false, true].map(|resumes| launch::line(about, &way, &socket, resumes));
    match keep::keep(process, &lines) {
        Ok(kept) => about.kept = Some(kept),
        Err(why) => (told.say)(&format!(
            "this QEMU is not kept for the case that an upgraded one does not take the guest: {why}"
        )),
    }
    room.note(&Record {
        about: about.clone(),
        ..record
    })
}

/// The session of the previous kernel, if there is one.
fn incoming(wanted: &Wanted, workload: &mut Workload) -> Result<Option<Claim>, Error> {
    let name = &wanted.name;
    if !workload.registered().claimable.contains(&name.to_string()) {
        return Ok(None);
    }
    let claim = surely(workload, |workload| workload.claim(name))?;
    if claim.incoming {
        return Ok(Some(claim));
    }
    // A session that has not jumped has nothing in it that a QEMU has not.
    drop(claim);
    surely(workload, |workload| workload.drop_session(name))?;
    Ok(None)
}

/// Makes RAM, and starts QEMU.
fn first(wanted: &Wanted, room: &Room, told: &Told<'_>, lock: File) -> Result<Came, Error> {
    let known = probe::ask(&wanted.program)?;
    let machine = known.pin(wanted.machine.as_deref())?;
    let folder = std::env::current_dir().map_err(Error::system("the current folder"))?;
    let mut about = About {
        version: about::VERSION,
        program: wanted.program.clone(),
        qemu: known.version,
        machine,
        memory: wanted.bytes(),
        nodes: wanted.nodes(),
        folder,
        arguments: wanted.arguments.clone(),
        disks_in_memory: wanted.disks_in_memory,
        kept: None,
        tsc_khz: None,
    };
    let ram = ram::make(RAM, &wanted.memory, wanted.huge)?;
    let words = [about.program.clone()];
    let mut guest = Guest::start(&about, &words, room, &ram, lock, false)?;
    (told.reach)(Point::Started);
    about.tsc_khz = guest.tsc_khz();
    if let Some(khz) = about.tsc_khz {
        (told.say)(&format!(
            "its TSC runs at {khz} kHz: tsc_early_khz={khz} on the next kernel's command line keeps \
             its clocks from leaping where KVM cannot scale it"
        ));
    }
    note_clock(room, &about, false, told);
    (told.say)(&format!(
        "started: machine {}, {} MiB, QEMU {}, process {}",
        about.machine,
        about.memory >> 20,
        about.qemu,
        guest.process()
    ));
    let words = about.words();
    Ok((guest, about, ram, words, false))
}

/// Notes the frequency of the guest's TSC, where KVM runs it.
fn note_clock(room: &Room, about: &About, came_over: bool, told: &Told<'_>) {
    let Some(khz) = about.tsc_khz else {
        return;
    };
    if let Err(why) = room.note_clock(khz, came_over) {
        (told.say)(&format!(
            "luod cannot hand the frequency of its TSC on: {why}"
        ));
    }
}

/// Finds the QEMU that runs. If it was stopped for an update, that update is off: the agent
/// has registered this workload anew, or is not in one.
fn take_over(room: &Room, told: &Told<'_>) -> Result<Came, Error> {
    let (mut guest, record, ram) = Guest::find(room)?;
    let status = guest.status(within(crate::guest::ANSWER))?;
    if status == "inmigrate" {
        let why = "QEMU waits for it, and the session in which it was is gone".into();
        return Err(Error::NotResumed(why));
    }
    let was_stopped = room.is_stopped();
    if was_stopped {
        guest.go_on()?;
        room.set_stopped(false)?;
    }
    (told.say)(&format!("taken over: QEMU is process {}", guest.process()));
    let words = record.words();
    Ok((guest, record.about, ram, words, was_stopped))
}

/// Goes on with what the previous kernel has left.
fn after_jump(
    wanted: &Wanted,
    room: &Room,
    early: Option<Waiting>,
    workload: &mut Workload,
    told: &Told<'_>,
    claim: &Claim,
) -> Result<Came, Error> {
    let coming = Regions::look(&claim.session)?;
    let mut about = About::parse(coming.metadata())?;
    // It gets ready while its RAM comes. That it is of no use, or fails, is seen below.
    let waiting = match early.filter(|early| early.is_for(&about)) {
        Some(early) => Some(early),
        None => {
            let vacant = room.vacant()?;
            vacant.and_then(|lock| Waiting::start(&about, room, lock).ok())
        }
    };
    let regions = coming.restore()?;
    let ram = region(&regions, RAM)?;
    let state = region(&regions, STATE)?;
    let Some(head) = carry::head(state)? else {
        return Err(Error::Unfrozen(wanted.name.to_string()));
    };
    if head.used {
        drop(waiting);
        let Some(lock) = room.vacant()? else {
            return resumed_before(room, told, ram, &head);
        };
        (told.say)("the guest went on after the update, and then QEMU ended: it is started afresh");
        let began = first(wanted, room, told, lock)?;
        // Nothing else of this session is of use to anybody.
        restored(workload)?;
        return Ok(began);
    }
    let place = match waiting {
        Some(waiting) => Place::Taken(Box::new(waiting)),
        None => Place::Vacant(vacated(room)?),
    };
    let left = Left {
        about: &about,
        ram: ram.file(),
        state,
    };
    let (guest, words) = resume(room, left, place, told)?;
    note_clock(room, &about, true, told);
    guest.version().clone_into(&mut about.qemu);
    // It is in the history with this.
    let _ = workload.describe(&words);
    restored(workload)?;
    (told.reach)(Point::Restored);
    let file = ram.file().try_clone();
    let file = file.map_err(Error::system("the guest's RAM"))?;
    Ok((guest, about, file, words, head.ran))
}

/// Ends a QEMU that waits for what no longer comes.
fn vacated(room: &Room) -> Result<File, Error> {
    /// Between two looks at one that ends.
    const PAUSE: Duration = Duration::from_millis(5);
    if room.vacant()?.is_none()
        // One that waited for its RAM ends when it finds that its luo-qemu is gone.
        && let Ok((guest, ..)) = Guest::find(room)
    {
        guest.kill();
    }
    let end = within(crate::guest::ANSWER);
    loop {
        match room.vacant()? {
            Some(lock) => return Ok(lock),
            None if std::time::Instant::now() >= end => {
                return Err(Error::Ended("the one that waited does not end".into()));
            }
            None => std::thread::sleep(PAUSE),
        }
    }
}

/// The guest has gone on in a QEMU that still runs: its luo-qemu has ended right after that.
fn resumed_before(room: &Room, told: &Told<'_>, ram: &Region, head: &Head) -> Result<Came, Error> {
    let (mut guest, record, file) = Guest::find(room)?;
    let same = |one: &File| one.metadata().map(|about| (about.dev(), about.ino()));
    let is_same = same(&file).and_then(|one| Ok(one == same(ram.file())?));
    if !is_same.map_err(Error::system("the guest's RAM"))? {
        let why = "a QEMU with other memory runs in its place: end it".into();
        return Err(Error::NotResumed(why));
    }
    if head.ran && guest.status(within(crate::guest::ANSWER))? == "paused" {
        guest.go_on()?;
    }
    (told.say)(&format!(
        "taken over after the update: QEMU is process {}",
        guest.process()
    ));
    let words = record.words();
    Ok((guest, record.about, file, words, head.ran))
}

/// A region that has to be there.
fn region<'a>(regions: &'a Regions, name: &'static str) -> Result<&'a Region, Error> {
    let region = regions.get(name);
    Ok(region.ok_or(about::Refusal::Region(name))?)
}

/// Tells the agent that the guest runs again.
fn restored(workload: &mut Workload) -> Result<(), Error> {
    match surely(workload, Workload::restored) {
        // It has been told, or the update is over.
        Err(agent::Error::Refused(Refusal::NotExpected { .. })) => Ok(()),
        told => Ok(told?),
    }
}

/// Ends the session of the previous kernel.
fn finish(name: &SessionName, workload: &mut Workload, told: &Told<'_>) -> Result<(), Error> {
    restored(workload)?;
    match surely(workload, |workload| workload.finish_session(name)) {
        // An agent that was lost in the middle has done it.
        Err(agent::Error::Refused(Refusal::NoSuchSession { .. })) => {}
        finished => finished?,
    }
    (told.reach)(Point::Finished);
    Ok(())
}

/// Bytes to be preserved for the devices' state, in which their memory is, too.
fn room_for_state(wanted: Option<u64>, about: &About, guest: &mut Guest, told: &Told<'_>) -> u64 {
    // A QEMU that does not tell is given what most guests need.
    let memory = guest.memory_of_devices(about).unwrap_or_default();
    let needed = DEVICES.saturating_add(memory);
    let Some(size) = wanted else {
        return needed;
    };
    if size < memory {
        (told.say)(&format!(
            "--state-size is {} KiB, and the guest's devices have {} KiB of memory: if they fill it, an \
             update is refused when the guest stands still. Without the option there is room",
            size >> 10,
            memory >> 10
        ));
    }
    size
}

/// RAM and room for a state, for the next update.
fn regions(state: u64, about: &About, ram: File) -> Result<Regions, Error> {
    // Where it is sealed already, or cannot be, it is as it was made.
    let _ = memfd::add_seals(&ram, Seals::SHRINK | Seals::GROW);
    let mut regions = Regions::new();
    regions.adopt(RAM, ram)?;
    regions.create(STATE, state)?;
    regions.set_metadata(about.encode())?;
    Ok(regions)
}

/// Makes the session for the next kernel, and has the agent look at what goes into it.
///
/// # Errors
/// [`Error::Agent`].
pub fn session(
    name: &SessionName,
    workload: &mut Workload,
    regions: &Regions,
    told: &Told<'_>,
) -> Result<Session, Error> {
    let session = match surely(workload, |workload| workload.create_session(name)) {
        // The one of an agent that was lost in the middle of this.
        Err(agent::Error::Refused(Refusal::Kernel { .. })) => {
            surely(workload, |workload| workload.drop_session(name))?;
            surely(workload, |workload| workload.create_session(name))?
        }
        session => session?,
    };
    for (_, region) in regions.iter() {
        let declared = surely(workload, |workload| {
            workload.declare(name, region.token(), region.file())
        })?;
        for check in declared.checks {
            if check.status != luo_client::agent::CheckStatus::Ok {
                (told.say)(&format!("check {}: {}", check.name, check.found));
            }
        }
    }
    Ok(session)
}

/// Makes a call to an agent that may be lost in the middle of it, or to a kernel that hangs: the
/// guest runs on meanwhile.
///
/// # Errors
/// What the agent says, or that it does not come back.
pub fn surely<T>(
    workload: &mut Workload,
    mut call: impl FnMut(&mut Workload) -> agent::Result<T>,
) -> agent::Result<T> {
    loop {
        match call(workload) {
            Err(why) if is_lost(&why) => {
                workload.reconnect(AGENT)?;
            }
            Err(why) if why.is_busy() => std::thread::sleep(AGAIN),
            done => return done,
        }
    }
}

/// Whether the connection to the agent is over.
#[must_use]
pub const fn is_lost(why: &agent::Error) -> bool {
    use agent::Error::{AgentGone, NoAgent, Os, Protocol, TimedOut};
    matches!(
        why,
        AgentGone | NoAgent { .. } | Os { .. } | Protocol { .. } | TimedOut { .. }
    )
}
