// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Taking over what the previous kernel left.
//!
//! The root and the FLBs are read at boot, because drivers ask for FLBs early.
//! The sessions are read once a program has opened the device: by then most handlers are
//! registered, and files of the others wait for them (`session::late_handler`). How long that takes
//! depends on what was handed over and not on who comes first, so a host has it done by a worker
//! of its own ([`Lock::bring_over`]), for which callers wait.
//! Nothing is given to the allocator until all of it is taken over.

use core::task::Poll;

use crate::engine::Engine;
use crate::error::Error;
use crate::handover::{
    read_early, read_sessions, Draft, Early, FileDraft, Found, HandlerEntry, Handover, Missing,
    Refusal, RootFields, SessionDraft,
};
use crate::host::{FileCallbacks, Host};
use crate::id::{FileId, HandlerId, SessionId};
use crate::lock::Lock;
use crate::losses::Losses;
use crate::mem::Vec;
use crate::room::{with_any_room, with_room};
use crate::session::{Arrived, Direction, File, Progress};
use crate::table::hash::Hash;
use crate::waits::Topic;

/// Reads the root that the previous kernel left, address and length by its own
/// account, with its FLBs; and, if it left one, the root of the supplement,
/// with its subsystems. Call once, at boot.
///
/// The state is UPDATED from here on if there is anything to finish.
///
/// # Errors
/// [`Error::Refused`], once and for good; [`Error::NoMemory`], which leaves the
/// handover refused as well, because drivers cannot be told later.
pub fn admit<H: Lock>(
    host: &H,
    root: (u64, usize),
    supplement: Option<(u64, usize)>,
) -> Result<RootFields, Error> {
    match read_early(host, root, supplement) {
        Ok(early) => {
            let fields = early.fields;
            host.now(|engine| engine.admit(root.0, early));
            Ok(fields)
        }
        Err((number, why)) => {
            let refusal = match why {
                Error::Refused(refusal) => refusal,
                _ => Refusal::NoMemory,
            };
            host.now(|engine| {
                engine.handover = Handover::Refused(refusal);
                // Tokens of the device are counted on, whatever is refused.
                engine.update_number = number;
                engine.write_empty();
                // The refused handover stays in memory, so the update is not over.
                engine.update.set_updated(true);
            });
            Err(why)
        }
    }
}

/// The handover that an opener has to read, and what it needs to know for that.
struct Job<H: Host> {
    root: u64,
    fields: RootFields,
    hash: Hash,
    handlers: Vec<HandlerEntry<H>>,
}

/// Sees to it that the sessions of the previous kernel are taken over, by whomever the host
/// has do it.
///
/// # Errors
/// Those of [`take_over`], also if a worker has got them; EAGAIN also if the caller was killed
/// before the first look.
pub(crate) fn bring_over<H: Lock>(host: &H) -> Result<(), Error> {
    let tries = match host.now_killable(|engine| engine.look_at_takeover())? {
        Look::Over(outcome) => return outcome,
        Look::Wanted { tries } => tries,
    };
    if let Some(outcome) = host.bring_over() {
        return outcome;
    }
    let waited = host.wait_patiently(|engine| match engine.look_at_takeover() {
        Look::Over(outcome) => Poll::Ready(outcome),
        // One that has ended meanwhile was not the last word, so it had no memory.
        Look::Wanted { tries: now } if now != tries && engine.is_untouched() => {
            Poll::Ready(Err(Error::NoMemory))
        }
        Look::Wanted { .. } => engine.update.waits.pend(Topic::Takeover),
    });
    waited.unwrap_or_else(|errno| Err(errno.into()))
}

/// Takes over the sessions of the previous kernel, if that has not been done. For the worker
/// of a host; see [`Lock::bring_over`]. The host is told what came of it
/// ([`Host::taken_over`], [`Host::handover_refused`]) before anybody else sees it.
///
/// # Errors
/// [`Error::Refused`], [`Error::NoMemory`]. If another is at it, EAGAIN if the caller was
/// killed while it waited, EBUSY if it waited for too long.
pub fn take_over<H: Lock>(host: &H) -> Result<(), Error> {
    loop {
        let begun = with_room(|| {
            let begun = host.wait_patiently(|engine| engine.begin_takeover(host));
            begun.unwrap_or_else(|errno| Err(errno.into()))
        });
        let Some(job) = begun? else {
            return Ok(());
        };
        if attempt(host, &job)? {
            return Ok(());
        }
    }
}

/// The rest of the work of reading the handover.
enum Look {
    /// Nothing that could change this outcome.
    Over(Result<(), Error>),
    /// The handover has to be read, or is being read; the number counts finished attempts.
    Wanted { tries: u64 },
}

/// Reads and installs; `false` if a handler was unregistered meanwhile, which
/// makes reading again worth it.
fn attempt<H: Lock>(host: &H, job: &Job<H>) -> Result<bool, Error> {
    let read =
        with_any_room(|| read_sessions(host, job.hash, &job.handlers, job.root, &job.fields));
    let draft = match read {
        Ok(draft) => draft,
        Err(why) => {
            if matches!(why, Error::Refused(_)) {
                host.handover_refused(&why);
            }
            host.now(|engine| engine.set_handover(job.after_failure(&why)));
            return Err(why);
        }
    };
    let counts = (draft.sessions.len(), draft.files.len());
    // The rest of the draft has pins, which go without the lock.
    let mut draft = Some(draft);
    let installed = with_any_room(|| host.now(|engine| engine.try_install(host, job, &mut draft)));
    // So does the rest of its files.
    let (pages, missing, _left) = match installed {
        Ok(Some(installed)) => installed,
        Ok(None) => return Ok(false),
        Err(why) => {
            host.now(|engine| engine.set_handover(job.after_failure(&why)));
            return Err(why);
        }
    };
    let (sessions, files) = counts;
    host.taken_over(sessions, files);
    Missing::tell(host, &missing);
    host.now(|engine| engine.set_handover(Handover::Taken));
    // Everything is taken over: only now are the pages given away. Nobody waits for that.
    for page in pages {
        host.free_page(page);
    }
    Ok(true)
}

impl<H: Host> Job<H> {
    /// Where the handover stands after an attempt that failed.
    fn after_failure(&self, why: &Error) -> Handover {
        let (root, fields) = (self.root, self.fields);
        match why {
            Error::Refused(why) => Handover::Refused(*why),
            _ => Handover::Waiting { root, fields },
        }
    }
}

/// The pages that were read from, the handlers that are missing, and what is left of the files
/// that were read.
type Installed<H> = (Vec<u64>, Vec<Missing>, Vec<FileDraft<H>>);

impl<H: Host> Engine<H> {
    fn admit(&mut self, root: u64, early: Early<H>) {
        let fields = early.fields;
        self.update_number = fields.update_number;
        self.arrived_flbs = early.flbs;
        self.arrived_subsystems = early.subsystems;
        self.handover = Handover::Waiting { root, fields };
        let lost = fields.supplement.map(|supplement| supplement.losses);
        self.lost_before = lost.unwrap_or(Losses::NONE);
        // A plain kexec leaves a root as well, with nothing to finish.
        let by_event = fields
            .supplement
            .is_some_and(|supplement| supplement.by_event);
        let empty = fields.sessions == 0
            && self.arrived_flbs.is_empty()
            && self.arrived_subsystems.is_empty();
        self.update.set_updated(by_event || !empty);
        // A host that has armed already gets the number right as well.
        self.write_empty();
    }

    fn begin_takeover(&mut self, host: &H) -> Poll<Result<Option<Job<H>>, Error>> {
        let (root, fields) = match self.handover {
            Handover::Nothing | Handover::Taken => return Poll::Ready(Ok(None)),
            Handover::Working => return self.update.waits.pend(Topic::Takeover),
            Handover::Refused(why) => return Poll::Ready(Err(why.into())),
            Handover::Waiting { root, fields } => (root, fields),
        };
        let mut handlers = Vec::new();
        // First, so that no pin is dropped under the lock.
        handlers.reserve(self.handlers.len())?;
        for (id, handler) in self.handlers.iter() {
            if let Some(table) = &handler.table {
                handlers.push(HandlerEntry {
                    id,
                    name: handler.name,
                    table: table.clone(),
                    pin: table.pin(host),
                })?;
            }
        }
        self.handover = Handover::Working;
        Poll::Ready(Ok(Some(Job {
            root,
            fields,
            hash: self.hash,
            handlers,
        })))
    }

    /// Whether what the previous kernel left is still to be taken over: a host that has a
    /// worker for it may begin early.
    #[must_use]
    pub fn wants_takeover(&self) -> bool {
        matches!(self.look_at_takeover(), Look::Wanted { .. })
    }

    fn look_at_takeover(&self) -> Look {
        match self.handover {
            Handover::Nothing | Handover::Taken => Look::Over(Ok(())),
            Handover::Refused(why) => Look::Over(Err(why.into())),
            Handover::Waiting { .. } | Handover::Working => Look::Wanted {
                tries: self.takeovers,
            },
        }
    }

    /// Whether nobody is at it.
    fn is_untouched(&self) -> bool {
        matches!(self.handover, Handover::Waiting { .. })
    }

    /// An attempt at it is over.
    fn set_handover(&mut self, handover: Handover) {
        self.handover = handover;
        self.takeovers = self.takeovers.wrapping_add(1);
        self.update.waits.wake(Topic::Takeover);
    }

    /// Whether the handlers of all files that were read are still there.
    fn knows(&self, draft: &Draft<H>) -> bool {
        draft.files.iter().all(|file| match &file.handler {
            Found::Here(taker) => self.handlers.get(taker.handler).is_some(),
            Found::Missing(_) => true,
        })
    }

    /// Makes what was read part of the engine and gives back the pages it was on; nobody
    /// looks at it before the attempt is over. `None` if it is to be read again. The draft is
    /// taken only if it is installed.
    fn try_install(
        &mut self,
        host: &H,
        job: &Job<H>,
        read: &mut Option<Draft<H>>,
    ) -> Result<Option<Installed<H>>, Error> {
        let draft = read.as_ref().ok_or(Error::Inconsistent)?;
        if !self.knows(draft) {
            let (root, fields) = (job.root, job.fields);
            // Whoever waits for the outcome waits on: it is read again at once.
            self.handover = Handover::Waiting { root, fields };
            self.update.waits.wake(Topic::Takeover);
            return Ok(None);
        }
        let files = draft.files.len().saturating_add(draft.lost.len());
        let counts = (draft.sessions.len(), files);
        let of_users = |session: &SessionDraft| session.kind.owner.user().is_some();
        let users = draft.sessions.iter().filter(|session| of_users(session));
        let users = users.count();
        self.reserve_arrivals(counts, users, draft.edges.len())?;
        self.handlers.reserve(draft.missing.len())?;
        let draft = read.take().ok_or(Error::Inconsistent)?;
        Ok(Some(self.install(host, draft)))
    }

    /// Sets memory aside, so that [`Self::install`] cannot fail.
    fn reserve_arrivals(
        &mut self,
        (sessions, files): (usize, usize),
        users: usize,
        edges: usize,
    ) -> Result<(), Error> {
        self.accounts.reserve(users)?;
        let segments = self.accounts.segments_with_room();
        self.users.reserve_segments(segments, users)?;
        self.files.reserve(files)?;
        self.graph.reserve_nodes(&self.files)?;
        self.graph.reserve_edges(edges)?;
        for index in [&mut self.tokens, &mut self.device_tokens] {
            index.reserve_segments(self.files.segments_with_room(), files)?;
        }
        self.sessions.reserve(sessions)?;
        let segments = self.sessions.segments_with_room();
        self.names.reserve_segments(segments, sessions)?;
        Ok(())
    }

    /// Makes what was read part of the engine; gives back the pages it was on.
    fn install(&mut self, host: &H, draft: Draft<H>) -> Installed<H> {
        self.had_sessions = !draft.sessions.is_empty();
        let mut missing = draft.missing;
        for entry in missing.iter_mut() {
            entry.id = self.expect_handler(host, entry.name);
        }
        let mut session_ids = draft.session_ids;
        for session in draft.sessions {
            let added = self.add_session_hashed(session.kind, Direction::Incoming, session.hash);
            // There is memory for it, and room here.
            let _ = session_ids.push(added.ok());
        }
        // Only where there are dependencies: room for the ids is set aside then.
        let wanted = !draft.edges.is_empty();
        let mut ids = draft.ids;
        let mut files = draft.files;
        for draft in files.iter_mut() {
            // By its place: a file can be in no session but its own.
            let session = session_ids.get(draft.session).copied().flatten();
            let handler = match draft.handler {
                Found::Here(ref taker) => Some(taker.handler),
                Found::Missing(at) => missing.get(at).and_then(|entry| entry.id),
            };
            let id = session.and_then(|session| self.install_file(session, handler?, draft));
            if wanted {
                let _ = ids.push(id);
            }
        }
        for lost in draft.lost {
            let session = session_ids.get(lost.session).copied().flatten();
            if let Some(session) = session {
                let _ = self.add_file(File::lost(session, lost.token, lost.why));
            }
        }
        for (from, on) in draft.edges {
            if let (Some(Some(from)), Some(Some(on))) = (ids.get(from), ids.get(on)) {
                // There is memory, and there was no cycle.
                let adopted = self.graph.adopt(*from, *on);
                let session = self.files.get(*from).map(|file| file.session);
                if let (Ok(()), Some(session)) = (adopted, session) {
                    self.count_dependencies(session, |count| count.saturating_add(1));
                }
            }
        }
        (draft.pages, missing, files)
    }

    fn install_file(
        &mut self,
        session: SessionId,
        handler: HandlerId,
        draft: &mut FileDraft<H>,
    ) -> Option<FileId> {
        let taken = core::mem::replace(&mut draft.handler, Found::Missing(0));
        let arrived = match taken {
            Found::Here(taker) => Some(Arrived {
                handler: taker.table,
                pin: taker.pin,
                progress: Progress::Waiting,
            }),
            Found::Missing(_) => None,
        };
        if let Some(entry) = self.handlers.get_mut(handler) {
            entry.files = entry.files.saturating_add(1);
            entry.waiting = entry.waiting.saturating_add(arrived.is_none().into());
        }
        let mut file = File::incoming(session, draft.token, arrived);
        file.handler = Some(handler);
        file.data = draft.data;
        file.access = draft.access;
        // Memory for it is set aside.
        let id = self.add_file(file).ok()?;
        self.set_bytes(id, draft.bytes);
        Some(id)
    }
}
