// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arguments that come over the border are checked, and results go over it as they were
//! meant.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each call is of the kind that the crate's rules allow, as a program in C makes it"
)]

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::{null, null_mut};
use std::os::fd::AsRawFd;

use luo_client_c::error::luo_last_error_message;
use luo_client_c::kernel::*;
use luo_client_c::regions::*;
use luo_client_c::workload::*;

const EBADF: c_int = -9;
const E2BIG: c_int = -7;
const ENOENT: c_int = -2;
const EFAULT: c_int = -14;
const EEXIST: c_int = -17;
const EINVAL: c_int = -22;
const ENOTTY: c_int = -25;
const ERANGE: c_int = -34;

fn message() -> String {
    let message = unsafe { CStr::from_ptr(luo_last_error_message()) };
    message.to_str().unwrap().into()
}

fn regions() -> *mut luo_regions {
    let mut regions = null_mut();
    assert_eq!(unsafe { luo_regions_new(&raw mut regions) }, 0);
    regions
}

#[test]
fn null_is_refused_by_each_function() {
    let (name, file) = (c"name".as_ptr(), std::fs::File::open("/dev/null").unwrap());
    let fd = file.as_raw_fd();
    let none = null_mut::<luo_workload>();
    let held = regions();
    let mut region = luo_region {
        size: 0,
        token: 0,
        fd: -1,
    };
    let mut incoming = 0;
    unsafe {
        let results = [
            luo_device_create_session(fd, null()),
            luo_device_retrieve_session(fd, null()),
            luo_kexec_load(fd, -1, null()),
            luo_regions_new(null_mut()),
            luo_regions_create(null_mut(), name, 1),
            luo_regions_create(held, null(), 1),
            luo_regions_get(null(), name, &raw mut region),
            luo_regions_get(held, null(), &raw mut region),
            luo_regions_get(held, name, null_mut()),
            luo_regions_set_metadata(null_mut(), name.cast(), 1),
            luo_regions_set_metadata(held, null(), 1),
            luo_regions_metadata(null(), null_mut(), 0),
            luo_regions_preserve_into(null(), fd),
            luo_regions_restore_from(fd, null_mut()),
            luo_workload_register(null(), null(), null(), 0, (&raw mut incoming).cast()),
            luo_workload_register(null(), name, null(), 1, (&raw mut incoming).cast()),
            luo_workload_register(null(), name, null(), 0, null_mut()),
            luo_workload_fd(none),
            luo_workload_phase(none),
            luo_workload_can_claim(none, name),
            luo_workload_set_times(none, 0, 0),
            luo_workload_create_session(none, name),
            luo_workload_attach(none, name, fd),
            luo_workload_declare(none, name, 1, fd),
            luo_workload_drop_session(none, name),
            luo_workload_next_event(none, 0, null_mut()),
            luo_workload_ready(none, null()),
            luo_workload_veto(none, null(), null()),
            luo_workload_detach(none),
            luo_workload_unregister(none),
            luo_workload_claim(none, name, &raw mut incoming),
            luo_workload_restored(none),
            luo_workload_finish_session(none, name),
            luo_workload_reconnect(none, 0),
        ];
        for (number, result) in results.into_iter().enumerate() {
            assert_eq!(result, EFAULT, "call {number}");
        }
        luo_regions_free(held);
        // As `free` in C.
        luo_regions_free(null_mut());
        luo_workload_free(null_mut());
    }
    assert!(message().contains("null"), "{}", message());
}

#[test]
fn a_misaligned_pointer_is_refused() {
    let held = regions();
    let mut room = [0u8; 64];
    let odd = unsafe {
        room.as_mut_ptr()
            .add(usize::from((room.as_ptr() as usize).is_multiple_of(2)))
    };
    unsafe {
        assert_eq!(luo_regions_get(held, c"a".as_ptr(), odd.cast()), EFAULT);
        assert_eq!(luo_regions_new(odd.cast()), EFAULT);
        luo_regions_free(held);
    }
    assert_eq!(room, [0; 64]);
}

#[test]
fn descriptors_are_checked() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let mut name: [c_char; 64] = [0; 64];
    unsafe {
        for fd in [-1, c_int::MIN, c_int::MAX] {
            assert_eq!(luo_session_finish(fd), EBADF);
            assert_eq!(luo_session_preserve_fd(file.as_raw_fd(), fd, 1), EBADF);
        }
        // Open, and no session.
        assert_eq!(luo_session_finish(file.as_raw_fd()), ENOTTY);
        assert_eq!(
            luo_session_name(file.as_raw_fd(), name.as_mut_ptr(), 64),
            ENOTTY
        );
    }
    assert_eq!(message(), "GET_NAME: ENOTTY");
}

#[test]
fn strings_are_bounded() {
    let held = regions();
    // Without an end behind what is looked at: reading on would leave the array.
    let long = [b'x'; 129].map(u8::cast_signed).map(|byte| byte as c_char);
    unsafe {
        assert_eq!(luo_regions_create(held, long.as_ptr(), 1), EINVAL);
        assert_eq!(luo_device_create_session(0, long.as_ptr()), EINVAL);
        assert_eq!(luo_regions_create(held, c"\xff".as_ptr(), 1), EINVAL);
        assert_eq!(luo_regions_create(held, c"".as_ptr(), 1), EINVAL);
        let many = [c"a".as_ptr(); 65];
        let mut none = null_mut();
        let result = luo_workload_register(null(), c"a".as_ptr(), many.as_ptr(), 65, &raw mut none);
        assert_eq!(result, E2BIG);
        assert!(none.is_null());
        luo_regions_free(held);
    }
}

#[test]
fn regions_are_made_and_found() {
    let held = regions();
    let mut region = luo_region {
        size: 0,
        token: 0,
        fd: -1,
    };
    let mut buffer = [0u8; 4];
    let room: *mut c_void = buffer.as_mut_ptr().cast();
    unsafe {
        assert_eq!(luo_regions_create(held, c"ram".as_ptr(), 4096), 0);
        assert_eq!(luo_regions_create(held, c"ram".as_ptr(), 4096), EEXIST);
        assert_eq!(
            luo_regions_get(held, c"rom".as_ptr(), &raw mut region),
            ENOENT
        );
        assert_eq!(region.fd, -1);
        assert_eq!(luo_regions_get(held, c"ram".as_ptr(), &raw mut region), 0);
        assert_eq!((region.size, region.token), (4096, 1));
        assert!(std::fs::exists(format!("/proc/self/fd/{}", region.fd)).unwrap());
        assert_eq!(luo_regions_metadata(held, null_mut(), 0), 0);
        assert_eq!(luo_regions_set_metadata(held, c"abc".as_ptr().cast(), 3), 0);
        assert_eq!(luo_regions_metadata(held, room, 2), ERANGE);
        assert_eq!(buffer, [0; 4]);
        assert_eq!(luo_regions_metadata(held, room, 4), 3);
        assert_eq!(luo_regions_set_metadata(held, room, (1 << 20) + 1), E2BIG);
        luo_regions_free(held);
    }
    assert_eq!(&buffer, b"abc\0");
}

#[test]
fn a_message_is_of_its_thread() {
    assert_eq!(unsafe { luo_session_finish(-1) }, EBADF);
    std::thread::spawn(|| assert_eq!(message(), ""))
        .join()
        .unwrap();
    assert_eq!(message(), "-1 is no descriptor");
}

#[test]
fn nobody_is_there() {
    let mut workload = null_mut();
    let (folder, name) = (c"/nonexistent".as_ptr(), c"a".as_ptr());
    let result = unsafe { luo_workload_register(folder, name, null(), 0, &raw mut workload) };
    assert_eq!(result, ENOENT);
    assert!(message().contains("is luod running?"), "{}", message());
}
