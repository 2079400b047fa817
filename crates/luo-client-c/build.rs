// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names the shared library as it is installed.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libluo_client.so.0");
}
