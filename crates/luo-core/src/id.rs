// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Names that the engine gives to its objects.

use core::fmt;
use core::marker::PhantomData;

/// Names an object of kind `K`: a slot and how often the slot was used before,
/// so that a name outlives its object without ever naming another one.
pub struct Id<K> {
    pub(crate) slot: u32,
    /// Never 0, so that the bits of an id are never all zero.
    pub(crate) generation: u32,
    kind: PhantomData<fn() -> K>,
}

impl<K> Id<K> {
    pub(crate) const fn new(slot: u32, generation: u32) -> Self {
        Self {
            slot,
            generation,
            kind: PhantomData,
        }
    }

    /// The id as a number, never 0: what a host stores where there is room for
    /// a word only.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        ((self.generation as u64) << 32) | self.slot as u64
    }

    /// The id that [`Self::to_bits`] gave. Any other number names nothing.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        // Truncation is the point: the two halves are the two fields.
        Self::new(bits as u32, (bits >> 32) as u32)
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Id<K> {}

impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.slot == other.slot && self.generation == other.generation
    }
}

impl<K> Eq for Id<K> {}

impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.slot, self.generation)
    }
}

/// The kinds of objects that ids are of: `Id<of::Session>` names a session.
pub mod of {
    /// A session.
    pub enum Session {}
    /// A file in a session.
    pub enum File {}
    /// A file handler.
    pub enum Handler {}
    /// A file-lifecycle-bound global.
    pub enum Flb {}
    /// A file's need of another.
    pub enum Edge {}
    /// The account of a user.
    pub enum Account {}
    /// A pipe of which an end is preserved.
    pub enum Pipe {}
    /// A pipe that is being restored, or of which nobody has asked for an end.
    pub enum Arrival {}
}

/// Names a session.
pub type SessionId = Id<of::Session>;
/// Names a file in a session.
pub type FileId = Id<of::File>;
/// Names a registered file handler.
pub type HandlerId = Id<of::Handler>;
/// Names a registered file-lifecycle-bound global.
pub type FlbId = Id<of::Flb>;
/// Names what a user has.
pub(crate) type AccountId = Id<of::Account>;
/// Names a file's need of another.
pub type EdgeId = Id<of::Edge>;
