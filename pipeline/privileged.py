# SPDX-License-Identifier: Apache-2.0
"""What components ask for when they need rights that the service has given up."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ebpf_sidecar.pipeline.process.isolation import python_module, start


class PrivilegedTask(Protocol):
    """A program that was started on request."""

    def wait(self, seconds: float) -> int | None:
        """Its exit status, as `subprocess` has it; None when it still runs after ``seconds``, or nobody knows."""
        ...

    def end(self) -> None:
        """Kill it. Again, or when it has ended, is no error; nor is it when nobody can reach it any more."""
        ...


class PrivilegedOperations(Protocol):
    """Does what takes rights."""

    def run(self, module: str, channel: int, log: int) -> PrivilegedTask:
        """Run a module that the component's factory names. Raises `OSError`.

        ``channel``: a descriptor that becomes its standard input; ``log``: takes its output.
        """
        ...

    def executable(self, pid: int) -> str:
        """The target of ``/proc/<pid>/exe``. Raises `OSError`."""
        ...


@dataclass(frozen=True, slots=True)
class RequiredPrivileges:
    """Which rights a component needs, named as in capabilities(7) without ``CAP_``.

    ``modules``: those it runs through `PrivilegedOperations.run`; ``capabilities``: those that they may use. ``keep``
    returns what the service itself must keep on this kernel; it is called once, before privileges are dropped.
    """

    modules: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    keep: Callable[[], tuple[str, ...]] = tuple


@dataclass(frozen=True, slots=True)
class ChildTask:
    """A child of this process."""

    child: subprocess.Popen[bytes]

    def wait(self, seconds: float) -> int | None:
        """Its exit status, if it has ended by then."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """Kill it."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)  # with what it has started itself
            self.child.wait()


@dataclass(frozen=True, slots=True)
class DirectOperations:
    """With the rights of this process: for commands that end soon, and where none were given up."""

    def run(self, module: str, channel: int, log: int) -> ChildTask:
        """Run it as a child, in a process group of its own: Ctrl-C is for us, who end it."""
        return ChildTask(start(python_module(module), stdin=channel, stdout=log, stderr=log, process_group=0))

    def executable(self, pid: int) -> str:
        """As far as it may be read."""
        return os.readlink(f"/proc/{pid}/exe")  # noqa: PTH115 # a deleted file's is no path
