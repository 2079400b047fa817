# SPDX-License-Identifier: MIT OR Apache-2.0
"""What can go wrong between a workload and the agent."""


class AgentGone(ConnectionError):
    """The connection to the agent is lost. Sessions are still there: `reconnect`."""


class ProtocolError(ConnectionError):
    """The other side of the socket does not speak as the agent does."""


class CallFailed(Exception):
    """The agent refuses a call.

    `name` is the error's name without its interface, `parameters` its values.
    """

    def __init__(self, name: str, parameters: dict) -> None:
        self.name = name
        self.parameters = parameters
        super().__init__(self._words())

    def _words(self) -> str:
        said = ", ".join(str(value) for value in self.parameters.values())
        return f"{self.name}: {said}" if said else self.name


class Late(CallFailed):
    """Nothing waits for this answer any more. The next event says why."""
