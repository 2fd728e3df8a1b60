# SPDX-License-Identifier: Apache-2.0
"""Operations for components that need privileges which the service has dropped."""

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
        """Its exit status as in `subprocess`; None if it still runs after ``seconds``, or if that is unknown."""
        ...

    def end(self) -> None:
        """Kill it. Not an error if it has already ended or can no longer be reached."""
        ...


class PrivilegedOperations(Protocol):
    """Performs operations that need privileges."""

    def run(self, module: str, channel: int, log: int) -> PrivilegedTask:
        """Run a module that the component's factory lists. Raises `OSError`.

        ``channel``: the descriptor that becomes its standard input; ``log``: receives its output.
        """
        ...

    def executable(self, pid: int) -> str:
        """The target of ``/proc/<pid>/exe``. Raises `OSError`."""
        ...


@dataclass(frozen=True, slots=True)
class RequiredPrivileges:
    """The privileges that a component needs, named as in capabilities(7) without ``CAP_``.

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
            os.killpg(self.child.pid, signal.SIGKILL)  # with everything that it has started
            self.child.wait()


@dataclass(frozen=True, slots=True)
class DirectOperations:
    """Uses this process's own privileges: for short-lived commands, and if none were dropped."""

    def run(self, module: str, channel: int, log: int) -> ChildTask:
        """Run it as a child in its own process group: Ctrl-C goes to this process, which ends it."""
        return ChildTask(start(python_module(module), stdin=channel, stdout=log, stderr=log, process_group=0))

    def executable(self, pid: int) -> str:
        """If permissions allow it."""
        return os.readlink(f"/proc/{pid}/exe")  # noqa: PTH115 # the target of a deleted file is not a path
