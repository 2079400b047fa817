// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest's state, into preserved memory and out of it. That memory has a fixed size, and was
//! preserved while it was empty.

use std::os::unix::fs::FileExt;

use luo_client::memory::Region;

use crate::exit::Error;
use crate::head::{HEAD, Head, Kind, LENGTH, MARK, MARKED};

/// Writes a state; gives its bytes. The head goes last.
///
/// # Errors
/// [`Error::System`]: there is no room for it, among others.
pub fn write(kind: Kind, to: &Region, records: &[u8]) -> Result<usize, Error> {
    if records.len() as u64 > to.size().saturating_sub(HEAD) {
        let source = std::io::ErrorKind::FileTooLarge.into();
        let what = format!("the guest's state of {} bytes", records.len());
        return Err(Error::System { what, source });
    }
    let head = Head::of(kind, records);
    put(to, records, HEAD)?;
    put(to, &[0; MARKED], MARK)?;
    put(to, &head.encode(), 0)?;
    Ok(records.len())
}

/// Says that there is no state: the guest goes on, and what was written is no longer its state.
///
/// # Errors
/// [`Error::System`].
pub fn forget(region: &Region) -> Result<(), Error> {
    put(region, &[0; LENGTH], 0)?;
    put(region, &[0; MARKED], MARK)
}

/// What says that the guest goes on from this state, to be called when nothing else can fail any
/// more. If it fails itself the state is as it was.
///
/// # Errors
/// [`Error::System`].
pub fn marker(
    region: &Region,
    head: &Head,
) -> Result<impl FnOnce() -> Result<(), Error> + Send + use<>, Error> {
    let file = region.file().try_clone();
    let file = file.map_err(Error::system("the guest's state"))?;
    let mark = head.mark();
    Ok(move || {
        let written = file.write_all_at(&mark, MARK).inspect_err(|_| {
            // Half a mark is none. What cannot be undone is refused as damaged.
            let _ = file.write_all_at(&[0; MARKED], MARK);
        });
        written.map_err(Error::system("the guest's state"))
    })
}

/// Takes the mark back: it is known that the guest has not gone on from this state.
///
/// # Errors
/// [`Error::System`].
pub fn unmark(region: &Region) -> Result<(), Error> {
    put(region, &[0; MARKED], MARK)
}

/// The head of the state in a region; `None` if there is no state.
///
/// # Errors
/// [`Error::State`], [`Error::System`].
pub fn head(kind: Kind, region: &Region) -> Result<Option<Head>, Error> {
    let (mut bytes, mut mark) = ([0; LENGTH], [0; MARKED]);
    let file = region.file();
    let read = file
        .read_exact_at(&mut bytes, 0)
        .and_then(|()| file.read_exact_at(&mut mark, MARK));
    read.map_err(Error::system("the guest's state"))?;
    let room = region.size().saturating_sub(HEAD);
    Ok(Head::parse(kind, &bytes, &mark, room)?)
}

/// The records of the state in a region, if they are those that were written.
///
/// # Errors
/// [`Error::State`], [`Error::System`].
pub fn read(region: &Region, head: &Head) -> Result<Vec<u8>, Error> {
    // The head was bounded by the region's size.
    let mut records = vec![0; usize::try_from(head.length).unwrap_or_default()];
    let read = region.file().read_exact_at(&mut records, HEAD);
    read.map_err(Error::system("the guest's state"))?;
    head.check(&records)?;
    Ok(records)
}

fn put(to: &Region, bytes: &[u8], at: u64) -> Result<(), Error> {
    let written = to.file().write_all_at(bytes, at);
    written.map_err(Error::system("the guest's state"))
}

#[cfg(test)]
mod tests {
    use luo_client::memory::Regions;

    use super::*;

    const KIND: Kind = Kind {
        magic: *b"LUO-TEST",
        version: 1,
    };

    #[test]
    fn a_state_is_used_once_it_is_marked_and_gone_once_it_is_forgotten() {
        let mut regions = Regions::new();
        let region = regions.create("state", 64 << 10).unwrap();
        assert_eq!(head(KIND, region).unwrap(), None);
        assert_eq!(write(KIND, region, b"records").unwrap(), 7);
        let unused = head(KIND, region).unwrap().unwrap();
        assert!(!unused.used);
        assert_eq!(read(region, &unused).unwrap(), b"records");
        let mark = marker(region, &unused).unwrap();
        assert!(!head(KIND, region).unwrap().unwrap().used, "too early");
        mark().unwrap();
        assert!(head(KIND, region).unwrap().unwrap().used);
        unmark(region).unwrap();
        assert!(!head(KIND, region).unwrap().unwrap().used);
        marker(region, &unused).unwrap()().unwrap();
        // Damage is neither.
        put(region, &[1], MARK).unwrap();
        put(region, &[1], MARK + 1).unwrap();
        assert!(matches!(head(KIND, region), Err(Error::State(_))));
        forget(region).unwrap();
        assert_eq!(head(KIND, region).unwrap(), None);
    }

    #[test]
    fn a_state_for_which_there_is_no_room_is_not_written() {
        let mut regions = Regions::new();
        let region = regions.create("state", 8 << 10).unwrap();
        let refused = write(KIND, region, &[1; 4097]).unwrap_err();
        assert!(refused.to_string().contains("4097 bytes"), "{refused}");
        assert_eq!(head(KIND, region).unwrap(), None);
        assert!(write(KIND, region, &[1; 4096]).is_ok());
    }
}
