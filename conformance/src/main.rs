// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the behaviour tests under the simulator, and prints a line for each case:
//!
//! ```text
//! luo-sim run --test-driver --at-most 1000 -- luo-conformance
//! ```
#![forbid(unsafe_code)]

fn main() -> anyhow::Result<()> {
    luo_conformance::simulated::run()
}
