// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Order of objects in a slab: a doubly linked list of ids.
//!
//! An object that is in several lists at once has links for each; the type
//! parameter `R`, the role, tells them apart.

use core::marker::PhantomData;

use crate::id::Id;
use crate::table::slab::Slab;

/// An object's neighbours in the list it is in.
pub(crate) struct Links<K> {
    pub(crate) prev: Option<Id<K>>,
    pub(crate) next: Option<Id<K>>,
}

impl<K> Links<K> {
    pub(crate) const fn new() -> Self {
        Self {
            prev: None,
            next: None,
        }
    }
}

/// An object that can be in a list of role `R`.
pub(crate) trait Linked<K, R = ()> {
    fn links(&mut self) -> &mut Links<K>;
}

/// The ends of a list and how many objects are in it.
pub(crate) struct List<K, R = ()> {
    pub(crate) first: Option<Id<K>>,
    pub(crate) last: Option<Id<K>>,
    pub(crate) len: usize,
    role: PhantomData<fn() -> R>,
}

impl<K, R> List<K, R> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            last: None,
            len: 0,
            role: PhantomData,
        }
    }

    /// Appends an object that is in no list.
    pub(crate) fn push_back<T: Linked<K, R>>(&mut self, slab: &mut Slab<K, T>, id: Id<K>) {
        let last = self.last.replace(id);
        if let Some(object) = slab.get_mut(id) {
            object.links().prev = last;
            object.links().next = None;
        }
        match last.and_then(|last| slab.get_mut(last)) {
            Some(before) => before.links().next = Some(id),
            None => self.first = Some(id),
        }
        self.len = self.len.saturating_add(1);
    }

    /// Takes an object out that is in this list.
    pub(crate) fn unlink<T: Linked<K, R>>(&mut self, slab: &mut Slab<K, T>, id: Id<K>) {
        let Some(object) = slab.get_mut(id) else {
            return;
        };
        let Links { prev, next } = core::mem::replace(object.links(), Links::new());
        match prev.and_then(|prev| slab.get_mut(prev)) {
            Some(before) => before.links().next = next,
            None => self.first = next,
        }
        match next.and_then(|next| slab.get_mut(next)) {
            Some(after) => after.links().prev = prev,
            None => self.last = prev,
        }
        self.len = self.len.saturating_sub(1);
    }
}

// Written out because a derive would ask for `K: Clone`, and `K` is never a value.
impl<K, R> Clone for List<K, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, R> Copy for List<K, R> {}
