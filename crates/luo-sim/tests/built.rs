// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that are built with the tests.

use std::path::{Path, PathBuf};

/// An example of this package: built by `cargo test -p luo-sim`, not by `--test` alone.
pub(crate) fn program(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_luo-sim")).parent().unwrap();
    let program = folder.join("examples").join(name);
    assert!(program.exists(), "{} is not built", program.display());
    program
}
