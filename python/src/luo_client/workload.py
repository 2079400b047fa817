# SPDX-License-Identifier: MIT OR Apache-2.0
"""A workload of the agent `luod`: the interface `org.liveupdate.Client`."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from dataclasses import dataclass
from typing import Iterable, Optional

from .errors import AgentGone, Busy, CallFailed, Late, ProtocolError
from .kernel import Session
from .varlink import Connection, checked

PREPARE = "prepare"
FREEZE = "freeze"
CANCEL = "cancel"

_INTERFACE = "org.liveupdate.Client"
# How long a connection attempt may take. An agent that hangs accepts none.
_CONNECT = 10.0
# The pause between two attempts to reach an agent that is started again.
_PAUSE = 0.1
# The pause before a call is made again that the kernel was too busy for.
_BUSY = 1.0


@dataclass(frozen=True)
class Event:
    """What the agent asks for."""

    kind: str
    """`PREPARE`, `FREEZE` or `CANCEL`."""
    update: str
    """The update's id."""
    deadline_ms: int
    """Milliseconds within which the answer has to be there; 0 for a cancel."""
    reason: Optional[str]
    """Why an update is off."""


class Workload:
    """A program that takes part in updates. Not for several threads at once."""

    def __init__(self, name: str, needs: Iterable[str], folder: Optional[str]) -> None:
        self.name = name
        self.needs = list(needs)
        self._folder = folder or os.environ.get("LUOD_RUNTIME_DIRECTORY", "/run/luod")
        self._sessions: dict[str, Session] = {}
        # Those among them that the previous kernel has left.
        self._incoming: set[str] = set()
        # Those that an agent had finished before it was lost.
        self._ended: dict[str, Session] = {}
        # The session that the agent was to make when it was lost.
        self._unmade: Optional[str] = None
        # An agent was told that this workload serves again.
        self._serves = False
        self._connect()

    @classmethod
    def register(
        cls, name: str, needs: Iterable[str] = (), folder: Optional[str] = None
    ) -> "Workload":
        """Registers with the agent. `folder` is that of its sockets, if not the usual."""
        return cls(name, needs, folder)

    def _connect(self) -> None:
        path = os.path.join(self._folder, "client")
        self._connection = Connection(path, _INTERFACE, _CONNECT)
        self._asked = False
        self._events: deque[Event] = deque()
        try:
            reply = self._call("Register", workload=self.name, needs=self.needs)
            self.phase: str = checked(reply, "phase", str)
            self.claimable: list[str] = checked(reply, "claimable", list)
        except BaseException:
            self._connection.close()
            raise

    def reconnect(self, timeout: float = 60.0) -> None:
        """Registers with an agent that was started again, and gives it the sessions.

        An update that was under way is off, unless the machine jumps: serve again.
        """
        self._connection.close()
        until = time.monotonic() + timeout
        while True:
            try:
                self._connect()
                # What the previous kernel has left and the agent does not know is finished: to
                # give it back would make it one for the next kernel.
                for name in self._incoming - set(self.claimable):
                    self._ended[name] = self._sessions.pop(name)
                self._incoming &= set(self.claimable)
                for name, session in self._sessions.items():
                    self._call("AttachSession", session.fileno(), name=name)
                if self._serves and self.phase == "updated":
                    self._serves_still()
                return
            except (AgentGone, FileNotFoundError, ConnectionRefusedError, TimeoutError):
                self._connection.close()
                if time.monotonic() >= until:
                    raise
            except CallFailed as why:
                self._connection.close()
                # An update is under way, or the agent has not seen yet that the connection is over.
                passes = why.name in ("UpdateUnderWay", "WorkloadTaken")
                if not passes or time.monotonic() >= until:
                    raise
            time.sleep(_PAUSE)

    def surely(self, call, *arguments, timeout: float = 60.0):
        """Makes a call of this workload, and again if the agent is lost in it, or busy.

        For the calls after the jump: what is not in a session again is with this program
        alone until then, so it must not end because the agent does, nor because the kernel
        hangs in somebody's file, which is waited for as long as it takes. `timeout` is that
        of `reconnect`. What the agent had done before it was lost is not done twice.

        A program that is to serve meanwhile has a thread for this, or makes the call itself
        and tries again by and by after `Busy`.
        """
        while True:
            try:
                return call(*arguments)
            except AgentGone:
                self.reconnect(timeout)
            except Busy:
                time.sleep(_BUSY)

    def fileno(self) -> int:
        """For `poll` and event loops: readable when `next_event(0)` may have one."""
        self._ask()
        return self._connection.fileno()

    def close(self) -> None:
        """Hangs up. In an update that cancels it: `unregister` or `detach` first."""
        self._connection.close()

    def unregister(self) -> None:
        """Ends being a workload."""
        self._call("Unregister")
        self.close()

    def create_session(self, name: str) -> Session:
        """A session for the next kernel; the agent keeps a copy.

        If an agent was lost in the same call, and had made it, it is that one.
        """
        is_unmade, self._unmade = self._unmade == name, None
        try:
            if is_unmade and name in self.claimable and name not in self._sessions:
                session, incoming = self.claim(name)
                if not incoming:
                    return session
            self._call("CreateSession", name=name)
            return self._keep(name)
        except AgentGone:
            self._unmade = name
            raise

    def attach_session(self, name: str, session: Session) -> None:
        """Gives the agent a copy of a session that the program has made itself."""
        self._call("AttachSession", session.fileno(), name=name)
        self._sessions[name] = session

    def drop_session(self, name: str) -> None:
        """Ends a session of this kernel, here and at the agent."""
        self._call("DropSession", name=name)
        self._forget(name)

    def declare(self, session: str, token: int, fd) -> dict:
        """Has the checks look at a file that is going to be preserved: their report."""
        fd = fd if isinstance(fd, int) else fd.fileno()
        return checked(self._call("Declare", fd, session=session, token=token), "report", dict)

    def claim(self, session: str) -> tuple[Session, bool]:
        """Takes a session back, and whether it is of the previous kernel.

        Waits until the workloads that this one needs serve again.
        """
        incoming = checked(self._call("Claim", session=session), "incoming", bool)
        kept = self._keep(session)
        if incoming:
            self._incoming.add(session)
        return kept, incoming

    def restored(self) -> None:
        """Serves again after an update: those who need it may go on.

        `reconnect` tells the next agent, too.
        """
        self._call("Restored")
        self._serves = True

    def _serves_still(self) -> None:
        """Tells an agent that was started again, whose notes may not say so."""
        with contextlib.suppress(Late):  # The update is over.
            self._call("Restored")

    def finish_session(self, name: str) -> None:
        """Finishes a session of the previous kernel, after all was retrieved.

        Raises `Busy` if the kernel hangs, or cannot let go of a file yet: serve on, and try
        again later.
        """
        ended = self._ended.pop(name, None)
        if ended is not None:
            ended.close()
            return
        self._call("FinishSession", name=name)
        self._forget(name)

    def next_event(self, timeout: Optional[float] = None) -> Optional[Event]:
        """What is to be done next; `None` if nothing has come after `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._events:
            self._ask()
            left = None if until is None else max(0.0, until - time.monotonic())
            reply = self._connection.receive(left)
            if reply is None:
                return None
            self._answered(reply)
        return self._events.popleft()

    def ready(self, event: Event) -> None:
        """Agrees to prepare or freeze."""
        self._answer(event, None)

    def veto(self, event: Event, reason: str) -> None:
        """Refuses, with a reason that an administrator understands."""
        self._answer(event, reason)

    def detach(self) -> None:
        """Leaves the sessions with the agent, until the same identity claims them."""
        self._call("Detach")
        self.close()

    def _answer(self, event: Event, veto: Optional[str]) -> None:
        self._call("Answer", update=event.update, step=event.kind, veto=veto)

    def _ask(self) -> None:
        if not self._asked:
            self._connection.send("NextEvent", {})
            self._asked = True

    def _answered(self, reply: dict) -> None:
        self._asked = False
        event = reply.get("event")
        if event is None:
            return
        if not isinstance(event, dict):
            raise ProtocolError("the agent's event is no object")
        self._events.append(
            Event(
                checked(event, "kind", str),
                checked(event, "update", str),
                checked(event, "deadline_ms", int),
                event.get("reason"),
            )
        )

    def _call(self, method: str, fd: Optional[int] = None, **parameters) -> dict:
        self._connection.send(method, parameters, fd)
        if self._asked:
            # A further call ends the wait for an event, which is answered first.
            self._answered(self._receive())
        return self._receive()

    def _receive(self) -> dict:
        reply = self._connection.receive()
        assert reply is not None, "without a timeout there is an answer or an error"
        return reply

    def _keep(self, name: str) -> Session:
        session = Session(self._connection.take_fd())
        self._sessions[name] = session
        self._ended.pop(name, None)
        self._incoming.discard(name)
        return session

    def _forget(self, name: str) -> None:
        self._incoming.discard(name)
        session = self._sessions.pop(name, None)
        if session is not None:
            session.close()
