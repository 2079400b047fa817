// SPDX-License-Identifier: MIT OR Apache-2.0
//! Regions over an update.

use std::error::Error as _;
use std::os::unix::fs::FileExt;

use luo_client::kernel::Errno;
use luo_client::kernel::memfd::{self, Seals};
use luo_client::memory::{Error, MANIFEST, Manifest, Refusal, Regions};
use luo_client::{Device, Session, SessionName, Token};

use crate::{Result, jump};

pub(crate) fn run(scenario: &str, boot: usize) -> Result<()> {
    match (scenario, boot == 0) {
        ("survive", true) => jump_with(&filled()?),
        ("survive", false) => survived(),
        ("refused", true) => jump_with_version_two(),
        ("refused", false) => refused(),
        ("other-size", true) => jump_with_other_size(),
        ("other-size", false) => other_size(),
        ("undone", true) => undone(),
        ("undone", false) => survived(),
        _ => Err(format!("no such scenario: {scenario}").into()),
    }
}

fn name() -> SessionName {
    SessionName::new("cache").expect("a valid name")
}

/// Two regions with contents, and metadata.
fn filled() -> Result<Regions> {
    let mut regions = Regions::new();
    regions.create("ram", 1 << 20)?.map()?.store(8, 4711)?;
    regions.create("log", 5)?.file().write_all_at(b"lines", 0)?;
    regions.set_metadata("layout 3")?;
    Ok(regions)
}

fn jump_with(regions: &Regions) -> Result<()> {
    let session = Device::open()?.create_session(&name())?;
    regions.preserve_into(&session)?;
    // A file of the program's own beside them.
    session.preserve_fd(memfd::create("own", 7)?, Token(1 << 40))?;
    jump()
}

/// The session of the previous kernel.
fn retrieved() -> Result<Session> {
    Ok(Device::open()?.retrieve_session(&name())?)
}

fn survived() -> Result<()> {
    let session = retrieved()?;
    let regions = Regions::restore_from(&session)?;
    session.finish()?;
    assert_eq!(regions.metadata(), b"layout 3");
    let ram = regions.get("ram").ok_or("no region")?;
    assert_eq!((ram.size(), ram.map()?.load(8)?), (1 << 20, 4711));
    let mut lines = [0; 5];
    let log = regions.get("log").ok_or("no region")?;
    log.file().read_exact_at(&mut lines, 0)?;
    assert_eq!(&lines, b"lines");
    // They go into the next update as they are, with one more.
    let mut regions = regions;
    assert_eq!(regions.create("more", 1)?.token(), Token(3));
    let next = Device::open()?.create_session(&name())?;
    regions.preserve_into(&next)?;
    Ok(())
}

/// A session with one region and a manifest of the test's own.
fn jump_with_manifest(bytes: &[u8]) -> Result<()> {
    let session = Device::open()?.create_session(&name())?;
    let region = memfd::create("region", 3)?;
    region.write_all_at(b"abc", 0)?;
    session.preserve_fd(&region, Token(1))?;
    let manifest = memfd::create("manifest", 0)?;
    manifest.write_all_at(bytes, 0)?;
    memfd::add_seals(&manifest, Seals::WRITE)?;
    session.preserve_fd(&manifest, MANIFEST)?;
    jump()
}

fn jump_with_version_two() -> Result<()> {
    let mut bytes = filled()?.manifest().encode()?;
    bytes[8] = 2;
    jump_with_manifest(&bytes)
}

fn refused() -> Result<()> {
    let session = retrieved()?;
    // Again and again, and always the same.
    for _ in 0..2 {
        let error = Regions::restore_from(&session).expect_err("a refusal");
        assert!(error.source().is_none_or(|source| source.is::<Refusal>()));
        let found = Refusal::Version { found: 2 };
        assert!(matches!(error, Error::Refused(refusal) if refusal == found));
    }
    still_there(&session)
}

fn still_there(session: &Session) -> Result<()> {
    let mut contents = [0; 3];
    let region = std::fs::File::from(session.retrieve_fd(Token(1))?);
    region.read_exact_at(&mut contents, 0)?;
    assert_eq!(&contents, b"abc");
    Ok(session.finish()?)
}

fn jump_with_other_size() -> Result<()> {
    let mut regions = Regions::new();
    regions.create("region", 4)?;
    jump_with_manifest(&Manifest::encode(&regions.manifest())?)
}

fn other_size() -> Result<()> {
    let session = retrieved()?;
    let error = Regions::restore_from(&session).expect_err("a refusal");
    assert!(matches!(
        error,
        Error::Size {
            wanted: 4,
            found: 3,
            ..
        }
    ));
    still_there(&session)
}

fn undone() -> Result<()> {
    let regions = filled()?;
    let session = Device::open()?.create_session(&name())?;
    // The last one is in the way.
    session.preserve_fd(memfd::create("in the way", 1)?, MANIFEST)?;
    match regions.preserve_into(&session) {
        Err(Error::Kernel(error)) => assert_eq!(error.errno(), Errno::EEXIST),
        other => panic!("{other:?}"),
    }
    let left = session.list_files()?;
    let left: Vec<Token> = left.iter().map(|file| file.token).collect();
    assert_eq!(left, [MANIFEST]);
    drop(session);
    // A session without them has no manifest.
    jump_with(&regions)
}
