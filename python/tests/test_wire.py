# SPDX-License-Identifier: MIT OR Apache-2.0
"""The client against a made-up agent: what goes over the wire, and hostile answers."""

import contextlib
import errno
import io
import json
import mmap
import os
import runpy
import socket
import tempfile
import threading
import unittest
from unittest import mock

from luo_client import PREPARE, AgentGone, Busy, CallFailed, Late, ProtocolError, Session, Workload
from luo_client.kernel import failed


class Agent:
    """Answers the calls of each connection by a script, and notes what was called."""

    def __init__(self, folder, *scripts):
        self.calls = []
        self.fds = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(os.path.join(folder, "client"))
        self._socket.listen()
        self._scripts = scripts
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        with self._socket:
            for script in self._scripts:
                self._serve_one(script)

    def _serve_one(self, script):
        peer, _ = self._socket.accept()
        buffer = b""
        with peer:
            for answers in script:
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
AFTER_THE_JUMP = [{"parameters": {"phase": "updated", "claimable": []}}]
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
        self.assertEqual(str(denied.exception), "denied: no")
        with self.assertRaises(Late):
            workload.restored()

    def test_a_kernel_that_hangs_is_asked_again(self):
        def busy(number):
            parameters = {"call": "FINISH", "errno": number, "message": "it hangs"}
            return [{"error": "org.liveupdate.Client.Kernel", "parameters": parameters}]

        workload = self.workload(
            busy(errno.ETIMEDOUT), busy(errno.EBUSY), busy(errno.EBUSY), [{"parameters": {}}]
        )
        with self.assertRaises(Busy):
            workload.finish_session("s1")
        with mock.patch("luo_client.workload.time.sleep") as pause:
            workload.surely(workload.finish_session, "s1")
        self.assertEqual(pause.call_count, 2)
        self.agent.join()
        self.assertEqual([call for call, _ in self.agent.calls], ["Register"] + ["FinishSession"] * 4)

    def test_an_error_that_is_not_known_has_words_too(self):
        self.assertEqual(str(CallFailed("Newer", {"what": "it"})), "Newer: it")
        self.assertEqual(str(CallFailed("Kernel", {"call": "FINISH"})), "Kernel: FINISH")
        self.assertEqual(str(CallFailed("Newer", {})), "Newer")

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

    def test_the_next_agent_is_told_that_it_serves_as_soon_as_it_lets_it_in(self):
        client = "org.liveupdate.Client."
        busy = {"error": client + "UpdateUnderWay", "parameters": {"phase": "cancelling"}}
        taken = {"error": client + "WorkloadTaken", "parameters": {"workload": "cache"}}
        over = {"error": client + "NotExpected", "parameters": {"reason": "it is over"}}
        done = {"parameters": {}}
        self.agent = Agent(
            self._folder.name,
            [REGISTERED, [done]],
            [[busy]],
            [[taken]],
            [AFTER_THE_JUMP, [over], [done]],
        )
        workload = Workload.register("cache", ["db"], self._folder.name)
        self.addCleanup(workload.close)
        workload.restored()
        workload.surely(workload.unregister)
        self.agent.join()
        called = [method for method, _ in self.agent.calls]
        again = ["Register", "Register", "Register", "Restored", "Unregister"]
        self.assertEqual(called, ["Register", "Restored", *again])

    def test_an_agent_that_hangs_up_is_told_apart(self):
        workload = self.workload()
        self.agent.join()
        with self.assertRaises(AgentGone):
            workload.restored()
            workload.restored()


class Unreachable(unittest.TestCase):
    """Who cannot connect is told where to, why, and what to do."""

    def refused(self, folder, kind):
        with self.assertRaises(kind) as refused:
            Workload.register("cache", (), folder)
        self.assertEqual(refused.exception.filename, os.path.join(folder, "client"))
        self.assertIn("the live update agent cannot be reached", str(refused.exception))
        return str(refused.exception)

    def test_an_agent_that_does_not_run(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertIn("is luod running?", self.refused(folder, FileNotFoundError))
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
                left.bind(os.path.join(folder, "client"))
            self.assertIn("is luod running?", self.refused(folder, ConnectionRefusedError))

    def test_a_user_who_may_not(self):
        denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with mock.patch.object(socket.socket, "connect", side_effect=denied):
            words = self.refused("/run/luod", PermissionError)
        self.assertIn("members of the group 'luo'", words)
        self.assertIn("SupplementaryGroups=luo", words)
        self.assertIn("/run/luod/client", words)

    def test_an_agent_that_hangs(self):
        with mock.patch.object(socket.socket, "connect", side_effect=socket.timeout("timed out")):
            self.assertIn("whether it hangs", self.refused("/run/luod", TimeoutError))

    def test_a_path_that_is_none(self):
        with self.assertRaisesRegex(OSError, "cannot be reached: .*too long"):
            Workload.register("cache", (), "/run/" + "x" * 200)


class Restarted(unittest.TestCase):
    """An agent that is lost in each of the calls after the jump, and started again."""

    CUTS = ("Claim", "Restored", "AttachSession", "FinishSession", "CreateSession")

    def serve(self, listener, null, is_done):
        """`is_done` says whether it is lost after it has done what it was asked for."""
        incoming = True
        claimable = ["counter"]
        cuts = list(self.CUTS)
        with listener:
            while True:
                peer, _ = listener.accept()
                cut = cuts.pop(0) if cuts else "NextEvent"
                with peer:
                    buffer = b""
                    while True:
                        data, fds, _, _ = socket.recv_fds(peer, 65536, 4)
                        for fd in fds:
                            os.close(fd)
                        if not data:
                            break
                        buffer += data
                        if b"\0" not in buffer:
                            continue
                        message, _, buffer = buffer.partition(b"\0")
                        method = json.loads(message)["method"].rpartition(".")[2]
                        self.calls.append(method)
                        if method == "NextEvent":
                            error = {"error": "org.liveupdate.Client.Denied", "parameters": {}}
                            peer.sendall(json.dumps(error).encode() + b"\0")
                            return
                        is_cut = method == cut
                        if method == "FinishSession" and (is_done or not is_cut):
                            claimable, incoming = [], False
                        if method == "CreateSession" and (is_done or not is_cut):
                            claimable = ["counter"]
                        if is_cut:
                            break
                        replies = {
                            "Register": {"phase": "updated", "claimable": claimable},
                            "Claim": {"incoming": incoming},
                        }
                        reply = {"parameters": replies.get(method, {})}
                        answer = json.dumps(reply).encode() + b"\0"
                        fds = [null.fileno()] if method in ("Claim", "CreateSession") else []
                        socket.send_fds(peer, [answer], fds)

    def calls_of_the_example(self, is_done):
        self.calls = []
        example = os.path.join(os.path.dirname(__file__), "../examples/workload.py")
        memory = os.memfd_create("starts")
        os.ftruncate(memory, mmap.PAGESIZE)
        with tempfile.TemporaryDirectory() as folder, open("/dev/null") as null:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(os.path.join(folder, "client"))
            listener.listen()
            thread = threading.Thread(target=self.serve, args=(listener, null, is_done), daemon=True)
            thread.start()
            with mock.patch.dict(os.environ, LUOD_RUNTIME_DIRECTORY=folder), mock.patch.object(
                Session, "retrieve", lambda session, token: memory
            ), mock.patch.object(
                Session, "preserve", lambda session, file, token: None
            ), contextlib.redirect_stdout(io.StringIO()) as said:
                with self.assertRaisesRegex(SystemExit, "(?i)^workload: denied"):
                    runpy.run_path(example, run_name="__main__")
            thread.join(10)
        self.assertEqual(said.getvalue(), "start 1\n")
        return self.calls

    UP_TO_FINISH = (
        *("Register", "Claim"),
        *("Register", "Claim", "Restored"),
        *("Register", "AttachSession"),
        *("Register", "AttachSession", "Restored", "FinishSession"),
    )

    def test_the_example_goes_on(self):
        expected = [*self.UP_TO_FINISH]
        expected += ["Register", "AttachSession", "Restored", "FinishSession", "CreateSession"]
        expected += ["Register", "Restored", "CreateSession", "NextEvent"]
        self.assertEqual(self.calls_of_the_example(is_done=False), expected)

    def test_what_the_lost_agent_had_done_is_not_done_twice(self):
        expected = [*self.UP_TO_FINISH]
        expected += ["Register", "Restored", "CreateSession"]
        expected += ["Register", "Restored", "Claim", "NextEvent"]
        self.assertEqual(self.calls_of_the_example(is_done=True), expected)


class Kernel(unittest.TestCase):
    def test_errors_say_which_call_and_what_it_means_here(self):
        number = 0xBA << 8 | 0x41
        for code, words in (
            (errno.EDQUOT, "user_"),
            (errno.ENOTCONN, "its owner"),
            (errno.EAGAIN, "module is loaded"),
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
