# SPDX-License-Identifier: MIT OR Apache-2.0
"""Calls over a Unix socket: JSON, a zero byte at the end, descriptors beside it."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import time
from collections import deque
from typing import Any, Optional

from .errors import AgentGone, Busy, CallFailed, Late, ProtocolError

# A reply is never longer. A longer one is not the agent's.
MAX_REPLY = 16 * 1024 * 1024
# Descriptors that may come with one read. The agent sends one with a message.
MAX_FDS = 4
# How much is read at once.
PART = 64 * 1024


_HANGS = (
    "it does not accept connections; `systemctl status luod` (without systemd "
    "`ps -o pid,stat,wchan -C luod`) says whether it hangs"
)

# What to do when a socket cannot be connected to, as the client library in Rust says it.
_HINTS = {
    errno.EACCES: "it is for root and for members of the group 'luo' (`usermod --append --groups "
    "luo USER`, or SupplementaryGroups=luo in the unit)",
    errno.ENOENT: "is luod running?",
    errno.ECONNREFUSED: "is luod running?",
    # The end of its queue, and of the patience.
    errno.EAGAIN: _HANGS,
    errno.ETIMEDOUT: _HANGS,
}


def unreachable(path: str, why: OSError) -> OSError:
    """An error of connect with the socket, and what to do. Its class stays what it is."""
    # The end of the patience has no number of its own.
    number = errno.ETIMEDOUT if isinstance(why, socket.timeout) else why.errno
    if number is None:
        # The path itself is of no use: too long, or with a zero in it.
        return OSError(errno.EINVAL, f"the live update agent cannot be reached: {why}", path)
    words = f"the live update agent cannot be reached: {os.strerror(number)}"
    hint = _HINTS.get(number)
    return OSError(number, f"{words}; {hint}" if hint else words, path)


class Connection:
    """One connection. Calls are answered in their order."""

    def __init__(self, path: str, interface: str, timeout: float) -> None:
        self._interface = interface
        self._buffer = bytearray()
        self._fds: deque[int] = deque()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            self._socket.settimeout(None)
        except OSError as error:
            self._socket.close()
            raise unreachable(path, error) from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
        while self._fds:
            os.close(self._fds.popleft())

    def send(self, method: str, parameters: dict, fd: Optional[int] = None) -> None:
        """Sends a call; a descriptor travels with its first byte."""
        call = {"method": f"{self._interface}.{method}"}
        if parameters:
            call["parameters"] = parameters
        data = json.dumps(call).encode() + b"\0"
        try:
            sent = socket.send_fds(self._socket, [data], [] if fd is None else [fd])
            # An agent that has answered and hung up is no failure of a whole call.
            if sent < len(data):
                self._socket.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise AgentGone("the connection to the agent is lost") from error

    def receive(self, timeout: Optional[float] = None) -> Optional[dict]:
        """The next reply's values; `None` if none has come after `timeout` seconds.

        Raises `CallFailed` if the reply is an error.
        """
        message = self._message(timeout)
        if message is None:
            return None
        try:
            reply = json.loads(message)
            parameters = reply.get("parameters") or {}
            error = reply.get("error")
        except (ValueError, AttributeError) as why:
            raise ProtocolError("the agent's reply is no JSON object") from why
        if error is None:
            return parameters
        name = str(error).rpartition(".")[2]
        raise kind_of(name, parameters)(name, parameters)

    def take_fd(self) -> int:
        """The descriptor that came with the last reply. It is the caller's now."""
        if not self._fds:
            raise ProtocolError("the agent's reply came without a descriptor")
        return self._fds.popleft()

    def _message(self, timeout: Optional[float]) -> Optional[bytes]:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            end = self._buffer.find(b"\0")
            if end >= 0:
                message = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return message
            if len(self._buffer) > MAX_REPLY:
                raise ProtocolError(f"the agent's reply is longer than {MAX_REPLY} bytes")
            if until is not None:
                left = max(0.0, until - time.monotonic())
                if not select.select([self._socket], [], [], left)[0]:
                    return None
            self._read()

    def _read(self) -> None:
        try:
            data, fds, flags, _ = socket.recv_fds(
                self._socket, PART, MAX_FDS, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError as error:
            raise AgentGone("the connection to the agent is lost") from error
        self._fds.extend(fds)
        if flags & socket.MSG_CTRUNC:
            raise ProtocolError("the agent sent more descriptors than one a message")
        if not data:
            raise AgentGone("the agent has closed the connection")
        self._buffer += data


def kind_of(name: str, parameters: dict) -> type[CallFailed]:
    """The class of an error of the agent."""
    if name == "NotExpected":
        return Late
    if name == "Kernel" and parameters.get("errno") in (errno.EBUSY, errno.ETIMEDOUT):
        return Busy
    return CallFailed


def checked(parameters: dict, key: str, kind: type) -> Any:
    """A value of a reply, which has to be of that kind."""
    value = parameters.get(key)
    if not isinstance(value, kind):
        raise ProtocolError(f"the agent's reply has no {key!r} of the right kind")
    return value
