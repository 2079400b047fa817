// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a scenario is, and the command line that starts it.

use std::time::Duration;

use luo_lab_protocol::param;

use crate::build::artifact::Artifact;
use crate::build::variant::Variant;
use crate::fetch::systemd::Release;
use crate::run::load::Load;

/// Options that every guest gets. The scratch area is small and fixed because
/// the default one is CMA and big: pages in it must be migrated before they
/// can be preserved. The guest passes its own initramfs on to the next kernel,
/// hence `retain_initrd`. The TSC's watchdog is off because Linux 7.3 can hang
/// in it on a busy host: one processor waits in `watchdog_check_skew`, until
/// a clock says it has waited too long, for another that sits in the change of
/// clocks, and the clock of that moment is jiffies, which stand still. The
/// check whether the timer's interrupt arrives is off because on a busy host an
/// emulated one can come too late for it, and then the kernel panics. How many
/// loops make a delay is said, because each boot would else measure it for a
/// processor's third of a second: it is what one of 2.4 GHz has. Serial ports that
/// are not there are not looked for, and of disks there are those that a test makes. What
/// KHO's own test of a boot hands over is small, but where selftests are what is run.
const BASE: &[&str] = &[
    "console=ttyS0",
    "liveupdate=on",
    "kho=on",
    "kho_scratch=32M,64M,32M",
    "panic=-1",
    "retain_initrd",
    "loglevel=7",
    "tsc=nowatchdog",
    "no_timer_check",
    "lpj=24000000",
    "8250.nr_uarts=2",
    "null_blk.nr_devices=0",
    "test_kho.max_mem=65536",
];

/// A run of one virtual machine, through one or more kernels.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The name in commands and in front of its cases.
    pub name: String,
    /// What it proves, one line.
    pub proves: &'static str,
    /// The scenario's name inside the guest.
    pub guest: &'static str,
    /// What has to be built for it beside kernels and init.
    pub needs: &'static [Artifact],
    /// The kernel that is booted.
    pub first: &'static str,
    /// The kernels to kexec into, in order, and then again from the first.
    pub next: Vec<&'static str>,
    /// Arguments for the guest, `key:value`.
    pub args: Vec<String>,
    /// Memory in MiB.
    pub memory: u32,
    /// MiB that its initramfs has at least: what is missing is zeros at its end.
    pub initrd: u32,
    /// When to give up.
    pub timeout: Duration,
    /// Its processors.
    pub processors: Processors,
    /// Devices that it has beside what each machine has, in QEMU's words.
    pub devices: &'static [&'static str],
    /// What it measures under, if it measures.
    pub load: Option<&'static Load>,
    /// What must come of it.
    pub expect: Expect,
    /// Further kernel parameters; one with a known key replaces that.
    pub cmdline: Vec<&'static str>,
    /// What the console must and must not say.
    pub console: Rules,
    /// Which run of all tests it is in.
    pub when: When,
    /// Seconds for which a processor is busy with it, measured. What costs most begins
    /// first, so that the others run beside it.
    pub cost: u32,
}

/// The processors of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processors {
    /// How many.
    pub count: u32,
    /// Over how many NUMA nodes they and the memory are spread, in equal parts.
    pub nodes: u32,
    /// MiB for code that the emulator has translated.
    ///
    /// A kernel that comes after a kexec takes the place of the one before, and QEMU then
    /// forgets the old one's code piece by piece, each by a look through what every
    /// processor keeps. Where there is room for the code of little more than one boot, most
    /// of it is thrown away at once instead, which costs next to nothing. A machine whose
    /// programs are large takes more, or it translates the same again and again.
    pub code: u32,
    /// How their time goes.
    pub clock: Clock,
}

impl Processors {
    /// Of a machine with large programs.
    pub const TWO: Self = Self {
        count: 2,
        nodes: 1,
        code: 128,
        clock: Clock::Host,
    };

    /// The same with one.
    pub const ONE: Self = Self {
        count: 1,
        ..Self::TWO
    };

    /// Each with half of the memory.
    pub const TWO_WITH_A_NODE_EACH: Self = Self {
        nodes: 2,
        ..Self::TWO
    };

    /// Of a machine that does little but boot, again and again.
    pub const TWO_THAT_BOOT: Self = Self {
        code: 24,
        ..Self::TWO
    };

    /// As that, where nothing is done at the same time: with one processor a boot takes a
    /// fifth less.
    pub const ONE_THAT_BOOTS: Self = Self {
        count: 1,
        ..Self::TWO_THAT_BOOT
    };

    /// Of a machine whose instructions are counted. There is one, because those of two
    /// would have to wait for each other all the time.
    pub const COUNTED: Self = Self {
        count: 1,
        nodes: 1,
        code: 128,
        clock: Clock::Instructions,
    };
}

/// How the time of a machine goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// As the host's.
    Host,
    /// By a nanosecond an instruction, and while the machine waits it jumps to when
    /// something happens: the same work takes the same time on any host, however busy.
    Instructions,
}

/// Which run of all tests a scenario is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// `cargo xtask test`.
    Always,
    /// `cargo xtask test --all`, which takes hours.
    All,
    /// None. It runs when a command asks for it.
    Asked,
}

/// What the console must and must not say, as regular expressions over single lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Each must match some line.
    pub must: &'static [&'static str],
    /// None may match any line.
    pub must_not: &'static [&'static str],
    /// Signs of trouble that are what the scenario is about.
    pub allowed: &'static [&'static str],
}

/// What a scenario must report, so that one that reports nothing fails.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// At least this many cases.
    pub cases: usize,
    /// Cases that must be among them.
    pub named: &'static [&'static str],
    /// Whether those are all, each reported once.
    pub exactly: bool,
    /// How many times it goes through kexec, if that is fixed.
    pub kexecs: Option<u32>,
}

impl Scenario {
    /// Whether its guest has `artifact`.
    #[must_use]
    pub fn needs(&self, artifact: Artifact) -> bool {
        self.needs.contains(&artifact)
    }

    /// The release of systemd that its guest runs, if it runs one.
    #[must_use]
    pub fn systemd(&self) -> Option<Release> {
        self.needs.iter().find_map(|artifact| match artifact {
            Artifact::SystemdRoot(release) => Some(*release),
            _ => None,
        })
    }

    /// Every kernel it needs, the first one included, each once.
    #[must_use]
    pub fn variants(&self) -> Vec<&'static str> {
        let mut variants = vec![self.first];
        for next in &self.next {
            if !variants.contains(next) {
                variants.push(next);
            }
        }
        variants
    }

    /// Runs with other kernels: the first, and those to kexec into in order.
    pub fn replace_kernels(&mut self, variants: &[&'static Variant]) {
        if let Some((first, next)) = variants.split_first() {
            self.first = first.name;
            if !next.is_empty() {
                self.next = next.iter().map(|variant| variant.name).collect();
            }
        }
    }

    /// The variant that runs after `kexecs` kexecs.
    #[must_use]
    pub fn variant_at(&self, kexecs: usize) -> &'static str {
        match kexecs.checked_sub(1) {
            None => self.first,
            Some(index) => self.next.iter().cycle().nth(index).unwrap_or(&self.first),
        }
    }

    /// The kernel's command line.
    #[must_use]
    pub fn kernel_cmdline(&self) -> String {
        let key = |word: &str| word.split('=').next().unwrap_or(word).to_owned();
        let replaced = |word: &&&str| self.cmdline.iter().any(|own| key(own) == key(word));
        let mut words: Vec<String> = BASE
            .iter()
            .filter(|word| !replaced(word))
            .map(|&word| word.to_owned())
            .collect();
        words.extend(self.cmdline.iter().map(|&word| word.to_owned()));
        words.push(format!("{}={}", param::SCENARIO, self.guest));
        if !self.next.is_empty() {
            words.push(format!("{}={}", param::NEXT, self.next.join(",")));
        }
        if !self.args.is_empty() {
            words.push(format!("{}={}", param::ARGS, self.args.join(",")));
        }
        words.join(" ")
    }
}
