// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a guest comes to be run: started for the first time, or resumed after a jump.
//!
//! | session of the previous kernel | state | then |
//! |---|---|---|
//! | no | - | it is started |
//! | yes | whole | it is resumed |
//! | yes | used | the guest went on, and its luo-vmm has ended since: it is started afresh |
//! | yes | none | the machine jumped before the guest stood still: refused |
//!
//! A guest ends with its luo-vmm, as it does with any monitor that is one process. What it leaves
//! for the next kernel lives longer.

use luo_client::agent::{Claim, Workload};
use luo_client::memory::{Region, Regions};
use luo_client::{Session, SessionName};
use luo_monitor::carry;
use luo_monitor::exit::Error as Failure;
use luo_monitor::point::Point;
pub use luo_monitor::serve::STATE;
use luo_monitor::told::Told;
use luo_monitor::workload::{finish, incoming, restored, session};

use crate::boot::Program;
use crate::clocks::Choice;
use crate::doorbell::Doorbell;
use crate::exit::Error;
use crate::machine::{First, Machine, Out};
use crate::preserved::{self, Kept};
use crate::state::KIND;
use crate::state::guest::State;
use crate::vcpu::host;

/// The region that is the guest's RAM.
pub const RAM: &str = "ram";

/// Bytes for a state, with its head. One has some 15 KB for each processor, and 32 KB at most.
pub const ROOM: u64 = 512 << 10;

/// What says in the manifest whose regions these are.
const METADATA: &[u8] = b"luo-vmm";

/// What the administrator wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The name of the workload and of its session.
    pub name: SessionName,
    /// Bytes of RAM, for a first start.
    pub memory: u64,
    /// Its processors, for a first start.
    pub processors: u8,
    /// What goes over a jump, for a first start.
    pub preserve: preserved::Choice,
    /// The guest's program, for a first start.
    pub program: Program,
    /// Where what the guest says goes to; standard output if it is not said.
    pub serial: Option<std::path::PathBuf>,
    /// What the guest's clocks say after a jump.
    pub clock: Choice,
}

impl Wanted {
    fn out(&self) -> Out<'_> {
        self.serial.as_deref()
    }
}

/// A guest that runs, and what is to be preserved of it.
pub struct Begun {
    /// The guest.
    pub machine: Machine,
    /// RAM and room for the state. What goes along beside them the machine has.
    pub regions: Regions,
    /// The session for the next kernel.
    pub session: Session,
    /// What the workload says of itself.
    pub words: String,
}

/// Starts or resumes.
///
/// # Errors
/// [`Error`].
pub fn begin(wanted: &Wanted, workload: &mut Workload, told: &Told<'_>) -> Result<Begun, Error> {
    let name = &wanted.name;
    // What can fail comes before the guest runs, for it ends with this program.
    let mut regions = Regions::new();
    regions.create(STATE, ROOM)?;
    regions.set_metadata(METADATA)?;
    let (machine, words) = match incoming(name, workload)? {
        Some(claim) => {
            (told.reach)(Point::Claimed);
            let came = after_jump(wanted, workload, told, &claim)?;
            finish(name, workload, told)?;
            came
        }
        None => first(wanted, told)?,
    };
    // The agent that is lost now is told when it is back.
    let _ = workload.describe(&words);
    let ram = machine.memory().try_clone();
    regions.adopt(RAM, ram.map_err(Error::system("the guest's RAM"))?)?;
    let session = session(name, workload, &machine.files(), &regions, told)?;
    Ok(Begun {
        machine,
        regions,
        session,
        words,
    })
}

/// Makes RAM, and starts the guest.
fn first(wanted: &Wanted, told: &Told<'_>) -> Result<(Machine, String), Error> {
    let mut machine = Machine::first(&First {
        bytes: wanted.memory,
        processors: wanted.processors,
        preserve: wanted.preserve,
        program: &wanted.program,
        out: wanted.out(),
    })?;
    let khz = machine.khz();
    machine.start()?;
    (told.reach)(Point::Started);
    (told.say)(&format!(
        "started: {} MiB; its counter runs at {khz} kHz, and tsc_early_khz={khz} on the next \
         kernel's command line keeps its clocks from leaping where KVM cannot scale it",
        wanted.memory >> 20,
    ));
    let words = words(wanted.memory);
    Ok((machine, words))
}

/// What a workload says of itself, at least.
fn words(memory: u64) -> String {
    format!("{} MiB of RAM", memory >> 20)
}

/// Goes on with what the previous kernel has left.
fn after_jump(
    wanted: &Wanted,
    workload: &mut Workload,
    told: &Told<'_>,
    claim: &Claim,
) -> Result<(Machine, String), Error> {
    let regions = Regions::restore_from(&claim.session)?;
    if regions.metadata() != METADATA {
        return Err(Error::Foreign("its manifest is another program's"));
    }
    let (ram, kept) = (region(&regions, RAM)?, region(&regions, STATE)?);
    let Some(head) = carry::head(KIND, kept)? else {
        return Err(Failure::Unfrozen(wanted.name.to_string()).into());
    };
    if head.used {
        (told.say)("the guest went on after the update, and then luo-vmm ended: it starts afresh");
        let began = first(wanted, told)?;
        // Nothing else of this session is of use to anybody.
        restored(workload)?;
        return Ok(began);
    }
    let records = carry::read(kept, &head)?;
    let (state, bytes) = (State::decode(&records)?, records.len());
    if state.ram != ram.size() {
        return Err(Error::Foreign(
            "its RAM has another size than its state says",
        ));
    }
    // A guest_memfd has had its VM restored before it; nobody else has asked for that yet.
    let heard = state.devices.doorbell;
    let came = heard.map(|heard| Kept::take(&claim.session, heard));
    let ram = ram.file().try_clone();
    let ram = ram.map_err(Error::system("the guest's RAM"))?;
    let mut machine = Machine::restore(ram, &state, came.transpose()?, wanted.out())?;
    let unheard = machine.doorbell().map(Doorbell::unheard);
    (told.reach)(Point::Loaded);
    let warning = machine.set_clocks(&state.clocks, wanted.clock)?;
    // Up to here nothing has run, and it can be tried again. The guest's own thread makes the mark
    // with nothing between it and the first step of the guest.
    let mark = carry::marker(kept, &head)?;
    machine.start_after(|| Ok(mark()?))?;
    (told.reach)(Point::Used);
    let now = host()?;
    let gap = state.clocks.since(state.told, now, machine.host_khz());
    (told.reach)(Point::Resumed);
    if let Some(warning) = &warning {
        (told.say)(warning);
    }
    if machine.is_elsewhere() {
        (told.say)(
            "the VM that came is that of a luo-vmm which has ended: the guest runs in another VM, in \
             the same memory",
        );
    }
    if let Some(rings) = unheard {
        (told.say)(&format!(
            "doorbell: {rings} rings came that nobody had heard"
        ));
    }
    let stood = gap.map_or_else(
        || ", the machine was switched off in between".to_owned(),
        |gap| format!(", stood still for {:.3} s", gap.as_secs_f64()),
    );
    (told.say)(&format!(
        "resumed: {bytes} bytes copied, {} MiB of RAM mapped{stood}; the state is {}'s",
        state.ram >> 20,
        state.writer,
    ));
    let words = format!(
        "{} MiB of RAM mapped, {bytes} bytes of state copied{stood}",
        state.ram >> 20
    );
    // It is in the history with this.
    let _ = workload.describe(&words);
    restored(workload)?;
    (told.reach)(Point::Restored);
    Ok((machine, words))
}

/// A region that has to be there.
fn region<'a>(regions: &'a Regions, name: &str) -> Result<&'a Region, Error> {
    let region = regions.get(name);
    region.ok_or(Error::Foreign("a memory region is missing"))
}
