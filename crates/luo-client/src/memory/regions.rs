// SPDX-License-Identifier: MIT OR Apache-2.0
//! Regions: preserving them in a session, and restoring them from one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use luo_sys::memfd::{self, Seals};
use luo_sys::{Errno, MappedFile, Session, Token};
use rustix::io::Errno as Number;

use super::manifest::{
    Entry, LAST, MANIFEST, MAX_MANIFEST, MAX_METADATA, MAX_NAME, MAX_REGIONS, Manifest, Refusal,
    is_name,
};

/// Errors with regions.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error(transparent)]
    Kernel(#[from] luo_sys::Error),
    /// The manifest could not be read or written.
    #[error("the manifest of memory regions: {0}")]
    Io(#[from] io::Error),
    /// Nothing is preserved under the manifest's token.
    #[error("the session has no manifest of memory regions (token {MANIFEST})")]
    NoManifest,
    /// The manifest is refused. Nothing was released: the session's files are still
    /// there to be retrieved, by this program or by another one.
    #[error("the manifest of memory regions is refused: {0}")]
    Refused(#[from] Refusal),
    /// A region is not what the manifest says. Nothing was released.
    #[error("region '{name}' has not the {wanted} bytes of the manifest, but {found}")]
    Size {
        /// Its name.
        name: String,
        /// Bytes in the manifest.
        wanted: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// A region has this name.
    #[error("there is a region '{0}' already")]
    Exists(String),
    /// The text is no name of a region.
    #[error("a region's name has 1 to {MAX_NAME} bytes and no control characters")]
    BadName,
    /// The number is no size of a region.
    #[error("a region has 1 to 2^63 - 1 bytes")]
    BadSize,
    /// There are as many regions as a session can have.
    #[error("there can be {MAX_REGIONS} regions")]
    TooManyRegions,
    /// The metadata has too many bytes.
    #[error("there can be {MAX_METADATA} bytes of metadata")]
    TooMuchMetadata,
}

impl Error {
    /// The error number that says the same, positive.
    #[must_use]
    pub fn errno(&self) -> i32 {
        let number = match self {
            Self::Kernel(error) => return error.errno().get(),
            Self::Io(error) => return error.raw_os_error().unwrap_or(Errno::EIO.get()),
            Self::NoManifest => Number::NOENT,
            Self::Refused(Refusal::Version { .. }) => Number::PROTONOSUPPORT,
            Self::Refused(_) | Self::Size { .. } => Number::BADMSG,
            Self::Exists(_) => Number::EXIST,
            Self::BadName | Self::BadSize => Number::INVAL,
            Self::TooManyRegions => Number::NOSPC,
            Self::TooMuchMetadata => Number::TOOBIG,
        };
        number.raw_os_error()
    }
}

/// Memory with a name, in a memfd that can be neither shrunk nor grown. Kernels that hand
/// memfds over as `memfd-v2` or newer (Linux 7.3) bring that seal back after an update;
/// older ones do not.
#[derive(Debug)]
pub struct Region {
    file: File,
    size: u64,
    token: Token,
}

impl Region {
    /// Its bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Its token in the session, for [`crate::agent::Workload::declare`] and for
    /// dependencies.
    #[must_use]
    pub const fn token(&self) -> Token {
        self.token
    }

    /// The memfd.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Maps all of the region, except a last part that is no whole word of 8 bytes.
    ///
    /// # Errors
    /// EINVAL: it has fewer than 8 bytes. ENOMEM.
    pub fn map(&self) -> luo_sys::Result<MappedFile> {
        // A size that does not fit into the address space is refused like one that does not
        // fit into the rest of it.
        MappedFile::new(&self.file, usize::try_from(self.size).unwrap_or(usize::MAX))
    }
}

impl AsFd for Region {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The regions of a session.
#[derive(Debug, Default)]
pub struct Regions {
    regions: BTreeMap<String, Region>,
    metadata: Vec<u8>,
}

impl Regions {
    /// No regions, and no metadata.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a region of `size` bytes, all zero.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::BadName`], [`Error::BadSize`],
    /// [`Error::TooManyRegions`], or what the kernel says: ENOMEM, EMFILE, ENFILE.
    pub fn create(&mut self, name: &str, size: u64) -> Result<&Region, Error> {
        if !is_name(name) {
            return Err(Error::BadName);
        }
        if size == 0 || i64::try_from(size).is_err() {
            return Err(Error::BadSize);
        }
        if self.regions.contains_key(name) {
            return Err(Error::Exists(name.into()));
        }
        let token = self.free_token()?;
        let file = memfd::create(name, size)?;
        memfd::add_seals(&file, Seals::SHRINK | Seals::GROW)?;
        let region = Region { file, size, token };
        Ok(self.regions.entry(name.into()).or_insert(region))
    }

    /// Makes a region of a memfd that is there already, for example one that another process
    /// has mapped. Its size is the region's, and must not change while it is preserved: seal
    /// it.
    ///
    /// # Errors
    /// As [`Regions::create`]; [`Error::Io`] if its size cannot be read.
    pub fn adopt(&mut self, name: &str, file: File) -> Result<&Region, Error> {
        if !is_name(name) {
            return Err(Error::BadName);
        }
        let size = file.metadata()?.len();
        if size == 0 || i64::try_from(size).is_err() {
            return Err(Error::BadSize);
        }
        if self.regions.contains_key(name) {
            return Err(Error::Exists(name.into()));
        }
        let token = self.free_token()?;
        let region = Region { file, size, token };
        Ok(self.regions.entry(name.into()).or_insert(region))
    }

    fn free_token(&self) -> Result<Token, Error> {
        let used: BTreeSet<Token> = self.regions.values().map(Region::token).collect();
        let mut all = (MANIFEST.0 + 1..=LAST.0).map(Token);
        let free = all.find(|token| !used.contains(token));
        free.ok_or(Error::TooManyRegions)
    }

    /// The region of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Region> {
        self.regions.get(name)
    }

    /// All regions, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Region)> {
        self.regions
            .iter()
            .map(|(name, region)| (name.as_str(), region))
    }

    /// The program's own bytes, which travel in the manifest.
    #[must_use]
    pub fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    /// Sets the program's own bytes. They are written when the regions are preserved: keep
    /// in a region what may change until the last moment.
    ///
    /// # Errors
    /// [`Error::TooMuchMetadata`].
    pub fn set_metadata(&mut self, metadata: impl Into<Vec<u8>>) -> Result<(), Error> {
        let metadata = metadata.into();
        if metadata.len() > MAX_METADATA {
            return Err(Error::TooMuchMetadata);
        }
        self.metadata = metadata;
        Ok(())
    }

    /// The manifest of these regions.
    #[must_use]
    pub fn manifest(&self) -> Manifest {
        let entry = |(name, region): (&str, &Region)| Entry {
            name: name.into(),
            size: region.size,
            token: region.token,
        };
        Manifest {
            regions: self.iter().map(entry).collect(),
            metadata: self.metadata.clone(),
        }
    }

    /// Preserves all regions, and the manifest last, so that a session with a manifest has
    /// all regions.
    /// Regions can be written until the freeze.
    ///
    /// # Errors
    /// As [`Session::preserve_fd`], for example EEXIST if the session has regions already.
    /// The files that this call has preserved are taken back; on an orchestrator that
    /// cannot do that (mainline's) they stay until the session is closed.
    pub fn preserve_into(&self, session: &Session) -> Result<(), Error> {
        let manifest = sealed(&self.manifest().encode()?)?;
        let regions = self
            .iter()
            .map(|(_, region)| (region.file(), region.token()));
        let files = regions.chain([(&manifest, MANIFEST)]);
        let mut done = Vec::new();
        for (file, token) in files {
            if let Err(error) = session.preserve_fd(file, token) {
                for token in done.into_iter().rev() {
                    // The first error is reported: it says what went wrong.
                    let _ = session.unpreserve_fd(token);
                }
                return Err(error.into());
            }
            done.push(token);
        }
        Ok(())
    }

    /// Takes all regions back from a session of the previous kernel. The session is to be
    /// finished afterwards.
    ///
    /// # Errors
    /// As [`Regions::look`] and [`Coming::restore`].
    pub fn restore_from(session: &Session) -> Result<Self, Error> {
        Self::look(session)?.restore()
    }

    /// Looks at what a session of the previous kernel has, and takes no region back yet: that takes
    /// longer the more memory there is, and a program can get ready meanwhile.
    ///
    /// # Errors
    /// [`Error::NoManifest`], [`Error::Refused`], or as [`Session::retrieve_fd`]. Nothing is
    /// released, and it can be tried again.
    pub fn look(session: &Session) -> Result<Coming<'_>, Error> {
        let manifest = session.retrieve_fd(MANIFEST).map_err(|error| {
            if error.errno() == Errno::ENOENT {
                Error::NoManifest
            } else {
                error.into()
            }
        })?;
        let manifest = Manifest::parse(&contents(manifest)?)?;
        Ok(Coming { session, manifest })
    }
}

/// Regions that are in a session of the previous kernel still. What it is made by is
/// [`Regions::look`].
#[derive(Debug)]
pub struct Coming<'a> {
    session: &'a Session,
    manifest: Manifest,
}

impl Coming<'_> {
    /// The program's own bytes, as [`Regions::metadata`].
    #[must_use]
    pub fn metadata(&self) -> &[u8] {
        &self.manifest.metadata
    }

    /// Takes all regions back. The session is to be finished afterwards.
    ///
    /// # Errors
    /// [`Error::Size`], or as [`Session::retrieve_fd`]. Nothing is released, and it can be tried
    /// again.
    pub fn restore(self) -> Result<Regions, Error> {
        let mut regions = BTreeMap::new();
        for Entry { name, size, token } in self.manifest.regions {
            let file = File::from(self.session.retrieve_fd(token)?);
            let found = file.metadata()?.len();
            if found != size {
                return Err(Error::Size {
                    name,
                    wanted: size,
                    found,
                });
            }
            regions.insert(name, Region { file, size, token });
        }
        Ok(Regions {
            regions,
            metadata: self.manifest.metadata,
        })
    }
}

/// A memfd with contents that nobody can change any more.
fn sealed(contents: &[u8]) -> Result<File, Error> {
    let file = memfd::create("luo-manifest", 0)?;
    file.write_all_at(contents, 0)?;
    let seals = Seals::WRITE | Seals::GROW | Seals::SHRINK | Seals::SEAL;
    memfd::add_seals(&file, seals)?;
    Ok(file)
}

/// The bytes of a file, if its size is that of a manifest. The file may be anything.
fn contents(file: OwnedFd) -> Result<Vec<u8>, Error> {
    let file = File::from(file);
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(Refusal::NotAManifest.into());
    }
    let length = usize::try_from(about.len()).ok();
    let length = length.filter(|&length| length <= MAX_MANIFEST);
    let mut bytes = vec![0; length.ok_or(Refusal::Length)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
