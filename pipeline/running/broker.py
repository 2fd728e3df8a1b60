# SPDX-License-Identifier: Apache-2.0
"""The service's connection to the privilege broker (see `broker_process`)."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ebpf_sidecar.pipeline.process.capabilities import forbid_new_privileges, limit_capabilities
from ebpf_sidecar.pipeline.process.isolation import bare_python_file, python_module, start

_PROGRAM = Path(__file__).with_name("broker_process.py")
_IGNORED_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
)  # sent to all processes of a service, which drains
_ANSWER_SECONDS = 10.0
_END_SECONDS = 5.0
_MAX_PACKET = 8192


class BrokerClient:
    """A child that keeps ``capabilities`` and runs ``modules`` with them. Thread-safe. Raises `OSError`."""

    def __init__(self, modules: Sequence[str], capabilities: Collection[str]) -> None:
        self._lock = threading.Lock()
        self._numbers = count()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_ANSWER_SECONDS)

        def limit() -> None:
            for number in _IGNORED_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            limit_capabilities(capabilities, inheritable=True)
            forbid_new_privileges()

        command = bare_python_file(_PROGRAM, str(len(modules)), *modules, *python_module("")[:-1])
        with theirs:
            # a session of its own: signals from the terminal are for the service
            self._child = start(
                command, stdin=theirs, stdout=subprocess.DEVNULL, preexec_fn=limit, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The broker's process id."""
        return self._child.pid

    def run(self, module: str, channel: int, log: int) -> BrokerTask:
        """Run one of the modules. Raises `OSError`."""
        return BrokerTask(self, int(self.ask(f"run {module}", [channel, log])))

    def executable(self, pid: int) -> str:
        """The target of ``/proc/<pid>/exe``. Raises `OSError`."""
        return self.ask(f"exe {pid}")

    def ended(self) -> int | None:
        """The broker's exit status; None while it runs."""
        return self._child.poll()

    def close(self) -> None:
        """End the broker; safe to call twice."""
        self._channel.close()
        try:
            self._child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def ask(self, request: str, descriptors: Sequence[int] = (), seconds: float = 0.0) -> str:
        """The response to a request that may take ``seconds``. Raises `OSError`."""
        with self._lock:
            self._channel.settimeout(_ANSWER_SECONDS + seconds)
            asked = str(next(self._numbers))
            socket.send_fds(self._channel, [f"{asked} {request}".encode()], list(descriptors))
            answered = ""
            while answered != asked:  # an earlier caller may have been interrupted before its response arrived
                answered, _, answer = self._receive().partition(" ")
        number, _, result = answer.partition(" ")
        if number != "0":
            raise OSError(int(number), os.strerror(int(number)))
        return result

    def _receive(self) -> str:
        answer = self._channel.recv(_MAX_PACKET)
        if not answer:
            raise ConnectionResetError(errno.ECONNRESET, "the privilege broker has ended")
        return os.fsdecode(answer)


@dataclass(frozen=True, slots=True)
class BrokerTask:
    """A program that the broker started."""

    broker: BrokerClient
    pid: int

    def wait(self, seconds: float) -> int | None:
        """Its exit status, if it has ended by then."""
        try:
            answer = self.broker.ask(f"wait {self.pid} {seconds}", seconds=seconds)
        except OSError:
            return None
        return None if answer == "None" else int(answer)

    def end(self) -> None:
        """Kill it."""
        with suppress(OSError):  # it has ended, or the broker has, and ended it
            self.broker.ask(f"end {self.pid}")
