// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which memory is the guest's. In an offload its descriptors come when the guest stands still,
//! and what is preserved has to be so before; so they are looked for among the descriptors of the
//! process, which has them from the start. When they come they are compared.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use luo_client::memory::Regions;

/// What the names of the regions begin with. A number follows.
const NAME: &str = "memory-";

/// The name of a region.
#[must_use]
pub fn name(region: u32) -> String {
    format!("{NAME}{region}")
}

/// A file, whatever descriptor it is seen through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity(u64, u64);

impl Identity {
    fn of(facts: &Metadata) -> Self {
        Self(facts.dev(), facts.ino())
    }
}

/// Regions that are memory, by their numbers.
pub type Known = Vec<(u32, Identity)>;

/// The region that is this memory.
///
/// # Errors
/// Of a system call.
pub fn find(known: &Known, file: &File) -> io::Result<Option<u32>> {
    let wanted = Identity::of(&file.metadata()?);
    let found = known.iter().find(|(_, known)| *known == wanted);
    Ok(found.map(|(number, _)| *number))
}

/// The regions that are memory.
///
/// # Errors
/// Of a system call.
pub fn known(regions: &Regions) -> io::Result<Known> {
    let mut known = Vec::new();
    for (name, region) in regions.iter() {
        let number = name
            .strip_prefix(NAME)
            .and_then(|number| number.parse().ok());
        if let Some(number) = number {
            known.push((number, Identity::of(&region.file().metadata()?)));
        }
    }
    Ok(known)
}

/// The memfds that a process has mapped to be written and shared, and that are not among
/// `regions`, each once, with the number that its region is to have. Whatever else it has open is
/// not the guest's.
///
/// # Errors
/// Of a system call; the process is gone, or not ours to look into.
pub fn of_process(process: u32, regions: &Regions) -> io::Result<Vec<(u32, File)>> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    let mapped: Vec<u64> = maps.lines().filter_map(shared_memfd).collect();
    let mut known = known(regions)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        let path = entry?.path();
        // One that was closed meanwhile is none.
        if !fs::read_link(&path).is_ok_and(|to| is_memfd(&to)) {
            continue;
        }
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
            Err(why) => return Err(why),
        };
        let facts = file.metadata()?;
        let identity = Identity::of(&facts);
        let is_known = known.iter().any(|(_, known)| *known == identity);
        if is_known || !mapped.contains(&facts.ino()) {
            continue;
        }
        let number = known
            .iter()
            .map(|(number, _)| number + 1)
            .max()
            .unwrap_or(0);
        known.push((number, identity));
        found.push((number, file));
    }
    Ok(found)
}

/// The inode of a line of `/proc/PID/maps`, if that is memory of this kind.
fn shared_memfd(line: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    let (_, rights) = (words.next()?, words.next()?);
    let (_, _, inode) = (words.next()?, words.next()?, words.next()?);
    let is_it =
        rights.starts_with("rw") && rights.ends_with('s') && is_memfd(words.next()?.as_ref());
    is_it.then(|| inode.parse().ok()).flatten()
}

fn is_memfd(to: &Path) -> bool {
    to.to_string_lossy().starts_with("/memfd:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_maps_is_read() {
        let line = "7f0000000000-7f0001000000 rw-s 00000000 00:01 1026 /memfd:ch_ram (deleted)";
        assert_eq!(shared_memfd(line), Some(1026));
        for other in ["rw-p", "r--s", "---p"] {
            assert_eq!(shared_memfd(&line.replace("rw-s", other)), None);
        }
        assert_eq!(
            shared_memfd(&line.replace("/memfd:ch_ram", "/dev/shm/x")),
            None
        );
        assert_eq!(
            shared_memfd("7f0000000000-7f0001000000 rw-s 00000000 00:01 1026"),
            None
        );
    }

    #[test]
    fn memfds_of_a_process_are_found_once_and_known_again() {
        let mut theirs = Regions::new();
        let theirs = theirs.create("ch_ram", 1 << 16).unwrap();
        let again = theirs.file().try_clone().unwrap();
        let mut ours = Regions::new();
        ours.create("state", 1 << 16).unwrap();
        let here = std::process::id();
        let unmapped = of_process(here, &ours).unwrap();
        let wanted = Identity::of(&again.metadata().unwrap());
        let mut found = unmapped
            .iter()
            .map(|(_, file)| Identity::of(&file.metadata().unwrap()));
        assert!(found.all(|found| found != wanted), "it is not mapped yet");
        let _map = theirs.map().unwrap();
        let find_it = |regions: &Regions| {
            let found = of_process(here, regions).unwrap();
            let is_it = |file: &File| Identity::of(&file.metadata().unwrap()) == wanted;
            let mut found: Vec<_> = found.into_iter().filter(|(_, file)| is_it(file)).collect();
            assert!(found.len() < 2, "there is one, with two descriptors");
            found.pop()
        };
        let find = |ours: &Regions| find(&known(ours).unwrap(), &again).unwrap();
        assert_eq!(find(&ours), None);
        let (number, file) = find_it(&ours).unwrap();
        ours.adopt(&name(number), file).unwrap();
        assert_eq!(find(&ours), Some(number));
        assert!(find_it(&ours).is_none(), "it is known");
    }
}
