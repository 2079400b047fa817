# SPDX-License-Identifier: MIT OR Apache-2.0
"""`/dev/liveupdate` and sessions: the ioctls of `include/uapi/linux/liveupdate.h`."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

_TYPE = 0xBA << 8
_CREATE_SESSION = _TYPE | 0x00
_RETRIEVE_SESSION = _TYPE | 0x01
_PRESERVE_FD = _TYPE | 0x40
_RETRIEVE_FD = _TYPE | 0x41
_FINISH = _TYPE | 0x42
_GET_NAME = _TYPE | 0x43

# Each argument begins with its own size.
_NAMED = struct.Struct("=Ii64s")
_FILE = struct.Struct("=IiQ")
_PLAIN = struct.Struct("=II")
_NAME = struct.Struct("=II64s")


_CALLS = {
    _CREATE_SESSION: "CREATE_SESSION",
    _RETRIEVE_SESSION: "RETRIEVE_SESSION",
    _PRESERVE_FD: "PRESERVE_FD",
    _RETRIEVE_FD: "RETRIEVE_FD",
    _FINISH: "FINISH",
    _GET_NAME: "GET_NAME",
}

# What numbers mean that only this interface has in this sense.
_MEANINGS = {
    errno.EDQUOT: "this user has as many sessions, files or bytes as a user may have; "
    "/sys/kernel/liveupdate/user_* say how many, and users_* for all users together",
    errno.ENOTCONN: "the file needs one that its owner has not taken back yet; try again when "
    "that is there",
    errno.EAGAIN: "the file's handler is not here yet; try again when its kernel module is "
    "loaded: the kernel's log names it",
    errno.ENOTRECOVERABLE: "the reboot could not hand the file over, and it is lost; this "
    "kernel's log says why",
}


def failed(number: int, why: OSError) -> OSError:
    """An error of the kernel with the call that failed, and what the number means here."""
    meaning = _MEANINGS.get(why.errno, why.strerror)
    return OSError(why.errno, f"{_CALLS[number]}: {meaning}")


class _Descriptor:
    """Something with a descriptor of its own, which is closed with it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        if self._fd < 0:
            raise ValueError("it is closed")
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _call(self, number: int, kind: struct.Struct, *values) -> tuple:
        argument = bytearray(kind.pack(kind.size, *values))
        try:
            fcntl.ioctl(self.fileno(), number, argument)
        except OSError as why:
            raise failed(number, why) from None
        return kind.unpack(argument)


class Session(_Descriptor):
    """A session. Closing the last descriptor of one that has not jumped drops it."""

    @property
    def name(self) -> str:
        """Its name, as the kernel has it."""
        name = self._call(_GET_NAME, _NAME, 0, b"")[2]
        return name.split(b"\0", 1)[0].decode()

    def preserve(self, fd, token: int) -> None:
        """Keeps a file for the next kernel, under a number of the caller's choice."""
        fd = fd if isinstance(fd, int) else fd.fileno()
        self._call(_PRESERVE_FD, _FILE, fd, token)

    def retrieve(self, token: int) -> int:
        """Takes a file back from the previous kernel: a new descriptor."""
        return self._call(_RETRIEVE_FD, _FILE, -1, token)[1]

    def finish(self) -> None:
        """Lets go of what the previous kernel left. What was not retrieved is released."""
        self._call(_FINISH, _PLAIN, 0)


class Device(_Descriptor):
    """The device. One program of each user at a time may have it open.

    Where an administrator lets users open it, a user's sessions are its own: they are listed
    as `uid:<number>:<name>`, by which an administrator may name them, too.
    """

    @classmethod
    def open(cls, path: str = "/dev/liveupdate") -> "Device":
        return cls(os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def create_session(self, name: str) -> Session:
        """A session for the next kernel."""
        return self._session(_CREATE_SESSION, name)

    def retrieve_session(self, name: str) -> Session:
        """A session of the previous kernel."""
        return self._session(_RETRIEVE_SESSION, name)

    def _session(self, number: int, name: str) -> Session:
        data = name.encode()
        if not 1 <= len(data) <= 63 or 0 in data:
            raise ValueError("a session's name has 1 to 63 bytes, none of them zero")
        return Session(self._call(number, _NAMED, -1, data)[1])
