// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The files for the next kernel: which of them are meant, how many, and in which order.

use crate::engine::under_way::{is_taken, is_undone};
use crate::engine::{files_of, Engine};
use crate::graph::{First, Order};
use crate::host::Host;
use crate::id::{FileId, SessionId};
use crate::session::{Early, File, Lost, Session};
use crate::update_state::UpdateState;

/// Which outgoing files are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those that were there when what is preserved was fixed.
    TookPart,
    /// Those that are frozen.
    Frozen,
    /// Those that were frozen with all others.
    FrozenTogether,
    /// Those that a reboot has lost, and that no call has in its hands.
    Lost,
    /// All.
    All,
}

impl Whose {
    fn means<H: Host>(self, file: &File<H>, update: &UpdateState) -> bool {
        let Some(file) = file.as_outgoing() else {
            return false;
        };
        match self {
            Self::TookPart => file.made.is_some_and(|made| update.took_part(made)),
            Self::Frozen | Self::FrozenTogether => file.frozen,
            Self::Lost => file.lost.is_some_and(|lost| lost != Lost::InHands),
            Self::All => true,
        }
    }
}

impl<H: Host> Engine<H> {
    /// Outgoing files, session by session.
    pub(crate) fn outgoing_files(&self, whose: Whose) -> impl Iterator<Item = FileId> + '_ {
        let all = files_of(&self.sessions, &self.files, &self.outgoing, |_| true);
        let means = move |file| whose.means(file, &self.update);
        all.filter(move |&id| self.files.get(id).is_some_and(means))
    }

    /// Whether a file for the next kernel is lost.
    pub(crate) fn is_lost(&self, id: FileId) -> bool {
        let file = self.files.get(id);
        file.is_some_and(|file| file.lost_by().is_some())
    }

    /// Puts outgoing files in order, but for those of sessions that a call has for itself:
    /// it may be going along them. Of those only what is frozen is meant, which no call
    /// goes along but one that undoes the session or freezes it.
    pub(crate) fn arrange_outgoing(&mut self, whose: Whose, first: First) -> Order {
        let (files, update) = (&self.files, &self.update);
        let is_meant = |session: &Session<H>| match whose {
            Whose::Frozen => !is_undone(session),
            Whose::FrozenTogether => {
                let early = session.outgoing().map(|outgoing| outgoing.early);
                !is_undone(session) && early == Some(Early::Not)
            }
            _ => !is_taken(session),
        };
        let all = files_of(&self.sessions, files, &self.outgoing, is_meant);
        let means = |id: &FileId| files.get(*id).is_some_and(|file| whose.means(file, update));
        self.graph.arrange(all.filter(means), first)
    }

    /// How many files of a session go to the next kernel.
    pub(crate) fn count_kept(&self, id: SessionId) -> usize {
        self.count_files(id, |lost| lost.is_none())
    }

    /// How many files of a session keep their room: what is in somebody's hands is to have
    /// it still if the jump does not come about: a failure could then not be reported to anybody.
    pub(crate) fn count_with_room(&self, id: SessionId) -> usize {
        self.count_files(id, |lost| lost.is_none_or(|lost| lost == Lost::InHands))
    }

    fn count_files(&self, id: SessionId, is_such: impl Fn(Option<Lost>) -> bool) -> usize {
        let mut next = self
            .sessions
            .get(id)
            .and_then(|session| session.files.first);
        let mut kept = 0usize;
        while let Some(file) = next.and_then(|id| self.files.get(id)) {
            next = file.links.next;
            let lost = file.as_outgoing().and_then(|file| file.lost);
            kept = kept.saturating_add(usize::from(is_such(lost)));
        }
        kept
    }
}
