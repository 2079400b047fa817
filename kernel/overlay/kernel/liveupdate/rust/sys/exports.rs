// SPDX-License-Identifier: GPL-2.0-only
//! The C interface: `include/linux/liveupdate.h`,
//! `include/linux/liveupdate_subsystem.h` and what the shim calls.
//!
//! Pointers that come in are what the headers ask of callers: handlers, FLBs and
//! subsystems that live at least as long as they are registered.

use kernel::bindings;
use kernel::ffi::{c_char, c_int, c_uint, c_void};
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use luo_core::{Subject, Whom};

use super::flb::FlbTable;
use super::handler_table::HandlerTable;
use super::kho::{self, HandedPage};
use super::subsystem::SubsystemTable;
use crate::policy::Choice;
use crate::{boot, policy, reboot, registry};

pub(super) fn ret(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(why) => why.to_errno(),
    }
}

/// The boot parameter was given.
#[no_mangle]
extern "C" fn luo_rust_enable(on: bool) {
    policy::enable(on);
}

/// The word of a boot parameter; empty if it has none.
///
/// # Safety
///
/// `word` is null or terminated, and stays while the result is used.
unsafe fn word_of<'a>(word: *const c_char) -> &'a [u8] {
    if word.is_null() {
        return &[];
    }
    // SAFETY: By the caller's promise.
    unsafe { CStr::from_char_ptr(word) }.to_bytes()
}

/// The choice that the shim means.
pub(super) fn choice_of(choice: c_uint) -> Option<&'static Choice> {
    Some(match choice {
        bindings::luo_choice_LUO_CHOICE_UNCLAIMED => &policy::UNCLAIMED,
        bindings::luo_choice_LUO_CHOICE_REBOOT => &policy::REBOOT,
        bindings::luo_choice_LUO_CHOICE_LEGACY => &policy::LEGACY,
        bindings::luo_choice_LUO_CHOICE_OPENERS => &policy::OPENERS,
        bindings::luo_choice_LUO_CHOICE_OPEN => &policy::OPEN,
        bindings::luo_choice_LUO_CHOICE_UNOWNED => &policy::UNOWNED,
        bindings::luo_choice_LUO_CHOICE_MEMFD => &policy::MEMFD,
        bindings::luo_choice_LUO_CHOICE_USER_KINDS => &policy::USER_KINDS,
        _ => return None,
    })
}

/// # Safety
///
/// `word` is null or terminated.
#[no_mangle]
unsafe extern "C" fn luo_rust_set_choice(choice: c_uint, word: *const c_char) -> c_int {
    // SAFETY: By the caller's promise.
    let word = unsafe { word_of(word) };
    let chosen = choice_of(choice).ok_or(EINVAL);
    ret(chosen.and_then(|choice| choice.choose_at_boot(word)))
}

/// # Safety
///
/// `text` is null or terminated.
#[no_mangle]
unsafe extern "C" fn luo_rust_set_users(whom: c_uint, text: *const c_char) -> c_int {
    // SAFETY: By the caller's promise.
    let text = unsafe { word_of(text) };
    let whom = Whom::ALL.get(whom as usize).ok_or(EINVAL);
    ret(whom.and_then(|whom| policy::choose_quotas_at_boot(*whom, text)))
}

/// # Safety
///
/// `text` is null or terminated.
#[no_mangle]
unsafe extern "C" fn luo_rust_set_patience(text: *const c_char) -> c_int {
    // SAFETY: By the caller's promise.
    ret(policy::choose_patience_at_boot(unsafe { word_of(text) }))
}

/// Early initcall.
#[no_mangle]
extern "C" fn luo_rust_early_init() -> c_int {
    ret(boot::early_init())
}

/// Late initcall.
#[no_mangle]
extern "C" fn luo_rust_late_init() -> c_int {
    ret(boot::late_init())
}

/// Whether live update is on.
#[no_mangle]
extern "C" fn liveupdate_enabled() -> bool {
    policy::enabled()
}

/// The reboot system call is about to kexec.
#[no_mangle]
extern "C" fn liveupdate_reboot() -> c_int {
    ret(reboot::get_ready())
}

/// # Safety
///
/// `handler` points to a handler with operations that stays until it is
/// unregistered.
#[no_mangle]
unsafe extern "C" fn liveupdate_register_file_handler(
    handler: *mut bindings::liveupdate_file_handler,
) -> c_int {
    // SAFETY: By the caller's promise.
    let table = unsafe { HandlerTable::from_raw(handler) };
    let registered = table
        .ok_or(EINVAL)
        .and_then(|table| registry::register_handler(&table).map(|()| table));
    ret(registered.map(|table| tell_test(&table)))
}

/// Tells the in-kernel test of a handler that is registered.
pub(crate) fn tell_test(table: &HandlerTable) {
    // SAFETY: The handler is registered, which is what the test asks for.
    unsafe { bindings::luo_shim_test_register(table.as_ptr()) }
}

/// # Safety
///
/// `handler` points to a handler with operations.
#[no_mangle]
unsafe extern "C" fn liveupdate_unregister_file_handler(
    handler: *mut bindings::liveupdate_file_handler,
) {
    // SAFETY: By the caller's promise.
    if let Some(table) = unsafe { HandlerTable::from_raw(handler) } {
        registry::unregister_handler(&table);
    }
}

/// # Safety
///
/// `session` is null, or what a callback of a handler that runs has got; `file` is null or an
/// open file, `token` valid for a write.
#[no_mangle]
unsafe extern "C" fn liveupdate_get_token_outgoing(
    session: *mut bindings::liveupdate_session,
    file: *mut bindings::file,
    token: *mut u64,
) -> c_int {
    // SAFETY: That is the subject of the callback's call, which lasts still.
    let of = unsafe { session.cast::<Subject>().as_ref() };
    let needed = match (of, file.is_null()) {
        (Some(of), false) => {
            // SAFETY: By the caller's promise, who has a reference of their own; the task that
            // a handler runs in is in no read or write of a file.
            let file = unsafe { File::from_raw_file(file) };
            registry::need_file(of, ARef::from(file))
        }
        _ => Err(EINVAL),
    };
    ret(needed.map(|needed| {
        // SAFETY: By the caller's promise.
        unsafe { token.write(needed) }
    }))
}

/// # Safety
///
/// `session` is null, or what a callback of a handler that runs has got; `file` is valid for
/// a write.
#[no_mangle]
unsafe extern "C" fn liveupdate_get_file_incoming(
    session: *mut bindings::liveupdate_session,
    token: u64,
    file: *mut *mut bindings::file,
) -> c_int {
    // SAFETY: That is the subject of the callback's call, which lasts still.
    let of = unsafe { session.cast::<Subject>().as_ref() };
    let needed = of.ok_or(EINVAL);
    ret(needed
        .and_then(|of| registry::needed_file(of, token))
        .map(|needed| {
            let needed = ARef::into_raw(needed).as_ptr();
            // SAFETY: By the caller's promise, who gets the reference.
            unsafe { file.write(needed.cast()) }
        }))
}

/// A page that the previous kernel preserved, at an untrusted address, or null.
#[no_mangle]
extern "C" fn liveupdate_handed_page(address: u64) -> *mut c_void {
    HandedPage::at(address).map_or(core::ptr::null_mut(), |page| page.as_ptr())
}

/// Gives such a page to the allocator.
#[no_mangle]
extern "C" fn liveupdate_free_handed_page(address: u64) {
    kho::give_to_allocator(address);
}

/// # Safety
///
/// Both point to objects with operations that stay until they are unregistered.
#[no_mangle]
unsafe extern "C" fn liveupdate_register_flb(
    handler: *mut bindings::liveupdate_file_handler,
    flb: *mut bindings::liveupdate_flb,
) -> c_int {
    // SAFETY: By the caller's promise.
    let tables = unsafe { (HandlerTable::from_raw(handler), FlbTable::from_raw(flb)) };
    ret(match tables {
        (Some(handler), Some(flb)) => registry::register_flb(&handler, &flb),
        _ => Err(EINVAL),
    })
}

/// # Safety
///
/// Both point to objects with operations.
#[no_mangle]
unsafe extern "C" fn liveupdate_unregister_flb(
    handler: *mut bindings::liveupdate_file_handler,
    flb: *mut bindings::liveupdate_flb,
) {
    // SAFETY: By the caller's promise.
    let tables = unsafe { (HandlerTable::from_raw(handler), FlbTable::from_raw(flb)) };
    if let (Some(handler), Some(flb)) = tables {
        registry::unregister_flb(&handler, &flb);
    }
}

/// # Safety
///
/// `flb` points to an FLB with operations, `object` is valid for a write.
#[no_mangle]
unsafe extern "C" fn liveupdate_flb_get_incoming(
    flb: *mut bindings::liveupdate_flb,
    object: *mut *mut c_void,
) -> c_int {
    // SAFETY: By the caller's promise.
    let table = unsafe { FlbTable::from_raw(flb) };
    let got = table.ok_or(EINVAL).and_then(|t| registry::get_incoming(&t));
    ret(got.map(|got| {
        let got = got.map_or(core::ptr::null_mut(), |got| got.as_ptr());
        // SAFETY: By the caller's promise.
        unsafe { object.write(got) }
    }))
}

/// # Safety
///
/// `flb` points to an FLB with operations.
#[no_mangle]
unsafe extern "C" fn liveupdate_flb_put_incoming(flb: *mut bindings::liveupdate_flb) {
    // SAFETY: By the caller's promise.
    if let Some(table) = unsafe { FlbTable::from_raw(flb) } {
        registry::put_incoming(&table);
    }
}

/// # Safety
///
/// `flb` points to an FLB with operations, `object` is valid for a write.
#[no_mangle]
unsafe extern "C" fn liveupdate_flb_get_outgoing(
    flb: *mut bindings::liveupdate_flb,
    object: *mut *mut c_void,
) -> c_int {
    // SAFETY: By the caller's promise.
    let table = unsafe { FlbTable::from_raw(flb) };
    let got = table.ok_or(EINVAL).and_then(|t| registry::get_outgoing(&t));
    ret(got.map(|got| {
        // SAFETY: By the caller's promise.
        unsafe { object.write(got.as_ptr()) }
    }))
}

/// # Safety
///
/// `flb` points to an FLB with operations.
#[no_mangle]
unsafe extern "C" fn liveupdate_flb_put_outgoing(flb: *mut bindings::liveupdate_flb) {
    // SAFETY: By the caller's promise.
    if let Some(table) = unsafe { FlbTable::from_raw(flb) } {
        registry::put_outgoing(&table);
    }
}

/// # Safety
///
/// `subsystem` is null or points to a subsystem with operations and a name, all of
/// which stay until it is unregistered.
#[no_mangle]
unsafe extern "C" fn liveupdate_register_subsystem(
    subsystem: *mut bindings::liveupdate_subsystem,
) -> c_int {
    // SAFETY: By the caller's promise.
    let table = unsafe { SubsystemTable::from_raw(subsystem) };
    ret(table
        .ok_or(EINVAL)
        .and_then(|table| registry::register_subsystem(&table)))
}

/// # Safety
///
/// As of [`liveupdate_register_subsystem`].
#[no_mangle]
unsafe extern "C" fn liveupdate_unregister_subsystem(
    subsystem: *mut bindings::liveupdate_subsystem,
) -> c_int {
    // SAFETY: By the caller's promise.
    let table = unsafe { SubsystemTable::from_raw(subsystem) };
    ret(table
        .ok_or(EINVAL)
        .and_then(|table| registry::unregister_subsystem(&table)))
}

/// # Safety
///
/// As of [`liveupdate_register_subsystem`], and `data` is valid for a write.
#[no_mangle]
unsafe extern "C" fn liveupdate_get_subsystem_data(
    subsystem: *mut bindings::liveupdate_subsystem,
    data: *mut u64,
) -> c_int {
    // SAFETY: By the caller's promise.
    let table = unsafe { SubsystemTable::from_raw(subsystem) };
    let got = table
        .ok_or(EINVAL)
        .and_then(|table| registry::subsystem_data(&table));
    ret(got.map(|got| {
        // SAFETY: By the caller's promise.
        unsafe { data.write(got) }
    }))
}
