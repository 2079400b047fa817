// SPDX-License-Identifier: MIT OR Apache-2.0
//! Named memory that survives an update: regions in memfds, and a manifest that says under
//! which token each region is.
//!
//! | token | file |
//! |---|---|
//! | 0 ([`MANIFEST`]) | the [`Manifest`], in a sealed memfd |
//! | 1 to 4,096 ([`LAST`]) | the regions |
//! | above | the program's own: other files can be preserved in the same session |
//!
//! ```no_run
//! use luo_client::memory::Regions;
//! use luo_client::{Device, SessionName};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let name = SessionName::new("cache")?;
//! // Before the jump.
//! let mut regions = Regions::new();
//! let entries = regions.create("entries", 1 << 30)?;
//! entries.map()?.store(0, 4711)?;
//! regions.set_metadata("layout 3")?;
//! let session = Device::open()?.create_session(&name)?;
//! regions.preserve_into(&session)?;
//! // After it, in the next kernel.
//! let session = Device::open()?.retrieve_session(&name)?;
//! let regions = Regions::restore_from(&session)?;
//! session.finish()?;
//! assert_eq!(regions.metadata(), b"layout 3");
//! assert_eq!(regions.get("entries").unwrap().map()?.load(0)?, 4711);
//! # Ok(())
//! # }
//! ```

mod manifest;
mod regions;

pub use manifest::{
    Entry, LAST, MANIFEST, MAX_MANIFEST, MAX_METADATA, MAX_NAME, MAX_REGIONS, Manifest, Refusal,
    VERSION,
};
pub use regions::{Coming, Error, Region, Regions};
