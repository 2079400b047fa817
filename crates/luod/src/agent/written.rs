// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates that are over are written down.
//!
//! ```text
//! under way ----------------------------.
//! over --> the agent's notes (in memory) --> the history (a disk), a picture (another)
//!                                       `--> gone from the notes once the history has it
//! ```
//!
//! A disk may be full, or hang for ever. So threads write to them, nobody waits long for
//! those, and an agent that is started anew finds in its notes what they have not written.

use std::future::Future;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use luo_varlink::HistoryEntry;
use tokio::sync::Semaphore;

use super::Agent;
use super::clock::after;
use crate::journal::history::{Open, Past};
use crate::journal::picture;

/// How long a disk is waited for that is written to.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one is waited for that is read: a history may be long.
const READING: Duration = Duration::from_secs(20);

/// How long to wait before a disk is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// The part of the agent's notes that has an update until it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// That it is under way.
    Update,
    /// The record that the previous kernel handed over.
    Record,
    /// Nothing: it was written down before, and is amended.
    Amended,
    /// Nothing, or nothing any more: the history alone says that it was under way.
    History,
}

/// Why somebody is not waited for.
const HANGS: &str = "the disk does not answer";

/// Has a thread do something that may hang, and waits until it is done or late.
async fn in_time<T: Send + 'static>(
    patience: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    tokio::select! {
        biased;
        done = work => done,
        () = after(patience) => Err(io::Error::new(io::ErrorKind::TimedOut, HANGS)),
    }
}

/// Has a thread do something that may hang.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|why| Err(io::Error::other(why)))
}

/// The same, where only so many threads may hang in it.
pub(super) async fn on_a_thread_of<T: Send + 'static>(
    threads: &Arc<Semaphore>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let threads = Arc::clone(threads);
    let thread = threads.acquire_owned().await.map_err(io::Error::other)?;
    on_a_thread(move || {
        let _thread = thread;
        work()
    })
    .await
}

impl Agent {
    /// Why something fails that may hang, if it does.
    pub(super) async fn fails(
        &self,
        trial: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> Option<String> {
        let tried = in_time(PATIENCE, on_a_thread_of(&self.trials, trial)).await;
        tried.err().map(|why| why.to_string())
    }

    /// Writes an update down that is over, and draws it where that is wanted. It is in the
    /// notes when this returns, in place of what they have of it; the rest is done by and by.
    pub(super) fn over(&self, entry: HistoryEntry, report: Option<String>, source: Source) {
        if source != Source::Amended {
            self.metrics.over(&entry);
        }
        self.history.put(&entry);
        if self.note_unwritten() {
            self.drop_source(source, &entry.update);
            self.begin_writing(None);
        } else {
            self.begin_writing(Some((source, entry.update.clone())));
        }
        if let Some(path) = report {
            let is_at_it = self.pictures.borrow().contains_key(&path);
            self.pictures.borrow_mut().insert(path.clone(), Some(entry));
            if !is_at_it {
                self.writes.set(self.writes.get() + 1);
                self.begin_task(async move |agent| agent.draw(path).await);
            }
        }
    }

    /// Has it written down how far the update is that is under way. Nobody waits for that.
    pub(super) fn write_under_way(&self) {
        let Some(entry) = self.under_way() else {
            return;
        };
        let report = {
            let state = self.state.borrow();
            let before = state.update.as_ref().map(|update| &update.report);
            let after = state.restore.as_ref().map(|restore| &restore.record.report);
            before.or(after).cloned().flatten()
        };
        self.history.put_under_way(&entry, report.as_deref());
        self.begin_writing(None);
    }

    /// Waits until the disk has what is to be written of an update, or does not take it.
    pub(super) async fn until_taken(&self, update: &str) {
        let taken = async {
            self.until(|agent| !agent.history.is_to_take(update)).await;
            Ok(())
        };
        // That it is late is in the log.
        let _ = in_time(PATIENCE, taken).await;
    }

    /// The updates that the history has as under way, and the newest of all. A disk that hangs
    /// is not waited for.
    pub(super) async fn open_ends(&self) -> Option<(Vec<Open>, Option<HistoryEntry>)> {
        let history = self.history.clone();
        let read = on_a_thread_of(&self.readers, move || history.open_ends());
        let read = in_time(PATIENCE, read).await;
        let failed = |why| tracing::error!("what came of the last update cannot be told: {why}");
        read.map_err(failed).ok()
    }

    /// Goes on with what an earlier process of this agent could not write down. Says which
    /// updates those are.
    pub(super) fn go_on_writing(&self) -> Vec<String> {
        let unwritten = self.notes.unwritten().unwrap_or_else(|why| {
            let kept = match self.notes.set_unwritten_aside() {
                Ok(path) => format!(", and kept as {}", path.display()),
                Err(_) => String::new(),
            };
            self.is_damaged(format!(
                "luod's note of updates that the disk had not taken is damaged ({why}){kept}: the \
                 history may lack some, and `journalctl -u luod` tells of them"
            ));
            Vec::new()
        });
        if unwritten.is_empty() {
            return Vec::new();
        }
        for entry in &unwritten {
            self.history.put(entry);
        }
        self.history.are_noted(true);
        self.begin_writing(None);
        unwritten.into_iter().map(|entry| entry.update).collect()
    }

    /// Goes on with what the agent in the previous kernel could not write down.
    pub(super) fn go_on_writing_of_before(&self, unwritten: &[HistoryEntry]) {
        if unwritten.is_empty() {
            return;
        }
        for entry in unwritten {
            self.history.put(entry);
        }
        self.note_unwritten();
        self.begin_writing(None);
    }

    /// Tells from here on of a note of past updates that is damaged.
    pub(super) fn is_damaged(&self, words: String) {
        tracing::error!("{words}");
        self.state.borrow_mut().damaged.push(words);
    }

    /// Notes what the history does not have yet. Says whether it is noted.
    fn note_unwritten(&self) -> bool {
        let noted = self.notes.set_unwritten(self.history.unwritten());
        self.history.are_noted(noted.is_ok());
        if let Err(why) = &noted {
            tracing::error!("what becomes of updates: {}", self.unnoted(why));
        }
        noted.is_ok()
    }

    /// Drops what the notes have of an update that is written down.
    fn drop_source(&self, source: Source, update: &str) {
        let dropped = match source {
            // Another may have begun since.
            Source::Update => self.notes.update().and_then(|known| match known {
                Some(known) if known.id != update => Ok(()),
                _ => self.notes.set_update(None),
            }),
            Source::Record => self.notes.set_record(None),
            Source::Amended | Source::History => Ok(()),
        };
        if let Err(why) = dropped {
            tracing::error!("the notes: {why}");
        }
    }

    /// Has a thread write what is to be written. `source` is what the notes have to drop
    /// then, of which update.
    fn begin_writing(&self, source: Option<(Source, String)>) {
        self.writes.set(self.writes.get() + 1);
        self.begin_task(async move |agent| agent.write(source).await);
    }

    fn is_done(&self) {
        self.writes.set(self.writes.get().saturating_sub(1));
        self.changed.notify_waiters();
    }

    async fn write(self: Rc<Self>, source: Option<(Source, String)>) {
        let mut is_first = true;
        loop {
            let history = self.history.clone();
            let mut writing = std::pin::pin!(on_a_thread(move || history.write()));
            let mut written = in_time(PATIENCE, writing.as_mut()).await;
            if matches!(&written, Err(why) if why.kind() == io::ErrorKind::TimedOut) {
                self.history.is_not_taken(HANGS);
                self.cannot_write(&io::Error::other(HANGS));
                if std::mem::take(&mut is_first) {
                    self.is_done();
                }
                written = writing.await;
            }
            match &written {
                Ok(false) => {}
                Ok(true) => {
                    self.note_unwritten();
                    if let Some((source, update)) = &source {
                        self.drop_source(*source, update);
                    }
                }
                Err(why) => self.cannot_write(why),
            }
            if std::mem::take(&mut is_first) {
                self.is_done();
            }
            // One task is enough that tries again.
            if written.is_ok() || source.is_none() && self.tries_again.replace(true) {
                return;
            }
            tokio::time::sleep(AGAIN).await;
            self.tries_again.set(false);
        }
    }

    fn cannot_write(&self, why: &io::Error) {
        tracing::error!(
            "the history cannot be written to {}: {why}",
            self.config().state_directory.display()
        );
    }

    /// Draws an update, and again if that is amended meanwhile.
    async fn draw(self: Rc<Self>, path: String) {
        loop {
            let wanted = {
                let mut pictures = self.pictures.borrow_mut();
                let wanted = pictures.get_mut(&path).and_then(Option::take);
                if wanted.is_none() {
                    pictures.remove(&path);
                }
                wanted
            };
            let Some(entry) = wanted else {
                break;
            };
            let place = path.clone();
            let update = entry.update.clone();
            let drawing = on_a_thread(move || picture::write(Path::new(&place), &entry));
            let mut drawing = std::pin::pin!(drawing);
            let mut drawn = in_time(PATIENCE, drawing.as_mut()).await;
            if matches!(&drawn, Err(why) if why.kind() == io::ErrorKind::TimedOut) {
                tracing::error!(
                    update,
                    "the picture cannot be written to {path} yet: {HANGS}"
                );
                self.is_done();
                drawn = drawing.await;
                self.writes.set(self.writes.get() + 1);
            }
            if let Err(why) = drawn {
                tracing::error!(update, "the picture cannot be written to {path}: {why}");
            }
        }
        self.is_done();
    }

    /// Waits until all is written, or tried for long enough.
    pub(super) async fn until_written(&self) {
        let written = async {
            self.until(|agent| agent.writes.get() == 0).await;
            Ok(())
        };
        // An update that is late is in the log.
        let _ = in_time(2 * PATIENCE, written).await;
    }

    /// The last updates, the newest first, with the one that is under way. A disk that hangs is
    /// not waited for.
    pub async fn past(&self, most: usize) -> Past {
        let history = self.history.clone();
        let read = on_a_thread_of(&self.readers, move || history.last(most));
        let mut past = in_time(READING, read).await.unwrap_or_else(|why| {
            tracing::error!("the history: {why}");
            Past {
                problems: vec![format!("the history cannot be read: {why}")],
                updates: self.history.unwritten().into_iter().rev().collect(),
                ..Past::default()
            }
        });
        if let Some(entry) = self.under_way() {
            past.put(entry);
        } else if let Some(why) = &self.state.borrow().unreadable {
            // It is not under way: nobody knows how far it is, until somebody can tell.
            let open = past.updates.iter_mut();
            for entry in open.filter(|entry| !entry.outcome.is_over()) {
                entry.reason = Some(format!(
                    "what came of it is not known: its record cannot be read ({why}); `luoctl \
                     status` says what to do"
                ));
            }
        }
        past.updates.truncate(most);
        let damaged = &self.state.borrow().damaged;
        past.problems.extend(damaged.iter().cloned());
        past.is_unsure |= !damaged.is_empty();
        past
    }
}
