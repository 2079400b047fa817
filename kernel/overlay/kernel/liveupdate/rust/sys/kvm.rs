// SPDX-License-Identifier: GPL-2.0-only
//! KVM, for the handlers of its files: what it tells of itself when it is there
//! (`include/linux/liveupdate_kvm.h`), virtual machines ([`machine`]) and their memory
//! ([`memory`]).
//!
//! KVM may be a module. While one of its files is open the module stays, and so does its table;
//! whether a file is KVM's is told by the address of its operations, which is not followed.

pub(crate) mod machine;
pub(crate) mod memory;

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use kernel::bindings;
use kernel::ffi::c_int;
use kernel::fs::File;
use kernel::prelude::*;

use super::exports::ret;
use super::module::Owner;
use crate::{handlers, registry};

/// KVM's table; null while there is none.
static OPS: AtomicPtr<bindings::luo_kvm_ops> = AtomicPtr::new(null_mut());

/// The operations of its files.
static OF_MACHINES: AtomicPtr<bindings::file_operations> = AtomicPtr::new(null_mut());
static OF_MEMORY: AtomicPtr<bindings::file_operations> = AtomicPtr::new(null_mut());

/// Whether these are a file's operations.
fn has(file: &File, operations: &AtomicPtr<bindings::file_operations>) -> bool {
    let operations = operations.load(Ordering::Relaxed);
    // SAFETY: An open file has operations, which never change; they are not followed.
    let own = unsafe { (*file.as_ptr()).f_op };
    !operations.is_null() && core::ptr::eq(own, operations)
}

/// KVM's table, for as long as something is there that keeps the module.
///
/// # Errors
/// ENODEV if there is none.
///
/// # Safety
///
/// The result is used only while a file of KVM's is open, or as a part of a callback of a
/// handler of KVM's files, whose owner the engine holds.
unsafe fn ops<'a>() -> Result<&'a bindings::luo_kvm_ops> {
    // SAFETY: By the caller's promise the module is there, which has registered this table and
    // takes it back when it goes. The table is constant meanwhile.
    unsafe { OPS.load(Ordering::Acquire).as_ref() }.ok_or(ENODEV)
}

fn tell(of: Option<&bindings::luo_kvm_ops>) {
    let machines = of.map_or(null_mut(), |ops| ops.machines.cast_mut());
    let memory = of.map_or(null_mut(), |ops| ops.memory.cast_mut());
    let table = of.map_or(null_mut(), |ops| core::ptr::from_ref(ops).cast_mut());
    OPS.store(table, Ordering::Release);
    OF_MACHINES.store(machines, Ordering::Relaxed);
    OF_MEMORY.store(memory, Ordering::Relaxed);
}

/// # Safety
///
/// `ops` points to a table with all callbacks, which stays until [`luo_kvm_unregister`].
#[no_mangle]
unsafe extern "C" fn luo_kvm_register(ops: *const bindings::luo_kvm_ops) -> c_int {
    // SAFETY: By the caller's promise.
    let (table, owner) = unsafe { (&*ops, Owner::new((*ops).owner)) };
    tell(Some(table));
    ret(registry::register_all(handlers::of_kvm(), owner).inspect_err(|_| tell(None)))
}

#[no_mangle]
extern "C" fn luo_kvm_unregister() {
    if OPS.load(Ordering::Relaxed).is_null() {
        return;
    }
    // Whoever has a file of KVM's, or restores one, keeps the module: there is nobody.
    registry::unregister_all(handlers::of_kvm());
    tell(None);
}
