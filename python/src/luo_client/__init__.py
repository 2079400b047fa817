# SPDX-License-Identifier: MIT OR Apache-2.0
"""Live updates of the Linux kernel, for programs that are to survive them.

`Workload` takes part in updates that the agent `luod` runs. `Device` and `Session` are
the kernel's own interface, `/dev/liveupdate`. `memory` makes what can be preserved.
"""

from .errors import AgentGone, Busy, CallFailed, Late, ProtocolError
from .kernel import Device, Session
from .memory import memory
from .workload import CANCEL, FREEZE, PREPARE, Event, Workload

__all__ = [
    "CANCEL",
    "FREEZE",
    "PREPARE",
    "AgentGone",
    "Busy",
    "CallFailed",
    "Device",
    "Event",
    "Late",
    "ProtocolError",
    "Session",
    "Workload",
    "memory",
]
