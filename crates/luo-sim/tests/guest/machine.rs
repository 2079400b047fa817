// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine around: reboot, paths, parameters.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};

use anyhow::{Result, bail, ensure};
use luo_sys::{Device, Errno, ParticipantKind, State, Token, kexec};

use crate::tools::{boot, jump, load, name, refused, same, session_with};

pub(crate) fn reboots() -> Result<()> {
    match boot()? {
        0 => {
            same("without a kernel", kexec::execute().errno(), Errno::EINVAL)?;
            load(c"quiet")?;
            kexec::unload()?;
            same("unloaded", kexec::execute().errno(), Errno::EINVAL)?;
            let error = rustix::system::reboot(rustix::system::RebootCommand::CadOff);
            ensure!(error.is_ok(), "{error:?}");
            let device = Device::open()?;
            let _session = session_with(&device, "gone", b"gone")?;
            bail!("{}", kexec::restart())
        }
        1 => {
            let device = Device::open()?;
            same("the state", device.state()?, State::Normal)?;
            refused(device.retrieve_session(&name("gone")), Errno::ENOENT)?;
            // A kexec without sessions is none of live update's.
            bail!("{}", jump()?)
        }
        2 => {
            let device = Device::open()?;
            same("the state", device.state()?, State::Normal)?;
            same("updates", device.info()?.update_count, 1)?;
            bail!("{}", kexec::power_off())
        }
        boot => bail!("boot {boot} after it was switched off"),
    }
}

const SYSFS: &str = "/sys/kernel/liveupdate";

fn attribute(file: &str) -> Result<String> {
    Ok(fs::read_to_string(format!("{SYSFS}/{file}"))?)
}

pub(crate) fn paths() -> Result<()> {
    looks()?;
    same("the state", attribute("state")?.as_str(), "normal\n")?;
    same("updates", attribute("update_count")?.as_str(), "0\n")?;
    same("unclaimed", attribute("unclaimed")?.as_str(), "carry\n")?;
    fs::write(format!("{SYSFS}/unclaimed"), "discard\n")?;
    same("unclaimed", attribute("unclaimed")?.as_str(), "discard\n")?;
    same("memfds", attribute("memfd")?.as_str(), "memfd-v2\n")?;
    fs::write(format!("{SYSFS}/unclaimed"), "whatever")?;
    same("unclaimed", attribute("unclaimed")?.as_str(), "discard\n")?;
    ensure!(
        fs::write(format!("{SYSFS}/state"), "frozen").is_err(),
        "it can be written"
    );
    let device = Device::open()?;
    let session = session_with(&device, "a name", b"x")?;
    let fd = session.as_fd().as_raw_fd();
    let link = fs::read_link(format!("/proc/self/fd/{fd}"))?;
    same(
        "the link",
        link.to_str(),
        Some("anon_inode:[luo_session] a name"),
    )?;
    let pid = std::process::id();
    for path in [
        format!("/proc/self/fdinfo/{fd}"),
        format!("/proc/{pid}/fdinfo/{fd}"),
    ] {
        let text = fs::read_to_string(path)?;
        ensure!(text.contains("flags:"), "{text}");
        for line in [
            "luo-name:      a name\n",
            "luo-direction: outgoing\n",
            "luo-state:     open\n",
            "luo-files:     1\n",
            "luo-file:      token 0x1 handler memfd-v2 status preserved bytes 4096\n",
        ] {
            ensure!(text.contains(line), "{line:?} is not in {text}");
        }
    }
    in_runs(&device)?;
    from_elsewhere(fd)?;
    other_ways(&device, &session)?;
    locks()?;
    let other = fs::read_to_string("/proc/self/fdinfo/0")?;
    ensure!(!other.contains("luo-"), "{other}");
    device.prepare()?;
    same("the state", attribute("state")?.as_str(), "prepared\n")?;
    device.cancel()?;
    let mut log = fs::OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open("/dev/kmsg")?;
    let mut record = [0; 8192];
    let length = log.read(&mut record)?;
    let record = String::from_utf8_lossy(&record[..length]).into_owned();
    ensure!(record.contains(";luo: "), "{record}");
    Ok(())
}

/// What is preserved from then on is handed over in the other form, by the other handler.
fn in_runs(device: &Device) -> Result<()> {
    let handlers = || -> Result<Vec<String>> {
        let all = device.list_participants()?.into_iter();
        let handlers = all.filter(|entry| entry.kind == ParticipantKind::FileHandler);
        Ok(handlers.map(|entry| entry.name).collect())
    };
    same(
        "the handlers",
        handlers()?,
        vec![
            "memfd-v2".into(),
            "luo-memfd-v1".into(),
            "luo-hugetlb-v1".into(),
            "luo-eventfd-v1".into(),
            "luo-timerfd-v1".into(),
            "luo-pipe-v1".into(),
        ],
    )?;
    fs::write(format!("{SYSFS}/memfd"), "runs\n")?;
    same("memfds", attribute("memfd")?.as_str(), "runs\n")?;
    let session = session_with(device, "in runs", b"x")?;
    fs::write(format!("{SYSFS}/memfd"), "memfd-v2\n")?;
    let again = session.preserve_fd(crate::tools::memory(b"y")?, Token(2));
    again?;
    let files = session.list_files()?.into_iter();
    let handlers: Vec<_> = files.map(|file| file.handler).collect();
    same(
        "the handlers",
        handlers,
        vec!["luo-memfd-v1".into(), "memfd-v2".into()],
    )
}

/// Of those who lock the file beside the device one has it, however they have opened it.
fn locks() -> Result<()> {
    use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || open(luo_sys::LOCK_PATH, flags, Mode::from_raw_mode(0o600));
    let exclusive = FlockOperation::NonBlockingLockExclusive;
    let (first, second) = (open()?, open()?);
    flock(&first, exclusive)?;
    let refused = Err(rustix::io::Errno::WOULDBLOCK);
    same("the second", flock(&second, exclusive), refused)?;
    rustix::io::write(&first, b"first")?;
    same(
        "what it says",
        fs::read_to_string(luo_sys::LOCK_PATH)?.as_str(),
        "first",
    )?;
    let mode = fs::metadata(luo_sys::LOCK_PATH)?.permissions().mode();
    same("its mode", mode & 0o777, 0o600)?;
    drop(first);
    Ok(flock(&second, exclusive)?)
}

/// Another process sees what a descriptor of this one is.
fn from_elsewhere(fd: i32) -> Result<()> {
    let pid = std::process::id();
    let shown = |program: &str, path: String| -> Result<String> {
        let output = std::process::Command::new(program).arg(path).output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let text = shown("cat", format!("/proc/{pid}/fdinfo/{fd}"))?;
    ensure!(text.contains("luo-name:      a name\n"), "{text}");
    let link = shown("readlink", format!("/proc/{pid}/fd/{fd}"))?;
    same(
        "the link",
        link.trim_end(),
        "anon_inode:[luo_session] a name",
    )
}

/// Other ways to the device, which is open already, and what its descriptors are.
fn other_ways(device: &Device, session: &luo_sys::Session) -> Result<()> {
    let magic = |fd: std::os::fd::BorrowedFd<'_>| rustix::fs::fstatfs(fd).map(|fs| fs.f_type);
    same("the device", magic(device.as_fd())?, 0x0102_1994)?;
    same("a session", magic(session.as_fd())?, 0x0904_1934)?;
    same(
        "reading a session",
        rustix::io::read(session, &mut [0; 8]),
        Ok(0),
    )?;
    // It must not wait for ever: the kernel says EINVAL.
    same(
        "reading the device",
        rustix::io::read(device, &mut [0; 8]),
        Err(rustix::io::Errno::AGAIN),
    )?;
    let folder = std::env::temp_dir().join(format!("luo-sim-ways-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let done = ways(&folder);
    fs::remove_dir_all(&folder)?;
    done
}

/// Links in a folder lead to the device.
fn ways(folder: &std::path::Path) -> Result<()> {
    let path = |name: &str| folder.join(name);
    std::os::unix::fs::symlink("/dev/liveupdate", path("device"))?;
    std::os::unix::fs::symlink("device", path("again"))?;
    std::os::unix::fs::symlink("/dev", path("dev"))?;
    let why = |path: &std::path::Path| {
        let opened = fs::File::open(path);
        opened.err().and_then(|why| why.raw_os_error())
    };
    const EBUSY: Option<i32> = Some(16);
    const ENOTDIR: Option<i32> = Some(20);
    for way in ["device", "again", "dev/liveupdate"] {
        same(way, why(&path(way)), EBUSY)?;
    }
    for way in ["/proc/self/root/dev/liveupdate", "/dev/../dev/liveupdate"] {
        same(way, why(way.as_ref()), EBUSY)?;
    }
    same("as a folder", why("/dev/liveupdate/".as_ref()), ENOTDIR)?;
    same("a link to it as a folder", why(&path("device/")), ENOTDIR)?;
    let seen = fs::metadata(path("again"))?;
    ensure!(seen.file_type().is_char_device(), "{seen:?}");
    ensure!(path("device").is_symlink(), "it is no link");
    Ok(())
}

/// What there is can be seen before it is opened, and what there is not cannot.
fn looks() -> Result<()> {
    use rustix::fs::{Access, AtFlags, CWD, accessat, stat};
    let device = fs::metadata("/dev/liveupdate")?;
    ensure!(device.file_type().is_char_device(), "{device:?}");
    let old = stat("/dev/liveupdate")?;
    same("the device's number", old.st_rdev, device.rdev())?;
    same("the device's mode", old.st_mode, 0o020_600)?;
    ensure!(fs::metadata(SYSFS)?.is_dir(), "it is no folder");
    for (file, mode) in [
        ("state", 0o444),
        ("update_count", 0o444),
        ("unclaimed", 0o644),
        ("memfd", 0o644),
    ] {
        let seen = fs::metadata(format!("{SYSFS}/{file}"))?;
        ensure!(seen.is_file() && seen.len() == 4096, "{seen:?}");
        same(file, seen.mode() & 0o777, mode)?;
        same(file, stat(format!("{SYSFS}/{file}"))?.st_size, 4096)?;
    }
    let access = |path: &str, access| accessat(CWD, path, access, AtFlags::empty());
    access("/dev/liveupdate", Access::READ_OK | Access::WRITE_OK)?;
    access(SYSFS, Access::EXEC_OK)?;
    let executed = access("/sys/kernel/liveupdate/state", Access::EXEC_OK);
    same("executing it", executed, Err(rustix::io::Errno::ACCESS))?;
    for missing in ["/sys/kernel/liveupdate/other", "/dev/luo_forge"] {
        ensure!(!fs::exists(missing)?, "there is a {missing}");
        ensure!(fs::File::open(missing).is_err(), "{missing} opens");
    }
    // Others are as they are.
    ensure!(
        fs::metadata("/dev/null")?.file_type().is_char_device(),
        "no null"
    );
    ensure!(fs::metadata("/proc/self/exe")?.len() > 0, "no program");
    Ok(())
}

/// The command line of a kernel that was loaded counts for that kernel only.
pub(crate) fn parameters() -> Result<()> {
    let first = Device::open();
    match boot()? {
        0 => {
            refused(Device::open(), Errno::EBUSY)?;
            load(c"quiet liveupdate=on liveupdate_openers=many liveupdate_unclaimed=discard")?;
            bail!("{}", kexec::execute())
        }
        1 => {
            let second = Device::open()?;
            let token = second.fd_preserve(crate::tools::memory(b"x")?)?;
            refused(first?.fd_unpreserve(token), Errno::ENOENT)?;
            same("unclaimed", attribute("unclaimed")?.as_str(), "discard\n")?;
            same("the token", token, Token((1 << 32) + 1))?;
            second.fd_unpreserve(token)?;
            load(c"liveupdate=off")?;
            bail!("{}", kexec::execute())
        }
        2 => {
            refused(first, Errno::ENOENT)?;
            bail!("{}", jump()?)
        }
        _ => same("updates", first?.info()?.update_count, 0),
    }
}
