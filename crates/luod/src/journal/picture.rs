// SPDX-License-Identifier: MIT OR Apache-2.0
//! The picture of an update that is over, for whoever has asked for one.
//!
//! It is written after the jump, when nobody looks any more. So before the update room is
//! reserved for it, in a hidden file beside it, and it is written into just that room.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use luo_timeline::{TELLING, is_picture};
use luo_varlink::HistoryEntry;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, geteuid, getrlimit};

/// Bytes of a picture without workloads, and of each of them, at most: whoever has words of
/// many lines to say may need more.
const FRAME: u64 = 64 << 10;
const LANE: u64 = 4 << 10;

/// Why a file is not replaced.
pub const NOT_OURS: &str = "what is there is no picture of an update, and is not replaced";

/// Whether a file holds something that a picture would destroy: it is neither empty nor a picture
/// of an earlier update.
fn is_anothers(path: &Path) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let mut head = Vec::new();
    file.take(TELLING as u64).read_to_end(&mut head)?;
    Ok(!head.is_empty() && !is_picture(&head))
}

/// The name that a picture has until it is whole.
fn unfinished(path: &Path) -> io::Result<PathBuf> {
    let refused = |why: &str| io::Error::new(ErrorKind::InvalidInput, why);
    let text = path.to_str().unwrap_or_default();
    if !path.is_absolute() || text.chars().any(char::is_control) {
        return Err(refused("it has to be an absolute path on one line"));
    }
    // Only a file is replaced, and only a picture: no device, nothing that somebody has put there
    // for us to follow, and nobody's data because a path was mistyped.
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => return Err(refused("what is there is no regular file")),
        Ok(_) if is_anothers(path)? => return Err(refused(NOT_OURS)),
        _ => {}
    }
    let name = path
        .file_name()
        .ok_or_else(|| refused("it names no file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".luod");
    Ok(path.with_file_name(hidden))
}

/// Makes the file that has that name until it is whole. Nothing that is there is opened: it may
/// be a link to another file, or wait for a reader. What an agent that was ended has left is
/// taken away first.
pub(super) fn create(unfinished: &Path) -> io::Result<File> {
    match File::create_new(unfinished) {
        Err(why) if why.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(unfinished)?;
            File::create_new(unfinished)
        }
        made => made,
    }
}

/// The file that holds room, if it is there. One that anybody else may have put there is not
/// opened for writing: a link, a pipe, or another name of another file.
fn reserved(unfinished: &Path) -> Option<File> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(unfinished, flags, Mode::empty()).ok()?);
    let known = file.metadata().ok()?;
    let is_ours = known.is_file() && known.nlink() == 1 && known.uid() == geteuid().as_raw();
    is_ours.then_some(file)
}

/// Reserves room for the picture of an update with so many workloads, until that is
/// [written](write()).
///
/// # Errors
/// Why it could not be written.
pub fn reserve(path: &Path, workloads: usize) -> io::Result<()> {
    let held = unfinished(path)?;
    let room = FRAME + LANE.saturating_mul(workloads as u64);
    let length = |file: File| file.metadata().map_or(0, |known| known.len());
    if reserved(&held).map_or(0, length) >= room {
        return Ok(());
    }
    // A process that writes more than it may is ended by a signal.
    if getrlimit(Resource::Fsize)
        .current
        .is_some_and(|most| most < room)
    {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut file = create(&held)?;
    let filled = io::copy(&mut io::repeat(b'\n').take(room), &mut file);
    // Some file systems find out by this only.
    let filled = filled.and_then(|_| file.sync_all());
    if filled.is_err() {
        let _ = fs::remove_file(&held);
    }
    filled
}

/// Writes a picture: whoever looks at the file finds all of it or what was there before.
///
/// # Errors
/// As the file system answers.
pub fn write(path: &Path, entry: &HistoryEntry) -> io::Result<()> {
    let new = unfinished(path)?;
    let picture = luo_timeline::svg(entry);
    let fill = |mut file: File| {
        // The reserved room is not given back before: others wait for room, too.
        file.rewind()?;
        file.write_all(picture.as_bytes())?;
        file.set_len(picture.len() as u64)?;
        file.sync_all()
    };
    let file = reserved(&new).map_or_else(|| create(&new), Ok);
    let filled = file.and_then(fill);
    if filled.is_err() {
        let _ = fs::remove_file(&new);
    }
    filled.and_then(|()| fs::rename(&new, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_none_can_be_written_is_found_out_before() {
        let folder = tempfile::tempdir().unwrap();
        for bad in [
            folder.path(),
            Path::new("update.svg"),
            Path::new("/"),
            &folder.path().join("two\nlines"),
            &folder.path().join("missing/update.svg"),
        ] {
            assert!(reserve(bad, 1).is_err(), "{}", bad.display());
        }
        assert!(
            fs::read_dir(&folder).unwrap().next().is_none(),
            "nothing is left"
        );
    }

    /// An update with so many workloads, whose names are as long as can be.
    fn entry(workloads: usize) -> HistoryEntry {
        use luo_varlink::{Phase, TimelineEvent, TimelineKind};
        const STEPS: [(Phase, TimelineKind); 5] = [
            (Phase::Preparing, TimelineKind::Asked),
            (Phase::Preparing, TimelineKind::Agreed),
            (Phase::Freezing, TimelineKind::Asked),
            (Phase::Freezing, TimelineKind::Agreed),
            (Phase::Updated, TimelineKind::Restored),
        ];
        let event = |workload: usize, at: usize, (phase, kind)| TimelineEvent {
            update: "u".to_owned(),
            time_us: 1_700_000_000_000_000 + at as u64,
            phase,
            kind,
            workload: Some(format!("{workload:x>63}")),
            took_us: Some(1_000),
            detail: None,
        };
        let steps = STEPS.into_iter().enumerate();
        let timeline = steps
            .flat_map(|(at, step)| (0..workloads).map(move |workload| event(workload, at, step)));
        HistoryEntry {
            update: "u".to_owned(),
            outcome: luo_varlink::Outcome::Completed,
            reason: Some("x".repeat(4096)),
            began_us: 1_700_000_000_000_000,
            took_us: Some(1_000),
            blackout_us: Some(500),
            from_kernel: "7.3.4".to_owned(),
            to_kernel: "7.3.5".to_owned(),
            timeline: timeline.collect(),
        }
    }

    #[test]
    fn the_room_that_is_reserved_is_that_which_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("update.svg");
        let held = folder.path().join(".update.svg.luod");
        for workloads in [0, 3, 50] {
            reserve(&path, workloads).unwrap();
            let room = fs::metadata(&held).unwrap();
            // A second look finds it.
            reserve(&path, workloads).unwrap();
            assert_eq!(fs::metadata(&held).unwrap().ino(), room.ino());
            write(&path, &entry(workloads)).unwrap();
            let written = fs::metadata(&path).unwrap();
            assert_eq!(written.ino(), room.ino());
            assert!(
                written.len() <= room.len(),
                "{workloads}: {}",
                written.len()
            );
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
            assert!(!held.exists());
        }
        // A reservation that is too small is made anew; without any the picture is written as well.
        fs::write(&held, "too small").unwrap();
        reserve(&path, 1).unwrap();
        assert!(fs::metadata(&held).unwrap().len() > FRAME);
        fs::remove_file(&held).unwrap();
        write(&path, &entry(1)).unwrap();
    }

    #[test]
    fn nothing_but_a_picture_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("update.svg");
        let others = [
            "root:x:0:0:root:/root:/bin/sh\n",
            "<svg xmlns=\"http://www.w3.org/2000/svg\">\n<title>A cat</title>\n</svg>\n",
            "x",
        ];
        for text in others {
            fs::write(&path, text).unwrap();
            for why in [reserve(&path, 1).err(), write(&path, &entry(1)).err()] {
                assert!(why.unwrap().to_string().contains(NOT_OURS));
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left");
        // Of nothing, nothing is lost; and a picture is replaced by the next one.
        fs::write(&path, "").unwrap();
        for workloads in [1, 2] {
            reserve(&path, workloads).unwrap();
            write(&path, &entry(workloads)).unwrap();
        }
        assert!(is_picture(&fs::read(&path).unwrap()));
    }

    /// A file that others have put there is neither replaced, nor written through, nor waited for.
    #[test]
    fn only_a_regular_file_is_replaced_and_no_link_is_followed() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::write(at("precious"), "precious").unwrap();
        std::os::unix::fs::symlink(at("precious"), at("link")).unwrap();
        for odd in ["fifo", "link"] {
            let why = reserve(&at(odd), 1).unwrap_err();
            assert!(why.to_string().contains("no regular file"), "{why}");
        }
        std::os::unix::fs::symlink(at("precious"), at(".a.svg.luod")).unwrap();
        mknodat(CWD, at(".b.svg.luod"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::hard_link(at("precious"), at(".c.svg.luod")).unwrap();
        for name in ["a.svg", "b.svg", "c.svg"] {
            reserve(&at(name), 1).unwrap();
            fs::remove_file(at(&format!(".{name}.luod"))).unwrap();
        }
        std::os::unix::fs::symlink(at("precious"), at(".a.svg.luod")).unwrap();
        fs::hard_link(at("precious"), at(".c.svg.luod")).unwrap();
        for name in ["a.svg", "c.svg"] {
            write(&at(name), &entry(1)).unwrap();
        }
        assert_eq!(fs::read_to_string(at("precious")).unwrap(), "precious");
    }
}
