// SPDX-License-Identifier: MIT OR Apache-2.0
//! The updates: one line of JSON each.
//!
//! ```text
//! begun -> about to jump -> taken back in the next kernel -> over
//! ```
//!
//! An update writes a line at each of these; the last line of an update counts. So one that
//! ended with its machine stands there as under way, with the boot in which that was so, and
//! whoever starts next can tell what came of it.

mod disk;
mod limits;
mod line;
mod past;
mod read;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use luo_varlink::HistoryEntry;

use self::disk::Disk;
use self::limits::MAX_ANSWER;
pub use self::past::{Mark, Open, Past};
use super::notes::epoch;

/// The file in the state directory.
const FILE: &str = "history.jsonl";

/// Updates that are kept in memory while the disk takes none.
const MAX_UNWRITTEN: usize = 64;

/// Updates that are looked through for such as are not over.
const MOST_OPEN: usize = 64;

/// An update that the disk has not taken yet.
#[derive(Clone, Debug)]
struct Unwritten {
    entry: HistoryEntry,
    mark: Mark,
    /// Why not; nothing as long as it is tried for the first time.
    why: Option<String>,
}

/// The lines that are to be written.
#[derive(Debug, Default)]
struct Queue {
    /// The updates, the oldest first.
    entries: Vec<Unwritten>,
    /// A thread is at it.
    is_writing: bool,
    /// The agent's notes have them too.
    are_noted: bool,
    /// Updates that are over and had to make way for newer ones, as the disk took none.
    given_up: Vec<String>,
}

/// The history of one machine. A disk may hang for ever: no lock is held while one is asked.
#[derive(Clone, Debug)]
pub struct History {
    disk: Disk,
    /// Which boot this is.
    boot: Arc<str>,
    queue: Arc<Mutex<Queue>>,
}

impl History {
    /// The history in a state directory, which may not be there yet.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            disk: Disk::at(directory.join(FILE)),
            boot: epoch().into(),
            queue: Arc::default(),
        }
    }

    /// Whether there is a history.
    ///
    /// # Errors
    /// Its folder cannot be looked at.
    pub fn is_there(&self) -> io::Result<bool> {
        self.disk.is_there()
    }

    /// Whether an update could be written down now: the folder can be written to, and the
    /// disk has room for one.
    ///
    /// # Errors
    /// Why not.
    pub fn is_writable(&self) -> io::Result<()> {
        self.disk.is_writable()
    }

    /// Adds an update that is to be written. If there is an entry of the same update, this one
    /// takes its place. What the disk does not take is kept in memory and told of.
    pub fn put(&self, entry: &HistoryEntry) {
        self.put_with(entry, Mark::default());
    }

    /// The same of an update that is under way. `report` says where a picture of it is wanted
    /// when it is over.
    pub fn put_under_way(&self, entry: &HistoryEntry, report: Option<&str>) {
        let mark = Mark {
            boot: Some(self.boot.to_string()),
            report: report.map(str::to_owned),
        };
        self.put_with(entry, mark);
    }

    fn put_with(&self, entry: &HistoryEntry, mark: Mark) {
        let mut queue = self.queue();
        let entries = &mut queue.entries;
        entries.retain(|known| known.entry.update != entry.update);
        let makes_way = (entries.len() >= MAX_UNWRITTEN).then(|| entries.remove(0));
        entries.push(Unwritten {
            entry: entry.clone(),
            mark,
            why: None,
        });
        let makes_way = makes_way.filter(|known| known.entry.outcome.is_over());
        if let Some(Unwritten { entry, .. }) = makes_way {
            let outcome = entry.outcome.word();
            let reason = entry.reason.map(|why| format!(": {why}"));
            let reason = reason.unwrap_or_default();
            tracing::error!(
                update = entry.update,
                "this update is not in the history: the disk has taken none of {MAX_UNWRITTEN} \
                 newer ones. It is {outcome}{reason}"
            );
            queue.given_up.push(entry.update);
        }
    }

    /// Has all that is to be written on the disk. It may take for ever. Says whether it has
    /// done so: not if another thread is at it, which does it all.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub fn write(&self) -> io::Result<bool> {
        {
            let mut queue = self.queue();
            if queue.is_writing {
                return Ok(false);
            }
            queue.is_writing = true;
        }
        loop {
            let next = {
                let mut queue = self.queue();
                let next = queue.entries.first();
                let next = next.map(|first| (first.entry.clone(), first.mark.clone()));
                queue.is_writing = next.is_some();
                next
            };
            let Some((entry, mark)) = next else {
                return Ok(true);
            };
            if let Err(why) = self.disk.append(&entry, &mark) {
                self.queue().is_writing = false;
                self.is_not_taken(&why.to_string());
                return Err(why);
            }
            // It may have been amended meanwhile.
            let entries = &mut self.queue().entries;
            entries.retain(|known| known.entry != entry);
        }
    }

    /// Notes why the disk has not taken what is to be written.
    pub fn is_not_taken(&self, why: &str) {
        for known in &mut self.queue().entries {
            known.why = Some(why.to_owned());
        }
    }

    /// The updates that are over and to be written, the oldest first.
    #[must_use]
    pub fn unwritten(&self) -> Vec<HistoryEntry> {
        let queue = self.queue();
        let over = queue.entries.iter();
        let over = over.filter(|known| known.entry.outcome.is_over());
        over.map(|known| known.entry.clone()).collect()
    }

    /// Whether an update is about to be written: the disk has neither taken nor refused it.
    #[must_use]
    pub fn is_to_take(&self, update: &str) -> bool {
        let queue = self.queue();
        let mut entries = queue.entries.iter();
        entries.any(|known| known.entry.update == update && known.why.is_none())
    }

    /// Notes whether an agent that is started again finds what is to be written.
    pub fn are_noted(&self, are_noted: bool) {
        self.queue().are_noted = are_noted;
    }

    /// The number of updates that are over and that the disk has not taken.
    #[must_use]
    pub fn count_unwritten(&self) -> usize {
        let queue = self.queue();
        queue
            .entries
            .iter()
            .filter(|known| known.why.is_some() && known.entry.outcome.is_over())
            .count()
            .saturating_add(queue.given_up.len())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last updates, the newest first, as many as one answer has room for. Lines that do
    /// not read are named and passed over: another version may have written them, or a crash
    /// have cut them off.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn last(&self, most: usize) -> io::Result<Past> {
        self.last_within(most, MAX_ANSWER)
    }

    /// The same, however long they are all together: for whoever reads it alone.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn last_of_all(&self, most: usize) -> io::Result<Past> {
        self.last_within(most, usize::MAX)
    }

    fn last_within(&self, most: usize, bytes: usize) -> io::Result<Past> {
        // A line that is written meanwhile is neither missed nor told as it was before.
        let before = self.queue().entries.clone();
        let mut past = self.disk.on_the_disk(most, bytes)?;
        for Unwritten { entry, .. } in before {
            past.put(entry);
        }
        let queue = self.queue();
        let fate = match queue.are_noted {
            true => "luod keeps it in its notes, which end with this boot, unless luod has it jump",
            false => "it is lost if luod ends now",
        };
        for Unwritten { entry, why, .. } in &queue.entries {
            let update = &entry.update;
            let why = why.as_ref().filter(|_| entry.outcome.is_over());
            past.problems.extend(
                why.map(|why| format!("update {update} could not be written down ({why}): {fate}")),
            );
            past.put(entry.clone());
        }
        if let Some(last) = queue.given_up.last() {
            past.problems.push(format!(
                "{} updates, the last of them {last}, made way for newer ones, as the disk took \
                 none: luod's log has what came of them",
                queue.given_up.len()
            ));
        }
        past.updates.truncate(most);
        Ok(past)
    }

    /// The updates that the disk has as under way, the oldest first, but for those of which
    /// something is to be written, and those behind whose last line some cannot be read; and
    /// the newest update of all.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn open_ends(&self) -> io::Result<(Vec<Open>, Option<HistoryEntry>)> {
        let (is_known, queued) = {
            let queue = self.queue();
            let known = queue.entries.iter();
            let is_known: Vec<_> = known.map(|known| known.entry.update.clone()).collect();
            (
                is_known,
                queue.entries.last().map(|last| last.entry.clone()),
            )
        };
        let read = self.disk.lines(MOST_OPEN, MAX_ANSWER)?;
        let written = || serde_json::from_slice(&read.lines.back()?.line).ok();
        let newest = queued.or_else(written);
        let open = read.lines.iter().filter_map(|known| {
            let entry: HistoryEntry = serde_json::from_slice(&known.line).ok()?;
            let mark: Mark = serde_json::from_slice(&known.line).ok()?;
            let is_open = !entry.outcome.is_over() && !is_known.contains(&known.update);
            if is_open && read.is_doubtful(known) {
                tracing::error!(
                    update = known.update,
                    "the history has it as under way, and lines behind that cannot be read: what \
                     came of it cannot be told"
                );
                return None;
            }
            is_open.then(|| Open {
                entry,
                is_of_this_boot: mark.boot.as_deref() == Some(&*self.boot),
                report: mark.report,
            })
        });
        Ok((open.collect(), newest))
    }
}
