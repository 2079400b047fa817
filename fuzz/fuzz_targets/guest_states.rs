// SPDX-License-Identifier: MIT OR Apache-2.0
//! What it does is in `luo_fuzz::guest_states`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    luo_fuzz::guest_states::run(data);
});
