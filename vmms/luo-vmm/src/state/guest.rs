// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the records of a state mean.
//!
//! | kind | required | content | bytes | where it is missing |
//! |---|---|---|---|---|
//! | 1 | yes | bytes of RAM; RAM begins at address 0 | 8 | refused |
//! | 2 | yes | clocks, below | 32 | refused |
//! | 3 | yes | `kvm_pit_state2` | 112 | refused |
//! | 4 | yes | `kvm_irqchip`; which: 0, 1 the PICs, 2 the I/O APIC | 520 | refused |
//! | 5 | yes | the serial port, below | 10 to 74 | refused |
//! | 6 | yes | rings that the doorbell has heard; the VM itself and the doorbell's eventfds came, too | 8 | there is no doorbell, and RAM came alone |
//! | 16 | yes | `kvm_cpuid_entry2`, each | n * 40 | refused |
//! | 17 | yes | `kvm_mp_state` | 4 | refused |
//! | 18 | yes | `kvm_regs` | 144 | refused |
//! | 19 | yes | `kvm_sregs` | 312 | refused |
//! | 20 | yes | `kvm_xsave` | 4096 | refused |
//! | 21 | yes | `kvm_xcrs` | 392 | refused |
//! | 22 | yes | `kvm_debugregs` | 128 | refused |
//! | 23 | yes | `kvm_lapic_state` | 1024 | refused |
//! | 24 | yes | `kvm_msr_entry`, each | n * 16 | refused |
//! | 25 | yes | `kvm_vcpu_events` | 64 | refused |
//! | 26 | yes | a processor's counter, less the host's; of each but the first | 8 | as kind 2 has it |
//! | 32 | no | who has written it, as text | up to 64 | nothing is said of it |
//! | 33 | no | the host's counter when the guest was told to stop | 8 | kind 2 has the moment |
//!
//! Kinds from 16 to 31 are a processor's, and *which* is its number, from 0 to 7. The highest number
//! says how many processors a guest has; each of them has its records. A program that knows one processor only
//! refuses a record of another one. A structure of KVM is there as the kernel's ABI has it, which never
//! changes.
//!
//! ```text
//! clocks                                              serial port
//! offset  bytes                                       offset  bytes
//!      0      8  kvmclock, nanoseconds                     0      9  registers: divisor low, high,
//!      8      8  the host's counter at that moment                   IER, IIR, LCR, LSR, MCR, MSR,
//!     16      8  the guest's counter, less the host's                scratch
//!     24      4  its ticks in a millisecond (kHz)          9      1  bytes in the receive buffer
//!     28      4  zero                                     10         those, 64 at most
//! ```

use kvm_bindings::{
    kvm_cpuid_entry2, kvm_debugregs, kvm_irqchip, kvm_lapic_state, kvm_mp_state, kvm_msr_entry,
    kvm_pit_state2, kvm_regs, kvm_sregs, kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use vm_superio::serial::SerialState;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Refusal;
use super::record::{Record, append, parse};
use crate::clocks::Stopped;

/// Interrupt controllers of a PC: two PICs, and the I/O APIC.
pub const CHIPS: usize = 3;

/// Entries of CPUID that KVM takes at most (`KVM_MAX_CPUID_ENTRIES`).
pub const MOST_CPUID: usize = 256;

/// The most registers of a model that a state has.
pub const MOST_MSRS: usize = 1024;

/// The most processors of a guest.
pub const MOST_VCPUS: usize = 8;

/// Bytes of the serial port's receive buffer.
const FIFO: usize = 64;

/// Bytes of a text for people.
const TEXT: usize = 64;

/// The most RAM, below what a PC has for its devices.
pub const MOST_RAM: u64 = 3 << 30;

const RAM: u32 = 1;
const CLOCKS: u32 = 2;
const PIT: u32 = 3;
const CHIP: u32 = 4;
const SERIAL: u32 = 5;
const DOORBELL: u32 = 6;
const CPUID: u32 = 16;
const MP_STATE: u32 = 17;
const REGS: u32 = 18;
const SREGS: u32 = 19;
const XSAVE: u32 = 20;
const XCRS: u32 = 21;
const DEBUG: u32 = 22;
const LAPIC: u32 = 23;
const MSRS: u32 = 24;
const EVENTS: u32 = 25;
const OFFSET: u32 = 26;
const WRITER: u32 = 32;
const TOLD: u32 = 33;

/// All kinds that this program knows.
const KNOWN: [u32; 19] = [
    RAM, CLOCKS, PIT, CHIP, SERIAL, DOORBELL, CPUID, MP_STATE, REGS, SREGS, XSAVE, XCRS, DEBUG,
    LAPIC, MSRS, EVENTS, OFFSET, WRITER, TOLD,
];

/// How many of a kind there can be.
const fn most(kind: u32) -> u32 {
    match kind {
        CHIP => CHIPS as u32,
        CPUID..=OFFSET => MOST_VCPUS as u32,
        _ => 1,
    }
}

/// A guest, without its RAM.
pub struct State {
    /// Bytes of RAM.
    pub ram: u64,
    /// Its clocks.
    pub clocks: Stopped,
    /// What has an interrupt to give.
    pub devices: Devices,
    /// Its processors; the first is the one that it was started on.
    pub vcpus: Vec<Vcpu>,
    /// Who has written this, as text for people.
    pub writer: String,
    /// The host's counter when the guest was told to stop, for people: it runs on for a moment.
    pub told: u64,
}

/// What a guest has beside its processor.
pub struct Devices {
    /// The timer.
    pub pit: kvm_pit_state2,
    /// The interrupt controllers.
    pub chips: [kvm_irqchip; CHIPS],
    /// The serial port.
    pub serial: SerialState,
    /// Rings that its doorbell has heard, if it has one.
    pub doorbell: Option<u64>,
}

/// A processor.
pub struct Vcpu {
    /// What it says of itself.
    pub cpuid: Vec<kvm_cpuid_entry2>,
    /// Whether it runs or is halted.
    pub mp_state: kvm_mp_state,
    /// Its registers.
    pub regs: kvm_regs,
    /// Its segments, tables and control registers.
    pub sregs: kvm_sregs,
    /// Floating point and vectors.
    pub xsave: kvm_xsave,
    /// What of those is on.
    pub xcrs: kvm_xcrs,
    /// Its debug registers.
    pub debug: kvm_debugregs,
    /// Its interrupt controller.
    pub lapic: kvm_lapic_state,
    /// Registers of its model.
    pub msrs: Vec<kvm_msr_entry>,
    /// Exceptions and interrupts under way.
    pub events: kvm_vcpu_events,
    /// Its counter, less the host's. That of the first is the one of [`State::clocks`].
    pub tsc_offset: u64,
}

impl State {
    /// As records.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::new();
        let mut put = |kind, which, content: &[u8]| {
            let required = kind < WRITER;
            append(
                &mut to,
                &Record {
                    kind,
                    required,
                    which,
                    content,
                },
            );
        };
        put(RAM, 0, &self.ram.to_le_bytes());
        put(CLOCKS, 0, &clocks(&self.clocks));
        put(PIT, 0, self.devices.pit.as_bytes());
        for (which, chip) in (0..).zip(&self.devices.chips) {
            put(CHIP, which, chip.as_bytes());
        }
        put(SERIAL, 0, &serial(&self.devices.serial));
        if let Some(heard) = self.devices.doorbell {
            put(DOORBELL, 0, &heard.to_le_bytes());
        }
        for (which, vcpu) in (0..).zip(&self.vcpus) {
            put(CPUID, which, vcpu.cpuid.as_bytes());
            put(MP_STATE, which, vcpu.mp_state.as_bytes());
            put(REGS, which, vcpu.regs.as_bytes());
            put(SREGS, which, vcpu.sregs.as_bytes());
            put(XSAVE, which, vcpu.xsave.as_bytes());
            put(XCRS, which, vcpu.xcrs.as_bytes());
            put(DEBUG, which, vcpu.debug.as_bytes());
            put(LAPIC, which, vcpu.lapic.as_bytes());
            put(MSRS, which, vcpu.msrs.as_bytes());
            put(EVENTS, which, vcpu.events.as_bytes());
            if which > 0 {
                put(OFFSET, which, &vcpu.tsc_offset.to_le_bytes());
            }
        }
        put(WRITER, 0, self.writer.as_bytes());
        put(TOLD, 0, &self.told.to_le_bytes());
        to
    }

    /// Reads records.
    ///
    /// # Errors
    /// [`Refusal`] says what was found.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let all = Records::sort(parse(bytes)?)?;
        let ram = u64::from_le_bytes(all.array(RAM)?);
        if ram == 0 || ram > MOST_RAM {
            let what = "bytes of RAM";
            return Err(Refusal::Number { kind: RAM, what });
        }
        let chip = |which| all.structure::<kvm_irqchip>(CHIP, which);
        let chips = [chip(0)?, chip(1)?, chip(2)?];
        let are_in_order = (0..).zip(&chips).all(|(which, chip)| chip.chip_id == which);
        if !are_in_order {
            let what = "which interrupt controller it is";
            return Err(Refusal::Number { kind: CHIP, what });
        }
        let clocks = to_clocks(all.array(CLOCKS)?)?;
        let vcpus = all.processors().map(|which| all.vcpu(which, &clocks));
        let vcpus = vcpus.collect::<Result<_, _>>()?;
        let told = match all.array(TOLD) {
            Err(Refusal::Missing { .. }) => clocks.ticks,
            told => u64::from_le_bytes(told?),
        };
        let doorbell = match all.array(DOORBELL) {
            Err(Refusal::Missing { .. }) => None,
            heard => Some(u64::from_le_bytes(heard?)),
        };
        Ok(Self {
            ram,
            clocks,
            devices: Devices {
                pit: all.structure(PIT, 0)?,
                chips,
                serial: to_serial(all.content(SERIAL, 0)?)?,
                doorbell,
            },
            vcpus,
            writer: all.text(WRITER),
            told,
        })
    }
}

/// The records that are known, each once.
struct Records<'a>(Vec<Record<'a>>);

impl<'a> Records<'a> {
    fn sort(records: Vec<Record<'a>>) -> Result<Self, Refusal> {
        let mut known: Vec<Record<'a>> = Vec::new();
        for record in records {
            let Record { kind, which, .. } = record;
            if !KNOWN.contains(&kind) {
                if record.required {
                    return Err(Refusal::Unknown { kind });
                }
                continue;
            }
            if which >= most(kind) {
                let what = "which of its kind it is";
                return Err(Refusal::Number { kind, what });
            }
            if known
                .iter()
                .any(|one| (one.kind, one.which) == (kind, which))
            {
                return Err(Refusal::Twice { kind });
            }
            known.push(record);
        }
        Ok(Self(known))
    }

    /// The numbers of the processors that there are records of.
    fn processors(&self) -> std::ops::RangeInclusive<u32> {
        let its = |record: &&Record<'_>| (CPUID..=OFFSET).contains(&record.kind);
        let numbers = self.0.iter().filter(its).map(|record| record.which);
        // There is one at least, and of one that is left out something is missing.
        0..=numbers.max().unwrap_or(0)
    }

    fn vcpu(&self, which: u32, clocks: &Stopped) -> Result<Vcpu, Refusal> {
        let tsc_offset = match self.content(OFFSET, which) {
            Err(_) => clocks.tsc_offset,
            // The first one's is where the clocks are.
            Ok(_) if which == 0 => {
                let (kind, what) = (OFFSET, "which of its kind it is");
                return Err(Refusal::Number { kind, what });
            }
            Ok(content) => {
                let bytes = content.try_into().map_err(|_| size(OFFSET, content))?;
                u64::from_le_bytes(bytes)
            }
        };
        Ok(Vcpu {
            cpuid: self.list(CPUID, which, MOST_CPUID)?,
            mp_state: self.structure(MP_STATE, which)?,
            regs: self.structure(REGS, which)?,
            sregs: self.structure(SREGS, which)?,
            xsave: self.structure(XSAVE, which)?,
            xcrs: self.structure(XCRS, which)?,
            debug: self.structure(DEBUG, which)?,
            lapic: self.structure(LAPIC, which)?,
            msrs: self.list(MSRS, which, MOST_MSRS)?,
            events: self.structure(EVENTS, which)?,
            tsc_offset,
        })
    }

    fn content(&self, kind: u32, which: u32) -> Result<&'a [u8], Refusal> {
        let mut records = self.0.iter();
        let record = records.find(|record| (record.kind, record.which) == (kind, which));
        Ok(record.ok_or(Refusal::Missing { kind })?.content)
    }

    fn array<const N: usize>(&self, kind: u32) -> Result<[u8; N], Refusal> {
        let content = self.content(kind, 0)?;
        content.try_into().map_err(|_| size(kind, content))
    }

    fn structure<T: FromBytes>(&self, kind: u32, which: u32) -> Result<T, Refusal> {
        let content = self.content(kind, which)?;
        T::read_from_bytes(content).map_err(|_| size(kind, content))
    }

    fn list<T: FromBytes + Immutable>(
        &self,
        kind: u32,
        which: u32,
        most: usize,
    ) -> Result<Vec<T>, Refusal> {
        let content = self.content(kind, which)?;
        let pieces = content.chunks_exact(size_of::<T>());
        if !pieces.remainder().is_empty() || pieces.len() > most {
            return Err(size(kind, content));
        }
        let piece = |piece| T::read_from_bytes(piece).map_err(|_| size(kind, content));
        pieces.map(piece).collect()
    }

    /// A text that is not required; what is not UTF-8 in it is replaced.
    fn text(&self, kind: u32) -> String {
        let content = self.content(kind, 0).unwrap_or_default();
        let content = content.get(..TEXT).unwrap_or(content);
        let mut text = String::new();
        let all = String::from_utf8_lossy(content);
        for char in all.chars().filter(|char| !char.is_control()) {
            // What stands in place of something may be longer than that was.
            if text.len() + char.len_utf8() > TEXT {
                break;
            }
            text.push(char);
        }
        text
    }
}

fn size(kind: u32, content: &[u8]) -> Refusal {
    let found = content.len();
    Refusal::Size { kind, found }
}

fn clocks(clocks: &Stopped) -> [u8; 32] {
    let mut bytes = [0; 32];
    let parts = clocks.kvmclock_ns.to_le_bytes().into_iter();
    let parts = parts.chain(clocks.ticks.to_le_bytes());
    let parts = parts.chain(clocks.tsc_offset.to_le_bytes());
    let parts = parts.chain(clocks.tsc_khz.to_le_bytes());
    for (byte, part) in bytes.iter_mut().zip(parts) {
        *byte = part;
    }
    bytes
}

fn to_clocks(bytes: [u8; 32]) -> Result<Stopped, Refusal> {
    let (numbers, last) = bytes.split_at(24);
    let number = |which: usize| {
        let piece = numbers.chunks_exact(8).nth(which);
        let piece = piece.and_then(|piece| piece.try_into().ok());
        u64::from_le_bytes(piece.unwrap_or_default())
    };
    let half = |which: usize| {
        let piece = last.chunks_exact(4).nth(which);
        let piece = piece.and_then(|piece| piece.try_into().ok());
        u32::from_le_bytes(piece.unwrap_or_default())
    };
    let refuse = |what| Err(Refusal::Number { kind: CLOCKS, what });
    if half(0) == 0 {
        return refuse("ticks in a millisecond");
    }
    if half(1) != 0 {
        return refuse("what has to be zero");
    }
    Ok(Stopped {
        kvmclock_ns: number(0),
        ticks: number(1),
        tsc_offset: number(2),
        tsc_khz: half(0),
    })
}

fn serial(state: &SerialState) -> Vec<u8> {
    let mut bytes = vec![
        state.baud_divisor_low,
        state.baud_divisor_high,
        state.interrupt_enable,
        state.interrupt_identification,
        state.line_control,
        state.line_status,
        state.modem_control,
        state.modem_status,
        state.scratch,
    ];
    let buffer = state.in_buffer.iter().copied().take(FIFO);
    bytes.push(u8::try_from(buffer.len()).unwrap_or(u8::MAX));
    bytes.extend(buffer);
    bytes
}

fn to_serial(content: &[u8]) -> Result<SerialState, Refusal> {
    let refuse = || size(SERIAL, content);
    let (registers, buffer) = content.split_at_checked(10).ok_or_else(refuse)?;
    let registers: [u8; 10] = registers.try_into().map_err(|_| refuse())?;
    let [low, high, ier, iir, lcr, lsr, mcr, msr, scratch, length] = registers;
    if buffer.len() != usize::from(length) || buffer.len() > FIFO {
        return Err(refuse());
    }
    Ok(SerialState {
        baud_divisor_low: low,
        baud_divisor_high: high,
        interrupt_enable: ier,
        interrupt_identification: iir,
        line_control: lcr,
        line_status: lsr,
        modem_control: mcr,
        modem_status: msr,
        scratch,
        in_buffer: buffer.to_vec(),
    })
}

#[cfg(test)]
mod tests;
