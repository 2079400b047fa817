# SPDX-License-Identifier: MIT OR Apache-2.0
"""Memory that can be preserved."""

import errno
import os
import unittest
from unittest import mock

from luo_client import memory


class Memory(unittest.TestCase):
    def test_it_may_be_executed_where_the_machine_lets_it(self):
        asked = []
        real = os.memfd_create

        def create(name, flags, refuse=None):
            asked.append(flags)
            if flags & 0x10 and refuse:
                raise OSError(refuse, os.strerror(refuse))
            return real(name, flags & ~0x10)

        for refuse, calls in [(None, 1), (errno.EINVAL, 2), (errno.EACCES, 2)]:
            asked.clear()
            with mock.patch("os.memfd_create", lambda name, flags: create(name, flags, refuse)):
                fd = memory("ram", 4097)
            self.assertEqual(os.fstat(fd).st_size, 4097)
            self.assertFalse(os.get_inheritable(fd))
            os.close(fd)
            self.assertEqual([bool(flags & 0x10) for flags in asked], [True, False][:calls])

    def test_what_cannot_be_is_an_error(self):
        for name, size in [("x" * 300, 1), ("ram", -1)]:
            with self.assertRaises(OSError) as refused:
                memory(name, size)
            self.assertEqual(refused.exception.errno, errno.EINVAL)


if __name__ == "__main__":
    unittest.main()
