#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What `luoctl hold` and `luoctl take` run: the session is standard input."""

import os
import sys

import luo_client
from luo_client import CallFailed

TOKEN = 7


def main():
    session = luo_client.Session(0)
    if sys.argv[1] == "save":
        memory = luo_client.memory("dump", 4096)
        os.pwrite(memory, sys.argv[2].encode(), 0)
        session.preserve(memory, TOKEN)
    else:
        memory = session.retrieve(TOKEN)
        print(os.pread(memory, 4096, 0).rstrip(b"\0").decode())


try:
    main()
except (OSError, CallFailed) as why:
    sys.exit(f"dump: {why}")
