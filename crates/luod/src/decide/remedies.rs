// SPDX-License-Identifier: MIT OR Apache-2.0
//! Remedies for an error of a call of the kernel, or of the service manager.

use luo_sys::Errno;

/// Error numbers that the orchestrator's own interface does not have, with their names.
macro_rules! numbers {
    ($($name:ident = $number:literal;)*) => {
        $(pub(super) const $name: Errno = number($number);)*
        const NAMES: &[(Errno, &str)] = &[$(($name, stringify!($name)),)*];
    };
}

numbers! {
    ENOEXEC = 8;
    ETXTBSY = 26;
    ENOPKG = 65;
    EBADMSG = 74;
    ELIBBAD = 80;
    EADDRNOTAVAIL = 99;
    ETIMEDOUT = 110;
    ENOKEY = 126;
    EKEYREJECTED = 129;
}

/// An error number by its name, if it is one that calls fail with.
pub(super) fn word(errno: Errno) -> String {
    let known = NAMES.iter().find(|(known, _)| *known == errno);
    known.map_or_else(|| errno.to_string(), |(_, name)| (*name).to_owned())
}

/// Such a number.
pub(super) const fn number(number: i32) -> Errno {
    match Errno::check(-number) {
        Err(errno) => errno,
        Ok(_) => Errno::EIO,
    }
}

/// The handover is read when the device is opened, or before the first call.
const NOT_TAKEN_OVER: &str = "what the previous kernel handed over could not be taken over: \
                              `dmesg | grep luo` says why. It stays quarantined, and luod cannot \
                              run, until the machine is booted anew by its firmware, not by kexec; \
                              `luoctl history` tells without luod how far the update was";

/// Something else than this agent has loaded the image.
pub(super) const TAKES_NOTHING_OVER: &str = "the image that is loaded takes nothing over: another program has \
                                  loaded it over luod's, with kexec_load (`kexec -c`); find out \
                                  which, and update again";

/// The remedy for each call and error.
const REMEDIES: &[(&str, Errno, &str)] = &[
    (
        "open /dev/liveupdate",
        Errno::EBUSY,
        "somebody else has the device open: `fuser /dev/liveupdate` says who",
    ),
    (
        "open /dev/liveupdate",
        Errno::ENOENT,
        "this kernel has no live update: boot one with CONFIG_LIVEUPDATE=y and \
         'kho=on liveupdate=on' on its command line",
    ),
    ("open /dev/liveupdate", Errno::EIO, NOT_TAKEN_OVER),
    ("GET_INFO", Errno::EIO, NOT_TAKEN_OVER),
    ("LIST_SESSIONS", Errno::EIO, NOT_TAKEN_OVER),
    ("CREATE_SESSION", Errno::EIO, NOT_TAKEN_OVER),
    ("RETRIEVE_SESSION", Errno::EIO, NOT_TAKEN_OVER),
    (
        "open /dev/liveupdate",
        Errno::EACCES,
        "luod needs CAP_SYS_ADMIN",
    ),
    (
        "CREATE_SESSION",
        Errno::EEXIST,
        "a session of this name is there already (`luoctl sessions` says whose): close or claim it, or \
         choose another name",
    ),
    (
        "CREATE_SESSION",
        Errno::EBUSY,
        "a reboot is under way, or a step of an update, of whatever program: try again when it is \
         over",
    ),
    (
        "RETRIEVE_SESSION",
        Errno::ENOENT,
        "the previous kernel handed over no session of this name, or it is finished",
    ),
    (
        "RETRIEVE_SESSION",
        Errno::EINVAL,
        "somebody has retrieved this session already, and holds it",
    ),
    (
        "FINISH",
        Errno::EBUSY,
        "a handler or another call does not let go of it yet: `dmesg | grep luo` says more; try \
         again, or have luod let go of it with `luoctl release --force NAME`: the kernel finishes \
         it then as soon as it can",
    ),
    (
        "kexec_file_load",
        Errno::EPERM,
        "loading a kernel is not permitted: luod needs CAP_SYS_BOOT, and lockdown, \
         kernel.kexec_load_disabled or a missing signature may forbid it",
    ),
    (
        "kexec_file_load",
        ENOEXEC,
        "the image is not a kernel that this one can load",
    ),
    (
        "kexec_file_load",
        ENOKEY,
        "the image is signed with a key that this kernel does not know: `cat /proc/keys` and \
         `mokutil --list-enrolled` show those that it knows; install the distribution's own \
         image, or enroll the key with `mokutil --import`",
    ),
    (
        "kexec_file_load",
        EKEYREJECTED,
        "the image's signature does not fit it, its key is revoked or has expired, or this kernel \
         cannot check signatures of such images: install the image again; `dmesg` says more",
    ),
    (
        "kexec_file_load",
        Errno::ENODATA,
        "the image carries no signature, and this kernel loads none without: install the \
         distribution's own image, or sign it with a key that this kernel knows",
    ),
    (
        "kexec_file_load",
        ENOPKG,
        "the image's signature is made in a way that this kernel cannot check: sign it anew, with \
         SHA-256 say, or install the distribution's own image",
    ),
    (
        "kexec_file_load",
        ELIBBAD,
        "the image is no PE file that this kernel can read, so no signature is found in it: it is \
         damaged, or of a kind that carries none; install it again",
    ),
    (
        "kexec_file_load",
        Errno::EINVAL,
        "the kernel does not take the image or its command line: the line may be too long, or the \
         image compressed where only a plain one is loaded (arm64), or built for other pages or \
         another byte order; `luoctl check` looks at these",
    ),
    (
        "kexec_file_load",
        Errno::ENOMEM,
        "there is no memory for the kernel and its initrds now: free some, and try again",
    ),
    (
        "kexec_file_load",
        ETXTBSY,
        "a program writes to the image or to an initrd just now, a package manager say: try again \
         when it has ended",
    ),
    (
        "kexec_file_load",
        Errno::EACCES,
        "a policy of the machine forbids this image or initrd (IMA's appraisal, or a security \
         module's): `dmesg` and the audit log say which",
    ),
    (
        "kexec_file_load",
        EBADMSG,
        "the image's signature cannot be read: the image is damaged, or was changed after it \
         was signed; install it again, or sign it anew",
    ),
    (
        "kexec_file_load",
        Errno::EBUSY,
        "another kexec call is under way",
    ),
    (
        "kexec_file_load",
        EADDRNOTAVAIL,
        "the scratch area is too small for the image: boot with a larger kho_scratch=",
    ),
    (
        "reboot(KEXEC)",
        Errno::EINVAL,
        "no kernel is loaded any more",
    ),
    ("reboot(KEXEC)", Errno::EOPNOTSUPP, TAKES_NOTHING_OVER),
    (
        "reboot(KEXEC)",
        Errno::EBUSY,
        "another kexec call, or a call on a session, is under way and does not end: \
         `dmesg | grep luo` says more",
    ),
    (
        "reboot(KEXEC)",
        Errno::ENOLINK,
        "a file that is preserved needs one that is not: `dmesg | grep luo` says which",
    ),
    (
        "reboot(KEXEC)",
        Errno::EPERM,
        "luod may not reboot the machine: it needs CAP_SYS_BOOT",
    ),
    (
        "systemctl kexec",
        Errno::EIO,
        "the service manager has refused it: `journalctl -b` says why",
    ),
    (
        "systemctl kexec",
        Errno::EAGAIN,
        "the shutdown was begun, is off again, and the machine runs on: `journalctl -b` \
         says why",
    ),
];

/// The remedy for a call and an error, if one is known.
pub(super) fn remedy(call: &str, errno: Errno) -> Option<&'static str> {
    let mut remedies = REMEDIES.iter();
    let known = remedies.find(|(part, known, _)| call == *part && *known == errno);
    known.map(|(_, _, remedy)| *remedy)
}
