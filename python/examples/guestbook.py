# SPDX-License-Identifier: MIT OR Apache-2.0
"""A guest book that is kept in memory: who opens its FIFO is a visitor."""

import mmap
import sys

import luo_client
from luo_client import FREEZE, PREPARE, AgentGone, CallFailed, Late, Workload

TOKEN = 1


def main():
    workload = Workload.register("guestbook")
    if "guestbook" in workload.claimable:
        # After the jump: the memory comes back.
        session, _ = workload.surely(workload.claim, "guestbook")
        memory = session.retrieve(TOKEN)
        workload.surely(workload.restored)
        workload.surely(workload.finish_session, "guestbook")
    else:
        # A first start: memory that can be preserved.
        memory = luo_client.memory("guestbook", mmap.PAGESIZE)

    book = mmap.mmap(memory, mmap.PAGESIZE)
    visitors = int.from_bytes(book[:8], "little") + 100
    book[:8] = visitors.to_bytes(8, "little")
    print("visitors so far:", visitors, flush=True)

    session = workload.surely(workload.create_session, "guestbook")
    session.preserve(memory, TOKEN)
    while True:
        try:
            event = workload.next_event()
            if event.kind in (PREPARE, FREEZE):
                # Before an answer to a freeze a real guest book would close its door.
                workload.ready(event)
        except Late:
            pass  # The answer crossed with a cancel, which is the next event.
        except AgentGone:
            workload.reconnect()


try:
    main()
except (OSError, CallFailed) as why:
    sys.exit(f"guestbook: {why}")
