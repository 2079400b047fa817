// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of a machine that has live update: what its `/proc` and `/sys` say, and a
//! kernel image that says what a real one does and has nothing in it that could run.
//!
//! The agent `luod` looks at such files before an update. The simulator shows none but
//! those of live update itself, so for a simulation the agent is told to look here:
//! `root` in `[checks]` of its configuration.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::memfd;

/// A machine to be made up.
#[derive(Clone, Debug)]
pub struct System {
    /// The formats that the kernel to jump into knows.
    pub abi: Vec<String>,
    /// Bytes of memory that are free.
    pub available: u64,
    /// Bytes of each scratch area.
    pub scratch: u64,
}

impl Default for System {
    /// One of 2 GiB with this project's orchestrator.
    fn default() -> Self {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.trim_end_matches('\0').to_owned()
        };
        Self {
            abi: vec![
                text(&luo_abi::handover::COMPATIBLE),
                text(&luo_abi::supplement::COMPATIBLE),
                "kho-v4".to_owned(),
                memfd::COMPATIBLE.to_owned(),
                memfd::RUNS.to_owned(),
                luo_abi::memfd::HUGE.to_owned(),
            ],
            available: 1 << 30,
            scratch: 64 << 20,
        }
    }
}

/// Options of a kernel that takes part, each with the family of formats it comes with.
const CONFIG: [(&str, &str); 5] = [
    ("", "CONFIG_PAGE_SHIFT=12"),
    ("kho-", "CONFIG_KEXEC_HANDOVER=y"),
    ("kho-", "CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT=y"),
    ("luo-", "CONFIG_LIVEUPDATE=y"),
    ("memfd-", "CONFIG_LIVEUPDATE_MEMFD=y"),
];

/// The options of a kernel that knows such formats.
fn config(knows: impl Fn(&str) -> bool) -> String {
    let own = CONFIG.iter().filter(|(family, _)| knows(family));
    own.map(|(_, option)| format!("{option}\n")).collect()
}

impl System {
    /// The same, but the kernel to jump into is one of mainline's.
    #[must_use]
    pub fn mainline() -> Self {
        let mut system = Self::default();
        // What only this project's kernels read begins with its name.
        let is_ours = |format: &String| {
            ["luo-contract", "luo-memfd", "luo-hugetlb"]
                .iter()
                .any(|family| format.starts_with(family))
        };
        system.abi.retain(|format| !is_ours(format));
        system
    }

    /// Where its kernel image is, in its folder.
    #[must_use]
    pub fn image(folder: &Path) -> PathBuf {
        folder.join("boot/vmlinuz")
    }

    /// Writes its files into a folder.
    ///
    /// # Errors
    /// As the file system answers.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let kib = |bytes: u64| bytes / 1024;
        let areas = |text: [u64; 3]| text.map(|number| format!("{number:#x}\n")).concat();
        let meminfo = format!(
            "MemTotal: {} kB\nMemAvailable: {} kB\n",
            kib(self.available.saturating_mul(2)),
            kib(self.available)
        );
        let lengths = areas([self.scratch; 3]);
        let starts = areas([0x200_0000, 0x7000_0000, 0x6000_0000]);
        let files: [(&str, &[u8]); 14] = [
            ("proc/sys/kernel/osrelease", b"7.3.4-simulated\n"),
            ("proc/sys/kernel/arch", b"x86_64\n"),
            ("proc/cmdline", b"liveupdate=on\n"),
            ("proc/config.gz", &gzip(config(|_| true).as_bytes())?),
            ("proc/meminfo", meminfo.as_bytes()),
            ("proc/sys/kernel/kexec_load_disabled", b"0\n"),
            ("sys/kernel/kexec/loaded", b"0\n"),
            ("sys/kernel/security/lsm", b"capability"),
            ("sys/kernel/debug/kho/out/scratch_len", lengths.as_bytes()),
            ("sys/kernel/debug/kho/out/scratch_phys", starts.as_bytes()),
            (
                "sys/kernel/debug/kho/out/fdt",
                b"\xd0\x0d\xfe\xed\0kho-v4\0",
            ),
            (
                "sys/kernel/debug/kho/out/sub_fdts/LUO",
                &luo_abi::handover::COMPATIBLE,
            ),
            ("dev/liveupdate", b""),
            ("boot/vmlinuz", &self.kernel()?),
        ];
        for (path, content) in files {
            let path = folder.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, content)?;
        }
        Ok(())
    }

    /// A bzImage: the header that a boot loader reads, and what it unpacks.
    fn kernel(&self) -> io::Result<Vec<u8>> {
        /// Bytes before the protected-mode code, and from there to the payload.
        const SETUP: usize = 5 * 512;
        const BEFORE: usize = 100;
        let payload = gzip(&self.unpacked()?)?;
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        // The length of the protected-mode code is in units of 16 bytes.
        let code = (BEFORE + payload.len()).next_multiple_of(16);
        let units = u32::try_from(code / 16).map_err(io::Error::other)?;
        let mut bytes = vec![0; SETUP + BEFORE];
        let mut put = |at: usize, what: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + what.len()) {
                place.copy_from_slice(what);
            }
        };
        put(0x1f1, &[4]);
        put(0x1f4, &units.to_le_bytes());
        put(0x1fe, &[0x55, 0xaa]);
        put(0x202, b"HdrS");
        put(0x206, &0x020f_u16.to_le_bytes());
        put(0x211, &[1]);
        put(0x230, &(2_u32 << 20).to_le_bytes());
        put(0x236, &3_u16.to_le_bytes());
        put(0x238, &2047_u32.to_le_bytes());
        put(0x248, &(BEFORE as u32).to_le_bytes());
        put(0x24c, &length.to_le_bytes());
        put(0x258, &(16_u64 << 20).to_le_bytes());
        put(0x260, &(20_u32 << 20).to_le_bytes());
        bytes.extend(payload);
        bytes.resize(SETUP + code, 0);
        Ok(bytes)
    }

    fn unpacked(&self) -> io::Result<Vec<u8>> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(64, 0);
        // x86-64.
        bytes[18] = 62;
        bytes.extend(b"\0Linux version %s\0");
        for string in &self.abi {
            bytes.push(0);
            bytes.extend(string.as_bytes());
            bytes.extend([0; 3]);
        }
        bytes.extend(b"\0Linux version 7.3.4-simulated (luo-sim) #1\n\0");
        bytes.extend(b"IKCFG_ST");
        let knows = |family: &str| self.abi.iter().any(|known| known.starts_with(family));
        bytes.extend(gzip(config(knows).as_bytes())?);
        bytes.extend(b"IKCFG_ED");
        bytes.extend([0; 1000]);
        Ok(bytes)
    }
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut to = GzEncoder::new(Vec::new(), Compression::default());
    to.write_all(bytes)?;
    to.finish()
}
