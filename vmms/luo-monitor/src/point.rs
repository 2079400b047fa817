// SPDX-License-Identifier: MIT OR Apache-2.0
//! The steps in the life of a guest, for the log and for tests.

/// A step that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The agent knows this workload.
    Registered,
    /// The guest runs for the first time, or anew.
    Started,
    /// The agent has asked to prepare.
    Prepare,
    /// RAM and an empty state are preserved.
    Preserved,
    /// The agent knows that this workload is ready to freeze.
    Ready,
    /// The agent has asked to freeze.
    Freeze,
    /// The guest stands still.
    Stopped,
    /// Its state is in preserved memory.
    Saved,
    /// The agent knows that.
    Frozen,
    /// The agent has called the update off, and the guest stands still yet.
    Cancel,
    /// After the jump: the session is here.
    Claimed,
    /// The next process waits for the state, where it takes one by a migration.
    Waiting,
    /// The monitor has the state, and the guest stands still.
    Loaded,
    /// The state is marked as used, and the guest runs, or is about to.
    Used,
    /// The guest runs.
    Resumed,
    /// The agent knows that.
    Restored,
    /// The session of the previous kernel is finished.
    Finished,
}

impl Point {
    /// All of them, in order.
    pub const ALL: [Self; 17] = [
        Self::Registered,
        Self::Started,
        Self::Prepare,
        Self::Preserved,
        Self::Ready,
        Self::Freeze,
        Self::Stopped,
        Self::Saved,
        Self::Frozen,
        Self::Cancel,
        Self::Claimed,
        Self::Waiting,
        Self::Loaded,
        Self::Used,
        Self::Resumed,
        Self::Restored,
        Self::Finished,
    ];

    /// Its name, in one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Started => "started",
            Self::Prepare => "prepare",
            Self::Preserved => "preserved",
            Self::Ready => "ready",
            Self::Freeze => "freeze",
            Self::Stopped => "stopped",
            Self::Saved => "saved",
            Self::Frozen => "frozen",
            Self::Cancel => "cancel",
            Self::Claimed => "claimed",
            Self::Waiting => "waiting",
            Self::Loaded => "loaded",
            Self::Used => "used",
            Self::Resumed => "resumed",
            Self::Restored => "restored",
            Self::Finished => "finished",
        }
    }
}
