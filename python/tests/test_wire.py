# SPDX-License-Identifier: MIT OR Apache-2.0
"""The client against a made-up agent: what goes over the wire, and hostile answers."""

import errno
import json
import os
import socket
import tempfile
import threading
import unittest

from luo_client import PREPARE, AgentGone, CallFailed, Late, ProtocolError, Session, Workload
from luo_client.kernel import failed


class Agent:
    """Answers the calls of one connection by a script, and notes what was called."""

    def __init__(self, folder, script):
        self.calls = []
        self.fds = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(os.path.join(folder, "client"))
        self._socket.listen()
        self._script = script
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        peer, _ = self._socket.accept()
        buffer = b""
        with peer, self._socket:
            for answers in self._script:
                while b"\0" not in buffer:
                    data, fds, _, _ = socket.recv_fds(peer, 65536, 4)
                    if not data:
                        return
                    self.fds += fds
                    buffer += data
                message, _, buffer = buffer.partition(b"\0")
                call = json.loads(message)
                method = call["method"].rpartition(".")[2]
                self.calls.append((method, call.get("parameters", {})))
                for answer in answers:
                    fd = None
                    if isinstance(answer, tuple):
                        answer, fd = answer
                    if not isinstance(answer, bytes):
                        answer = json.dumps(answer).encode() + b"\0"
                    socket.send_fds(peer, [answer], [] if fd is None else [fd])

    def join(self):
        self._thread.join(10)
        assert not self._thread.is_alive()


REGISTERED = [{"parameters": {"phase": "normal", "claimable": ["s1"]}}]
EVENT = {"kind": "prepare", "update": "u1", "deadline_ms": 5000}


class Wire(unittest.TestCase):
    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)

    def workload(self, *script):
        self.agent = Agent(self._folder.name, [REGISTERED, *script])
        workload = Workload.register("cache", ["db"], self._folder.name)
        self.addCleanup(workload.close)
        return workload

    def test_a_workload_goes_through_an_update(self):
        with open("/dev/null") as null:
            workload = self.workload(
                [({"parameters": {}}, null.fileno())],
                [{"parameters": {"event": EVENT}}],
                [{"parameters": {}}],
            )
            self.assertEqual(workload.claimable, ["s1"])
            session = workload.create_session("s2")
            self.assertTrue(os.path.samestat(os.fstat(session.fileno()), os.stat("/dev/null")))
            event = workload.next_event(10)
            self.assertEqual((event.kind, event.reason), (PREPARE, None))
            workload.ready(event)
        self.agent.join()
        self.assertEqual(
            self.agent.calls,
            [
                ("Register", {"workload": "cache", "needs": ["db"]}),
                ("CreateSession", {"name": "s2"}),
                ("NextEvent", {}),
                ("Answer", {"update": "u1", "step": "prepare", "veto": None}),
            ],
        )

    def test_a_call_ends_the_wait_for_an_event_and_loses_none(self):
        workload = self.workload(
            [],
            [{"parameters": {"event": EVENT}}, {"parameters": {}}],
        )
        self.assertIsNone(workload.next_event(0))
        workload.restored()
        self.assertEqual(workload.next_event(0).update, "u1")

    def test_a_descriptor_goes_with_a_call(self):
        report = {"ok": False, "checks": []}
        workload = self.workload([{"parameters": {"report": report}}])
        with open("/dev/null") as null:
            self.assertEqual(workload.declare("s2", 7, null), report)
        self.agent.join()
        self.assertEqual(len(self.agent.fds), 1)
        os.close(self.agent.fds[0])

    def test_refusals_have_words(self):
        error = {"error": "org.liveupdate.Client.Denied", "parameters": {"reason": "no"}}
        late = {"error": "org.liveupdate.Client.NotExpected", "parameters": {"reason": "off"}}
        workload = self.workload([error], [late])
        with self.assertRaises(CallFailed) as denied:
            workload.create_session("s3")
        self.assertEqual(str(denied.exception), "Denied: no")
        with self.assertRaises(Late):
            workload.restored()

    def test_what_is_no_answer_is_refused(self):
        for answer in (
            b"{]\0",
            b"[1]\0",
            {"parameters": {}},
            {"parameters": {"incoming": "yes"}},
        ):
            with self.subTest(answer=answer):
                self.setUp()
                workload = self.workload([answer])
                with self.assertRaises(ProtocolError):
                    workload.claim("s1")

    def test_an_agent_that_hangs_up_is_told_apart(self):
        workload = self.workload()
        self.agent.join()
        with self.assertRaises(AgentGone):
            workload.restored()
            workload.restored()


class Kernel(unittest.TestCase):
    def test_errors_say_which_call_and_what_it_means_here(self):
        number = 0xBA << 8 | 0x41
        for code, words in (
            (errno.EDQUOT, "user_"),
            (errno.ENOTCONN, "its owner"),
            (errno.ENOTRECOVERABLE, "it is lost"),
            (errno.ENOENT, "No such file"),
        ):
            error = failed(number, OSError(code, os.strerror(code)))
            self.assertEqual(error.errno, code)
            self.assertIn("RETRIEVE_FD: ", str(error))
            self.assertIn(words, str(error))
        self.assertIsInstance(error, FileNotFoundError)

    def test_a_file_that_is_no_session_is_told_as_one(self):
        with open("/dev/null") as null, Session(os.dup(null.fileno())) as session:
            with self.assertRaisesRegex(OSError, "GET_NAME: "):
                session.name


if __name__ == "__main__":
    unittest.main()
