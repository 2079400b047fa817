// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a guest counts, on the host's clock that goes on over a kexec.
//!
//! The guest's count is a word of its RAM, and its RAM a file that its monitor has open: so whoever
//! looks into that file sees each step of the guest, the last one before a jump and the first one
//! after it, and asks neither the guest nor its monitor. The last one is noted in a file, which the
//! [keeper](crate::keeper) takes along.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

/// The file in which the last step is noted.
pub const FILE: &str = "ticks";

/// Where in its RAM each guest of the tests has its count.
const COUNT: u64 = 0x20_0000;

/// Between two looks. It is a measure, and not what anybody waits with.
const PAUSE: Duration = Duration::from_micros(500);

/// A step of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// What the guest had counted to.
    pub count: u32,
    /// The host's counter when that was seen.
    pub ticks: u64,
}

impl Tick {
    fn text(self) -> String {
        format!("{:08x} {:016x}\n", self.count, self.ticks)
    }

    fn parse(text: &str) -> Option<Self> {
        let (count, ticks) = text.strip_suffix('\n')?.split_once(' ')?;
        Some(Self {
            count: u32::from_str_radix(count, 16).ok()?,
            ticks: u64::from_str_radix(ticks, 16).ok()?,
        })
    }
}

/// Somebody who looks at a guest.
#[derive(Debug)]
pub struct Ticks {
    before: Option<Tick>,
    first: Arc<Mutex<Option<Tick>>>,
    stands: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticks {
    /// Looks at a guest with so many bytes of RAM, which a process has open or will have. The
    /// folder is that of the scene.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn watch(process: u32, memory: u64, folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let before = fs::read_to_string(&path).unwrap_or_default();
        let before = Tick::parse(&before);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600);
        let file = file
            .open(&path)
            .with_context(|| path.display().to_string())?;
        let first = Arc::default();
        let stands = Arc::new(AtomicBool::new(false));
        let ends = Arc::new(AtomicBool::new(false));
        let look = Look {
            process,
            memory,
            file,
            before,
            first: Arc::clone(&first),
            stands: Arc::clone(&stands),
            ends: Arc::clone(&ends),
        };
        let thread = std::thread::spawn(move || look.run());
        Ok(Self {
            before,
            first,
            stands,
            ends,
            thread: Some(thread),
        })
    }

    /// Whether the guest was seen to stand still as the jump has found it.
    #[must_use]
    pub fn was_seen_to_stand(&self) -> bool {
        self.stands.load(Ordering::Acquire)
    }

    /// The last step before the jump and the first after it, if the guest was seen between them.
    #[must_use]
    pub fn over_the_jump(&self) -> Option<(Tick, Tick)> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        self.before.zip(*first)
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

struct Look {
    process: u32,
    memory: u64,
    file: File,
    before: Option<Tick>,
    first: Arc<Mutex<Option<Tick>>>,
    stands: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
}

impl Look {
    fn run(self) {
        let (mut ram, mut last) = (None, None);
        while !self.ends.load(Ordering::Acquire) {
            if ram.is_none() {
                ram = ram_of(self.process, self.memory);
            }
            if let Some(tick) = ram.as_ref().and_then(look)
                && Some(tick.count) != last
            {
                self.see(tick, last);
                last = Some(tick.count);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// A count that is another one than the last.
    fn see(&self, tick: Tick, last: Option<u32>) {
        if let Some(before) = self.before {
            if last.is_none() && before.count == tick.count {
                self.stands.store(true, Ordering::Release);
                return;
            }
            // Of a guest that was not seen to stand nobody knows which step was its first.
            if last == Some(before.count) {
                let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(tick);
            }
        }
        // Who reads it says what is missing.
        let _ = self.file.write_all_at(tick.text().as_bytes(), 0);
    }
}

/// What the guest has counted to now.
fn look(ram: &File) -> Option<Tick> {
    let mut word = [0; 4];
    ram.read_exact_at(&mut word, COUNT).ok()?;
    let ticks = luo_sys::clock::ticks()?;
    Some(Tick {
        count: u32::from_le_bytes(word),
        ticks,
    })
}

/// The RAM among the files that a process has open: a memfd of that length.
fn ram_of(process: u32, memory: u64) -> Option<File> {
    for entry in fs::read_dir(format!("/proc/{process}/fd")).ok()? {
        let path: PathBuf = entry.ok()?.path();
        let is_memory = fs::read_link(&path).is_ok_and(|target| {
            let target = target.to_string_lossy();
            // Mainline's kernel gives a memfd back without its name.
            target.starts_with("/memfd:") || target.ends_with(" (deleted)")
        });
        if is_memory && fs::metadata(&path).is_ok_and(|about| about.size() == memory) {
            return File::open(&path).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_and_the_first_after_it_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let ram = luo_client::kernel::memfd::create("ram", 4 << 20).unwrap();
        let count = |count: u32| ram.write_all_at(&count.to_le_bytes(), COUNT).unwrap();
        let noted = || Tick::parse(&fs::read_to_string(folder.path().join(FILE)).unwrap());
        let until = |what: &dyn Fn() -> bool| {
            while !what() {
                std::thread::yield_now();
            }
        };
        let watch = || Ticks::watch(std::process::id(), 4 << 20, folder.path()).unwrap();
        count(7);
        let before = watch();
        until(&|| noted().is_some_and(|tick| tick.count == 7));
        count(9);
        until(&|| noted().is_some_and(|tick| tick.count == 9));
        assert_eq!(before.over_the_jump(), None);
        drop(before);
        let last = noted().unwrap();
        // In the next kernel it stands as it stood.
        let after = watch();
        until(&|| after.was_seen_to_stand());
        assert_eq!(after.over_the_jump(), None);
        count(10);
        until(&|| after.over_the_jump().is_some());
        let (was, first) = after.over_the_jump().unwrap();
        assert_eq!((was, first.count), (last, 10));
        assert!(first.ticks > last.ticks);
    }
}
