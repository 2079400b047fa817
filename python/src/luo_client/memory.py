# SPDX-License-Identifier: MIT OR Apache-2.0
"""Memory that can be preserved."""

from __future__ import annotations

import errno
import os

# os has the name from Python 3.14 on.
_MFD_EXEC = 0x10


def memory(name: str, size: int) -> int:
    """Makes a memfd of `size` bytes, and gives its descriptor.

    Where the machine lets it, the memfd is one that may be executed, even if
    `vm.memfd_noexec` says that others are not: one that may not comes back from an update
    sealed against every change.
    """
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create(name, flags | _MFD_EXEC)
    except OSError as why:
        # Kernels before 6.3 do not know the flag, and some machines forbid it.
        if why.errno not in (errno.EINVAL, errno.EACCES):
            raise
        fd = os.memfd_create(name, flags)
    try:
        os.ftruncate(fd, size)
    except OSError:
        os.close(fd)
        raise
    return fd
