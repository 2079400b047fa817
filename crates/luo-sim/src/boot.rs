// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a machine comes up.

use std::fs::File;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use luo_abi::errno::Errno;
use luo_core::ops;
use luo_core::{Compat, Engine, Error, Host as _, Lock as _, RootPages, Whom};

use crate::driver::Driver;
use crate::fault::Faults;
use crate::handler;
use crate::log::Log;
use crate::machine::Machine;
use crate::memfd::Memfds;
use crate::memory::{Handed, Memory};
use crate::open_files::OpenFiles;
use crate::participant::Subsystem;
use crate::policy::Policy;
use crate::stop::Stop;
use crate::trace::Journal;

/// What a machine is made of.
pub(crate) struct Parts {
    pub(crate) seed: (u64, u64),
    pub(crate) handed: Option<Handed>,
    pub(crate) policy: Policy,
    pub(crate) faults: Faults,
    pub(crate) journal: Arc<Journal>,
    pub(crate) stop: Arc<Stop>,
    pub(crate) subsystems: Vec<Compat>,
    pub(crate) test_driver: bool,
    pub(crate) mainlines_memfds: bool,
}

/// A file that nobody has locked, and that is root's alone.
fn lock_file() -> std::io::Result<File> {
    let file = luo_sys::memfd::create("liveupdate.lock", 0)?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o600))?;
    Ok(file)
}

/// A number that no other boot has, of this simulation or another: a program may have kept
/// what it has read. Where the real kernel gives none it is the seed's.
fn boot_id((one, two): (u64, u64)) -> String {
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    match random.trim() {
        "" => format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            one >> 32,
            one >> 16 & 0xffff,
            one & 0xffff,
            two >> 48,
            two & 0xffff_ffff_ffff
        ),
        random => random.to_owned(),
    }
}

impl Machine {
    /// Boots.
    ///
    /// # Errors
    /// A subsystem's name is there twice; a fault that was asked for.
    pub(crate) fn boot(parts: Parts) -> Result<Self, crate::Error> {
        let entries = parts.handed.as_ref().map(Handed::entries);
        let machine = Self {
            engine: Mutex::new(Engine::new(parts.seed)),
            queues: crate::queues::Queues::new(),
            calls: Mutex::default(),
            begun: Mutex::default(),
            lines: Mutex::default(),
            memory: Memory::new(parts.handed),
            memfds: Memfds::default(),
            open_files: OpenFiles::default(),
            lookers: Arc::default(),
            policy: parts.policy,
            boot_id: boot_id(parts.seed),
            faults: parts.faults,
            journal: parts.journal,
            log: Log::default(),
            stop: parts.stop,
            driver: parts.test_driver.then(Driver::default),
            mainlines_memfds: parts.mainlines_memfds,
            subsystems: parts.subsystems,
            device_file: Mutex::default(),
            lock_file: lock_file().map_err(crate::Error::io("the file that agents lock"))?,
            subsystem_data: AtomicU64::new(0),
            watchers: Mutex::default(),
        };
        let unowned = machine.policy.unowned;
        machine.now(|engine| engine.set_unowned(unowned));
        for (whom, quotas) in Whom::ALL.into_iter().zip(machine.policy.quotas) {
            machine.now(|engine| engine.set_quotas(whom, quotas));
        }
        if let Some([root, supplement]) = entries {
            match ops::admit(&machine, root, Some(supplement)) {
                Ok(root) => luo_calls::log::admitted(&machine, &root),
                Err(why) => luo_calls::log::refused(&machine, &why),
            }
        }
        let failed = |why: Error| crate::Error::Engine(why.to_string());
        for handler in handler::all(&machine) {
            let name = Compat::try_from(handler.name()).map_err(|why| failed(why.into()))?;
            ops::register_handler(&machine, name, &handler).map_err(failed)?;
        }
        for (at, &name) in machine.subsystems.iter().enumerate() {
            let table = Subsystem::Named(at);
            let registered = machine.wait(|engine| engine.register_subsystem(name, &table));
            registered.map_err(|_| crate::Error::Subsystem(name.to_string()))?;
        }
        machine.arm().map_err(|why| failed(why.into()))?;
        Ok(machine)
    }

    /// Makes the root for the next kernel.
    fn arm(&self) -> Result<(), Errno> {
        let page = || self.alloc_block();
        let pages = RootPages {
            root: page()?,
            flbs: page()?,
            supplement: page()?,
            subsystems: page()?,
        };
        self.now(|engine| engine.arm(pages));
        Ok(())
    }
}
