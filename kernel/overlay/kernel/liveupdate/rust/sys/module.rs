// SPDX-License-Identifier: GPL-2.0-only
//! Owners of callback tables: modules that must not be unloaded meanwhile.

use kernel::bindings;

/// The owner of a callback table, null for what is built in.
#[derive(Clone, Copy)]
pub(crate) struct Owner(*mut bindings::module);

// SAFETY: It is a module's address, which belongs to no task.
unsafe impl Send for Owner {}
// SAFETY: As above; nothing is changed by it.
unsafe impl Sync for Owner {}

impl Owner {
    /// A part that is built in, and so has no owner.
    pub(crate) const BUILT_IN: Self = Self(core::ptr::null_mut());

    /// # Safety
    ///
    /// `module` is the `owner` field of a callback table that is registered,
    /// or held by a [`ModulePin`]: null, or a module that is there.
    pub(crate) unsafe fn new(module: *mut bindings::module) -> Self {
        Self(module)
    }

    /// Whether all of it is there: a module's init is over, so what it registers is registered,
    /// and it stays.
    pub(crate) fn is_ready(self) -> bool {
        // SAFETY: An `Owner` is null or a module that is there.
        unsafe { bindings::luo_module_is_ready(self.0) }
    }
}

/// Keeps a module from being unloaded.
///
/// # Invariants
///
/// A reference to the module is held.
pub(crate) struct ModulePin(*mut bindings::module);

impl ModulePin {
    /// Takes a reference, or `None` if the module is on its way out.
    pub(crate) fn new(owner: Owner) -> Option<Self> {
        // SAFETY: An `Owner` is null or a module that is there.
        if unsafe { bindings::luo_module_get(owner.0) } {
            // INVARIANT: The reference was just taken.
            Some(Self(owner.0))
        } else {
            None
        }
    }
}

impl Drop for ModulePin {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant there is a reference to give back.
        unsafe { bindings::luo_module_put(self.0) }
    }
}

// SAFETY: A module reference belongs to no task.
unsafe impl Send for ModulePin {}
