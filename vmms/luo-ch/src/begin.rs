// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a guest comes to be run: started for the first time, found running, or resumed after a
//! jump.
//!
//! | session of the previous kernel | its state | cloud-hypervisor | then |
//! |---|---|---|---|
//! | no | - | does not run | it is started |
//! | no | - | runs a guest | that is gone on with: a luo-ch that was killed has left it |
//! | yes | whole | - | the guest is given to a new one |
//! | yes | used | runs a guest | that is gone on with |
//! | yes | used | does not run | the guest went on and has ended since: it is started |
//! | yes | none | - | the machine jumped before the guest stood still: refused |

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use luo_client::agent::{Claim, Workload};
use luo_client::memory::Regions;
use luo_client::{Session, SessionName};
use luo_monitor::carry;
use luo_monitor::exit::Error as Failure;
use luo_monitor::point::Point;
use luo_monitor::serve::STATE;
use luo_monitor::told::Told;
use luo_monitor::workload::{finish, incoming, restored, session};
use serde_json::json;

use crate::exit::Error;
use crate::given::Given;
use crate::guest::{Guest, runs};
use crate::memory;
use crate::offload;
use crate::process::{Process, Room};
use crate::state::{KIND, State};

/// Bytes for a state, with its head: the most of both parts, and the slots. What is not used of
/// it takes no memory.
pub const ROOM: u64 = 20 << 20;

/// What says in the manifest whose regions these are.
const METADATA: &[u8] = b"luo-ch";

/// What the administrator wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The name of the workload and of its session.
    pub name: SessionName,
    /// The command line.
    pub given: Given,
    /// Where the guest's sockets are.
    pub room: PathBuf,
    /// How long cloud-hypervisor may take for its start, and to take a guest.
    pub within: Duration,
}

/// A guest that runs, and what is to be preserved of it.
pub struct Begun {
    /// The guest.
    pub guest: Guest,
    /// Its memory, and room for the state.
    pub regions: Regions,
    /// The session for the next kernel.
    pub session: Session,
    /// What the workload says of itself.
    pub words: String,
}

/// Starts, finds or resumes.
///
/// # Errors
/// [`Error`].
pub fn begin(wanted: &Wanted, workload: &mut Workload, told: &Told<'_>) -> Result<Begun, Error> {
    let name = &wanted.name;
    let room = Room::new(&wanted.room)?;
    let mut regions = Regions::new();
    regions.create(STATE, ROOM)?;
    regions.set_metadata(METADATA)?;
    let (mut guest, words) = match incoming(name, workload)? {
        Some(claim) => {
            (told.reach)(Point::Claimed);
            let came = after_jump(wanted, &room, workload, told, &claim)?;
            finish(name, workload, told)?;
            came
        }
        None => here(wanted, &room, told)?,
    };
    guest.add_memory(&mut regions)?;
    let bytes: u64 = regions.iter().map(|(_, region)| region.size()).sum();
    let words = format!("{} MiB of memory{words}", (bytes - ROOM) >> 20);
    // The agent that is lost now is told when it is back.
    let _ = workload.describe(&words);
    let session = session(name, workload, &[], &regions, told)?;
    Ok(Begun {
        guest,
        regions,
        session,
        words,
    })
}

/// Goes on with a guest that runs already, or starts it.
fn here(wanted: &Wanted, room: &Room, told: &Told<'_>) -> Result<(Guest, String), Error> {
    if let Some(guest) = found(wanted, room, told)? {
        return Ok((guest, String::new()));
    }
    let Given { program, first, .. } = &wanted.given;
    let late = Instant::now() + wanted.within;
    let process = Process::start(room, program, first, late)?;
    let guest = Guest::new(room.clone(), process);
    runs(&room.api(), late)?;
    (told.reach)(Point::Started);
    (told.say)("started");
    Ok((guest, String::new()))
}

/// A guest that runs already: its luo-ch was killed, in the midst of an update even. A
/// cloud-hypervisor without a guest is ended; one that does not say whether it has one is left
/// alone, because a second one would have the same disks.
fn found(wanted: &Wanted, room: &Room, told: &Told<'_>) -> Result<Option<Guest>, Error> {
    let Some(mut process) = Process::found(room) else {
        return Ok(None);
    };
    let late = Instant::now() + wanted.within;
    if room.api().has_guest(late)? {
        // It may have stood still for an update.
        runs(&room.api(), late)?;
        (told.say)("found running: it is gone on with");
        return Ok(Some(Guest::new(room.clone(), process)));
    }
    process.end();
    Ok(None)
}

/// Goes on with what the previous kernel has left.
fn after_jump(
    wanted: &Wanted,
    room: &Room,
    workload: &mut Workload,
    told: &Told<'_>,
    claim: &Claim,
) -> Result<(Guest, String), Error> {
    let regions = Regions::restore_from(&claim.session)?;
    if regions.metadata() != METADATA {
        return Err(Error::Foreign("its manifest is another program's"));
    }
    let kept = regions.get(STATE);
    let kept = kept.ok_or(Error::Foreign("it has no room for a state"))?;
    let Some(head) = carry::head(KIND, kept)? else {
        return Err(Failure::Unfrozen(wanted.name.to_string()).into());
    };
    if head.used {
        let came = here(wanted, room, told)?;
        // Nothing else of this session is of use to anybody.
        restored(workload)?;
        return Ok(came);
    }
    if let Some(mut process) = Process::found(room) {
        // It was started for this guest, and has not got it.
        process.end();
    }
    let records = carry::read(kept, &head)?;
    let state = State::decode(&records)?;
    let Given { program, again, .. } = &wanted.given;
    let late = Instant::now() + wanted.within;
    let process = Process::start(room, program, again, late)?;
    let guest = Guest::new(room.clone(), process);
    let path = room.fresh("back")?;
    let body = json!({ "receiver_url": format!("unix:{}", path.display()) });
    let request = room.api().begin("vm.receive-migration", &body)?;
    (told.reach)(Point::Loaded);
    let memory = |region: u32| -> Option<File> {
        let region = regions.get(&memory::name(region))?;
        region.file().try_clone().ok()
    };
    let mark = carry::marker(kept, &head)?;
    let marked = || {
        mark()?;
        (told.reach)(Point::Used);
        Ok(())
    };
    let unmarked = || Ok(carry::unmark(kept)?);
    offload::back(&path, &state, late, memory, marked, unmarked)?;
    // An older version says so only when the guest is there.
    request.wait(late)?;
    runs(&room.api(), late)?;
    (told.reach)(Point::Resumed);
    let bytes = records.len();
    (told.say)(&format!(
        "resumed: {bytes} bytes copied, its memory was handed over as it is"
    ));
    let words = format!(", {bytes} bytes of state copied");
    // It is in the history with this.
    let _ = workload.describe(&format!("a guest of cloud-hypervisor{words}"));
    restored(workload)?;
    (told.reach)(Point::Restored);
    Ok((guest, words))
}
