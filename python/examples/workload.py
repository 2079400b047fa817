#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Counts how often it was started, over any number of kernels."""

import mmap
import sys

import luo_client
from luo_client import FREEZE, PREPARE, AgentGone, CallFailed, Late, Workload

TOKEN = 1


def main():
    workload = Workload.register("counter")
    if "counter" in workload.claimable:
        session, _ = workload.surely(workload.claim, "counter")
        memory = session.retrieve(TOKEN)
        workload.surely(workload.restored)
        workload.surely(workload.finish_session, "counter")
    else:
        memory = luo_client.memory("starts", mmap.PAGESIZE)

    starts = mmap.mmap(memory, mmap.PAGESIZE)
    starts[0] += 1
    print("start", starts[0], flush=True)

    session = workload.surely(workload.create_session, "counter")
    session.preserve(memory, TOKEN)
    while True:
        try:
            event = workload.next_event()
            if event.kind in (PREPARE, FREEZE):
                # Before an answer to a freeze, a program that serves others stops doing so.
                workload.ready(event)
        except Late:
            pass  # The answer crossed with a cancel, which is the next event.
        except AgentGone:
            workload.reconnect()


try:
    main()
except (OSError, CallFailed) as why:
    sys.exit(f"workload: {why}")
