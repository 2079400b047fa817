# SPDX-License-Identifier: MIT OR Apache-2.0
"""What can go wrong between a workload and the agent."""


class AgentGone(ConnectionError):
    """The connection to the agent is lost. Sessions are still there: `reconnect`."""


class ProtocolError(ConnectionError):
    """The other side of the socket does not speak as the agent does."""


# What errors say, as the client library in Rust and `luoctl` do, so that all of them are found in
# docs/trouble.md. A test compares.
SENTENCES = {
    "Denied": "denied: {reason}",
    "BadName": "not a name: {reason}",
    "WorkloadTaken": "somebody is connected as workload '{workload}' already",
    "NotRegistered": "the connection is not registered as a workload",
    "UpdateUnderWay": "not now: an update is under way ({phase}); try again when it is over",
    "NotExpected": "not expected: {reason}",
    "NoSuchSession": "there is no session '{session}' of this workload",
    "BadDescriptor": "a wrong descriptor: {reason}",
    "Kernel": "{call}: {message} (errno {errno})",
    "TooMany": "a limit is reached: {limit}",
}


class CallFailed(Exception):
    """The agent refuses a call.

    `name` is the error's name without its interface, `parameters` its values; as text it is a
    sentence.
    """

    def __init__(self, name: str, parameters: dict) -> None:
        self.name = name
        self.parameters = parameters
        super().__init__(self._words())

    def _words(self) -> str:
        try:
            return SENTENCES[self.name].format(**self.parameters)
        except KeyError:
            pass  # An error of a newer agent, or without what belongs to it.
        said = ", ".join(str(value) for value in self.parameters.values())
        return f"{self.name}: {said}" if said else self.name


class Busy(CallFailed):
    """The kernel hangs, or is at work on something else: nothing is lost, try again later."""


class Late(CallFailed):
    """Nothing waits for this answer any more. The next event says why."""
