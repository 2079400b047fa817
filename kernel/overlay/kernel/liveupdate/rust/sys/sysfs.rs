// SPDX-License-Identifier: GPL-2.0-only
//! `/sys/kernel/liveupdate`: the shim has the attributes, this file the texts that they show.

use core::slice;

use kernel::bindings;
use kernel::error::to_result;
use kernel::ffi::{c_char, c_uint};
use kernel::fmt::{self, Write as _};
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::str::Formatter;
use luo_core::{Quota, Quotas, Whom};

use super::exports::{choice_of, ret};
use super::{kexec, task};
use crate::host::somebody_comes;
use crate::say::Say;
use crate::state;

/// Makes the folder and its attributes.
///
/// # Errors
/// ENOMEM, or those of sysfs.
pub(crate) fn create() -> Result {
    // SAFETY: Called once, from an initcall after sysfs is there.
    to_result(unsafe { bindings::luo_shim_create_sysfs() })
}

/// Wakes all who poll the attribute `state`.
pub(crate) fn notify_state() {
    // SAFETY: Called from contexts that may sleep; without the folder it does
    // nothing.
    unsafe { bindings::luo_shim_notify_state() }
}

/// Writes a line as the content of an attribute.
///
/// # Safety
///
/// `page` is the page that sysfs gave to a show function.
unsafe fn show(page: *mut c_char, line: fmt::Arguments<'_>) -> isize {
    // SAFETY: By the caller's promise it has that many bytes, ours for the call,
    // and sysfs zeroed them.
    let page = unsafe { slice::from_raw_parts_mut(page.cast::<u8>(), PAGE_SIZE) };
    let mut to = Formatter::new(page);
    match to.write_fmt(line) {
        Ok(()) => to.bytes_written() as isize,
        Err(_) => ret(Err(EINVAL)) as isize,
    }
}

/// # Safety
///
/// `page` is the page that sysfs gave to a show function.
#[no_mangle]
unsafe extern "C" fn luo_rust_show_state(page: *mut c_char) -> isize {
    somebody_comes();
    let (state, _) = state::current();
    // SAFETY: By the caller's promise.
    unsafe { show(page, fmt!("{}\n", Say(state))) }
}

/// # Safety
///
/// `page` is the page that sysfs gave to a show function.
#[no_mangle]
unsafe extern "C" fn luo_rust_show_update_count(page: *mut c_char) -> isize {
    somebody_comes();
    // SAFETY: By the caller's promise.
    unsafe { show(page, fmt!("{}\n", state::update_count())) }
}

/// # Safety
///
/// `page` is the page that sysfs gave to a show function.
#[no_mangle]
unsafe extern "C" fn luo_rust_show_choice(choice: c_uint, page: *mut c_char) -> isize {
    let Some(choice) = choice_of(choice) else {
        return ret(Err(EINVAL)) as isize;
    };
    // SAFETY: By the caller's promise.
    unsafe { show(page, fmt!("{}\n", choice.word())) }
}

/// # Safety
///
/// `text` has `count` bytes.
#[no_mangle]
unsafe extern "C" fn luo_rust_store_choice(
    choice: c_uint,
    text: *const c_char,
    count: usize,
) -> isize {
    // Whoever opened the file may have passed it on.
    if !task::is_administrator() {
        return ret(Err(EACCES)) as isize;
    }
    // SAFETY: By the caller's promise.
    let text = unsafe { slice::from_raw_parts(text.cast::<u8>(), count) };
    // `echo` ends its line.
    let word = text.strip_suffix(b"\n").unwrap_or(text);
    let chosen = choice_of(choice).ok_or(EINVAL);
    match chosen.and_then(|choice| choice.choose(word)) {
        Ok(()) => count as isize,
        Err(why) => ret(Err(why)) as isize,
    }
}

/// # Safety
///
/// `page` is the page that sysfs gave to a show function.
#[no_mangle]
unsafe extern "C" fn luo_rust_show_image(page: *mut c_char) -> isize {
    let Some(image) = kexec::image_now() else {
        return ret(Err(EBUSY)) as isize;
    };
    // SAFETY: By the caller's promise.
    unsafe { show(page, fmt!("{}\n", image.word())) }
}

/// The quota with a number of the shim's: first those of each user, then those of all
/// together.
fn quota_of(number: c_uint) -> Option<(Whom, Quota)> {
    let mut all = Whom::ALL
        .into_iter()
        .flat_map(|whom| Quota::ALL.into_iter().map(move |quota| (whom, quota)));
    all.nth(number as usize)
}

/// # Safety
///
/// `page` is the page that sysfs gave to a show function.
#[no_mangle]
unsafe extern "C" fn luo_rust_show_user(quota: c_uint, page: *mut c_char) -> isize {
    somebody_comes();
    let number = quota_of(quota).and_then(|(whom, quota)| state::quota(whom, quota));
    // SAFETY: By the caller's promise.
    unsafe { show(page, fmt!("{}\n", number.unwrap_or(0))) }
}

/// # Safety
///
/// `text` has `count` bytes.
#[no_mangle]
unsafe extern "C" fn luo_rust_store_user(
    quota: c_uint,
    text: *const c_char,
    count: usize,
) -> isize {
    // Whoever opened the file may have passed it on.
    if !task::is_administrator() {
        return ret(Err(EACCES)) as isize;
    }
    // SAFETY: By the caller's promise.
    let text = unsafe { slice::from_raw_parts(text.cast::<u8>(), count) };
    match quota_of(quota).zip(Quotas::number(text)) {
        Some(((whom, quota), number)) => {
            state::set_quota(whom, quota, number);
            count as isize
        }
        None => ret(Err(EINVAL)) as isize,
    }
}
