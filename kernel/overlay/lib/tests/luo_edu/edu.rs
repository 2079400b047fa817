// SPDX-License-Identifier: GPL-2.0-only

//! A device, and what it does.

use kernel::{
    device::Core,
    io::Io,
    irq::{
        IrqReturn,
        ThreadedHandler, //
    },
    liveupdate::{
        self,
        DevicePage, //
    },
    page::PAGE_SIZE,
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        new_condvar,
        new_mutex,
        Arc,
        CondVar,
        CondVarTimeoutResult,
        Mutex,
        MutexGuard, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta, //
    },
};

use crate::regs;

/// Where its registers are.
type Registers<'a> = pci::Bar<'a, { regs::END }>;

/// Of the configuration space: the command register, and its bit of bus mastering.
const PCI_COMMAND: usize = 0x04;
const PCI_COMMAND_MASTER: u16 = 0x04;

/// What is waited for takes a tenth of a second of the machine's time.
const PATIENCE_MS: u32 = 5_000;
const PAUSE_MS: u32 = 5;

static ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// How the driver found a device, before it did anything with it.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// It has been running since the previous kernel.
    pub(crate) arrived: bool,
    /// It could read and write memory.
    pub(crate) is_master: bool,
    /// It was bringing bytes somewhere.
    pub(crate) is_running: bool,
}

/// Who may use a device.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// Whoever opens its file.
    Ours,
    /// Nobody any more: this kernel has done its last with it.
    Frozen,
    /// Nobody yet: it came from the previous kernel, and its file has not been retrieved.
    Arrived,
}

struct State {
    phase: Phase,
    /// What it brings bytes from and to; not there in [`Phase::Arrived`].
    page: Option<DevicePage>,
    /// How many interrupts were dealt with in this kernel.
    interrupts: u32,
    /// It has finished something while no kernel had a driver for it.
    was_away: bool,
}

/// What there is to be seen of a device.
pub(crate) struct View {
    pub(crate) mark: u32,
    pub(crate) is_running: bool,
    pub(crate) interrupts: u32,
    pub(crate) was_away: bool,
    pub(crate) found: Found,
}

/// A device.
#[pin_data]
pub(crate) struct Edu {
    device: ARef<pci::Device>,
    registers: pci::DevresBar<{ regs::END }>,
    found: Found,
    #[pin]
    state: Mutex<State>,
    /// It has sent an interrupt.
    #[pin]
    told: CondVar,
}

impl Edu {
    /// Takes a device over, as it is if it came from the previous kernel, and else stopped.
    pub(crate) fn new(device: &pci::Device<Core<'_>>) -> Result<Arc<Self>> {
        let arrived = liveupdate::pci::is_incoming(device);
        let command = device.config_space().read16(PCI_COMMAND);
        let registers = device.iomap_region_sized::<{ regs::END }>(0, c"luo_edu")?;
        let mut interrupts = 0;
        if arrived {
            // Its registers can be reached, for it was left as it was. What it has to say is dealt
            // with before it can say it on a line that it shares with other devices.
            interrupts = deal_with(&registers);
        }
        device.enable_device_mem()?;
        let found = Found {
            arrived,
            is_master: command & PCI_COMMAND_MASTER != 0,
            is_running: registers.read32(regs::COMMAND) & regs::RUN != 0,
        };
        let (phase, page) = if arrived {
            (Phase::Arrived, None)
        } else {
            stop(&registers)?;
            (Phase::Ours, Some(DevicePage::new(device.as_ref())?))
        };
        device.set_master();
        dev_info!(
            device,
            "found {}, bus mastering {}, {}\n",
            if arrived { "as it was left" } else { "anew" },
            if found.is_master { "on" } else { "off" },
            if found.is_running { "busy" } else { "idle" },
        );
        let registers = registers.into_devres()?;
        let state = State {
            phase,
            page,
            interrupts,
            was_away: false,
        };
        Arc::pin_init(
            try_pin_init!(Self {
                device: device.into(),
                registers,
                found,
                state <- new_mutex!(state, "luo_edu"),
                told <- new_condvar!("luo_edu"),
            }),
            GFP_KERNEL,
        )
    }

    /// Domain, and bus, slot and function.
    pub(crate) fn place(&self) -> (u32, u16) {
        (liveupdate::pci::domain(&*self.device), self.device.dev_id())
    }

    /// What there is to be seen.
    pub(crate) fn view(&self) -> Result<View> {
        let state = self.state.lock();
        let registers = self.registers.try_access().ok_or(ENODEV)?;
        Ok(View {
            mark: !registers.read32(regs::MARK),
            is_running: registers.read32(regs::COMMAND) & regs::RUN != 0,
            interrupts: state.interrupts,
            was_away: state.was_away,
            found: self.found,
        })
    }

    /// Deals with what the device has to say, if it is this kernel's to do so.
    pub(crate) fn look(&self) {
        let mut state = self.state.lock();
        if state.phase != Phase::Frozen {
            self.look_now(&mut state);
        }
    }

    fn look_now(&self, state: &mut State) {
        if let Some(registers) = self.registers.try_access() {
            state.interrupts = state.interrupts.wrapping_add(deal_with(&registers));
        }
        self.told.notify_all();
    }

    /// The device, for its users.
    ///
    /// # Errors
    /// EBUSY if it is for nobody.
    fn ours(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        match state.phase {
            Phase::Ours => Ok(state),
            Phase::Frozen | Phase::Arrived => Err(EBUSY),
        }
    }

    /// Whether the device can be used.
    pub(crate) fn is_usable(&self) -> Result {
        self.ours().map(|_| ())
    }

    fn is_running(&self) -> Result<bool> {
        let registers = self.registers.try_access().ok_or(ENODEV)?;
        Ok(registers.read32(regs::COMMAND) & regs::RUN != 0)
    }

    /// Waits for the interrupt of a device that does something.
    fn wait(&self, state: &mut MutexGuard<'_, State>) -> Result {
        while self.is_running()? {
            let patience = msecs_to_jiffies(PATIENCE_MS);
            match self.told.wait_interruptible_timeout(state, patience) {
                CondVarTimeoutResult::Woken { .. } => {}
                CondVarTimeoutResult::Timeout => return Err(ETIMEDOUT),
                CondVarTimeoutResult::Signal { .. } => return Err(EINTR),
            }
            if state.phase != Phase::Ours {
                return Err(EBUSY);
            }
        }
        Ok(())
    }

    /// Has the device bring bytes, from its buffer if `command` says so, and else into it.
    fn begin(&self, state: &State, command: u32, length: usize) -> Result {
        let memory = u32::try_from(state.page.as_ref().ok_or(EBUSY)?.address())?;
        let (source, target) = match command & regs::TO_MEMORY {
            0 => (memory, regs::BUFFER),
            _ => (regs::BUFFER, memory),
        };
        let registers = self.registers.try_access().ok_or(ENODEV)?;
        registers.write32(source, regs::SOURCE);
        registers.write32(target, regs::TARGET);
        registers.write32(u32::try_from(length)?, regs::COUNT);
        registers.write32(command | regs::INTERRUPT | regs::RUN, regs::COMMAND);
        Ok(())
    }

    /// Brings bytes into the device's buffer, and waits until they are there. Nothing of them
    /// stays in memory.
    pub(crate) fn fill(&self, bytes: &[u8]) -> Result {
        let mut state = self.ours()?;
        if bytes.is_empty() || bytes.len() > regs::MOST {
            return Err(EINVAL);
        }
        self.wait(&mut state)?;
        state.page.as_mut().ok_or(EBUSY)?.write(bytes);
        self.begin(&state, 0, bytes.len())?;
        self.wait(&mut state)?;
        state.page.as_mut().ok_or(EBUSY)?.write(&ZEROS);
        Ok(())
    }

    /// Has the device bring bytes from its buffer into memory.
    pub(crate) fn fetch(&self, length: usize) -> Result {
        let state = self.ours()?;
        if length == 0 || length > regs::MOST {
            return Err(EINVAL);
        }
        if self.is_running()? {
            return Err(EBUSY);
        }
        self.begin(&state, regs::TO_MEMORY, length)
    }

    /// What is in that memory once the device does nothing.
    pub(crate) fn memory(&self) -> Result<KVec<u8>> {
        let mut bytes = KVec::from_elem(0, PAGE_SIZE, GFP_KERNEL)?;
        let mut state = self.ours()?;
        self.wait(&mut state)?;
        state.page.as_ref().ok_or(EBUSY)?.read(&mut bytes);
        Ok(bytes)
    }

    /// Sets the mark.
    pub(crate) fn mark(&self, mark: u32) -> Result {
        let _state = self.ours()?;
        let registers = self.registers.try_access().ok_or(ENODEV)?;
        registers.write32(mark, regs::MARK);
        Ok(())
    }

    /// The device is to go on in the next kernel, and so is its memory, of which the address
    /// comes back.
    pub(crate) fn preserve(&self) -> Result<u64> {
        let mut state = self.ours()?;
        let page = state.page.as_mut().ok_or(EBUSY)?;
        page.keep()?;
        if let Err(why) = liveupdate::pci::preserve(&*self.device) {
            page.let_go();
            return Err(why);
        }
        Ok(page.address())
    }

    /// Undoes that.
    pub(crate) fn unpreserve(&self) {
        liveupdate::pci::unpreserve(&*self.device);
        if let Some(page) = self.state.lock().page.as_mut() {
            page.let_go();
        }
    }

    /// From now on this kernel leaves the device alone. Whether it is doing something.
    pub(crate) fn freeze(&self) -> Result<bool> {
        let mut state = self.ours()?;
        state.phase = Phase::Frozen;
        self.is_running()
    }

    /// Undoes that.
    pub(crate) fn unfreeze(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Ours;
        // It may have said something meanwhile.
        self.look_now(&mut state);
    }

    /// A device from the previous kernel gets its memory back. `was_running` is whether it was doing
    /// something when that kernel did its last with it.
    pub(crate) fn take_over(&self, address: u64, was_running: bool) -> Result {
        let mut state = self.state.lock();
        if state.phase != Phase::Arrived {
            return Err(EINVAL);
        }
        state.page = Some(DevicePage::take_back(address)?);
        state.phase = Phase::Ours;
        state.was_away = was_running && !self.found.is_running;
        self.look_now(&mut state);
        Ok(())
    }

    /// Nobody has taken the device over: stops it. Its memory is this kernel's then.
    pub(crate) fn discard(&self, address: u64) -> Result {
        let mut state = self.state.lock();
        if state.phase != Phase::Arrived {
            // It was found anew, and has been stopped then.
            drop(DevicePage::take_back(address)?);
            return Ok(());
        }
        {
            let registers = self.registers.try_access().ok_or(ENODEV)?;
            if is_busy(&registers) {
                return Err(EBUSY);
            }
            forget(&registers);
        }
        state.page = Some(DevicePage::take_back(address)?);
        state.phase = Phase::Ours;
        Ok(())
    }

    /// It is a device like all others now.
    pub(crate) fn finish(&self) {
        liveupdate::pci::finish(&*self.device);
    }
}

fn is_busy(registers: &Registers<'_>) -> bool {
    registers.read32(regs::COMMAND) & regs::RUN != 0
}

/// Deals with what has caused an interrupt: 1 if there was something.
fn deal_with(registers: &Registers<'_>) -> u32 {
    let causes = registers.read32(regs::CAUSES);
    if causes == 0 {
        return 0;
    }
    registers.write32(causes, regs::DEALT_WITH);
    1
}

/// Waits until a device does nothing, and has it forget what it was told.
fn stop(registers: &Registers<'_>) -> Result {
    for _ in 0..PATIENCE_MS / PAUSE_MS {
        if !is_busy(registers) {
            forget(registers);
            return Ok(());
        }
        fsleep(Delta::from_millis(PAUSE_MS.into()));
    }
    Err(ETIMEDOUT)
}

fn forget(registers: &Registers<'_>) {
    deal_with(registers);
    registers.write32(0, regs::STATUS);
    registers.write32(0, regs::MARK);
    registers.write32(0, regs::SOURCE);
    registers.write32(0, regs::TARGET);
    registers.write32(0, regs::COUNT);
}

/// Who is called when a device sends an interrupt.
pub(crate) struct Told(pub(crate) Arc<Edu>);

impl ThreadedHandler for Told {
    fn handle_threaded(&self) -> IrqReturn {
        self.0.look();
        IrqReturn::Handled
    }
}
