// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest as a workload: how it is stopped for an update, and goes on if that is called off.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use luo_client::memory::{Region, Regions};
use luo_monitor::carry;
use luo_monitor::exit::Ended;
use luo_monitor::point::Point;
use luo_monitor::serve;
use luo_monitor::told::Told;
use serde_json::Value;

use crate::api::Api;
use crate::exit::Error;
use crate::memory::{self, Known};
use crate::offload::{self, Held};
use crate::process::{Process, Room};
use crate::state::KIND;

/// How long a guest may take to go on.
const GO_ON: Duration = Duration::from_secs(10);

/// Between two looks at a guest.
const PAUSE: Duration = Duration::from_millis(5);

/// A guest that runs in a cloud-hypervisor.
pub struct Guest {
    room: Room,
    process: Process,
    /// Its memory, to know it by when it comes.
    known: Known,
    held: Option<Held>,
}

impl Guest {
    /// A guest that runs.
    #[must_use]
    pub fn new(room: Room, process: Process) -> Self {
        Self {
            room,
            process,
            known: Known::new(),
            held: None,
        }
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Adds the guest's memory to regions.
    ///
    /// # Errors
    /// [`Error`].
    pub fn add_memory(&mut self, regions: &mut Regions) -> Result<(), Error> {
        let found = memory::of_process(self.process.id(), regions);
        let found = found.map_err(Error::system("the descriptors of cloud-hypervisor"))?;
        for (number, file) in found {
            regions.adopt(&memory::name(number), file)?;
        }
        let known = memory::known(regions);
        self.known = known.map_err(Error::system("the guest's memory"))?;
        Ok(())
    }
}

/// Waits until a guest runs that may stand still, and has it go on. While it is being handed over
/// nothing is told of it, and nothing can be asked of it.
///
/// # Errors
/// [`Error::Guest`]: it does not.
pub fn runs(api: &Api, late: Instant) -> Result<(), Error> {
    loop {
        let why = match api.state(late) {
            Ok(state) if state == "Running" => return Ok(()),
            Ok(state) if state == "Paused" => match api.ask("vm.resume", &Value::Null, late) {
                Ok(_) => continue,
                Err(why) => why,
            },
            Ok(other) => Error::Guest(format!("its guest does not run: it is {other}")),
            Err(why) => why,
        };
        if Instant::now() >= late {
            return Err(why);
        }
        // Nothing tells of it.
        std::thread::sleep(PAUSE);
    }
}

impl serve::Guest for Guest {
    type Error = Error;

    fn look(&mut self, stands: bool) -> Result<Option<Ended>, Error> {
        let ended = self.process.ended();
        Ok(ended.map(|ended| match stands {
            // It had given its guest away and was to wait.
            true => Ended {
                code: crate::exit::GUEST,
                reason: format!("it ended while its guest stood still: {}", ended.reason),
            },
            false => ended,
        }))
    }

    fn gather(&mut self, regions: &mut Regions) -> Result<(), String> {
        self.add_memory(regions).map_err(|why| why.to_string())
    }

    fn stop(&mut self, room: &Region, late: Instant, told: &Told<'_>) -> Result<usize, Error> {
        let api = self.room.api();
        if api.state(late)? == "Running" {
            api.ask("vm.pause", &Value::Null, late)?;
        }
        (told.reach)(Point::Stopped);
        let path = self.room.fresh("out")?;
        let known = &self.known;
        let (state, held) = offload::out(&api, &path, late, |file| memory::find(known, file))?;
        self.held = Some(held);
        Ok(carry::write(KIND, room, &state.encode())?)
    }

    fn go_on(&mut self, room: &Region) -> Result<(), Error> {
        // From here on the state is not the guest's any more.
        carry::forget(room)?;
        let late = Instant::now() + GO_ON;
        if let Some(held) = self.held.take() {
            held.refuse(late);
        }
        if self.process.ended().is_some() {
            // That is seen next.
            return Ok(());
        }
        runs(&self.room.api(), late)
    }

    fn watched(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.process.as_fd()]
    }
}

impl Drop for Guest {
    /// A guest ends with its luo-ch, unless it waits for the jump, which ends both.
    fn drop(&mut self) {
        if self.held.is_none() {
            self.process.end();
        }
    }
}
