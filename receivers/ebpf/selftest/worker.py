# SPDX-License-Identifier: Apache-2.0
"""Runs one workload script in a separate process with a unique name."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.pipeline.process.isolation import bare_python, start

SCRIPTS = Path(__file__).parent / "workloads"
_START = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[2].rpartition("/")[0]]
del sys.argv[:2]
exec(compile(open(sys.argv[0], "rb").read(), sys.argv[0], "exec"))
"""
"""Runs a script that can import our `window`, wherever it is located."""
Facts = Mapping[str, float]


class WorkloadError(ProbeError):
    """A workload could not be completed here."""


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """The result of a run: the script's own numbers, and what was measured right before and right after its action."""

    facts: Facts
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Worker:
    """Starts scripts. ``folder``: for the links that name them; ``timeout``: seconds per script.

    A process is named after the executed file, so each gets its own link to Python: unlike a process id, a name is the
    same in every PID namespace, and threads and children keep it.
    """

    folder: Path
    timeout: float = 300

    def run(self, script: str, arguments: Sequence[str], name: str, measure: Callable[[int], Any]) -> WorkerResult:
        """Run ``script`` to its end; ``measure`` is called with its process id. Raises `WorkloadError` if it fails."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(self.timeout)
            child = self._start([script, *arguments], name, theirs)
            theirs.close()
            try:
                return _exchange(ours, child.pid, measure)
            except (EOFError, TimeoutError, ValueError) as error:
                raise WorkloadError(
                    f"workload {script} {arguments[0]} failed: {str(error) or _last_error_line(child)}"
                ) from error
            finally:
                ours.close()
                _end(child)

    def _start(self, arguments: Sequence[str], name: str, channel: socket.socket) -> subprocess.Popen[bytes]:
        link = self.folder / name
        if not link.is_symlink():
            link.symlink_to(Path(sys.executable).resolve())
        script = str(SCRIPTS / arguments[0])
        command = bare_python(_START, str(SCRIPTS), script, *arguments[1:], executable=str(link.absolute()))
        return start(command, stdin=channel.fileno(), stderr=subprocess.PIPE)


def _exchange(channel: socket.socket, pid: int, measure: Callable[[int], Any]) -> WorkerResult:
    with channel.makefile("rb") as lines:
        _line(lines)
        before = measure(pid)
        channel.sendall(b"g")
        facts = json.loads(_line(lines))
        return WorkerResult(facts, before, measure(pid))


def _line(lines: Any) -> bytes:
    line: bytes = lines.readline()
    if not line:
        raise EOFError
    return line


def _last_error_line(child: subprocess.Popen[bytes]) -> str:
    """The last line of its stderr."""
    text = child.communicate(timeout=10)[1].decode(errors="replace").strip()
    return text.splitlines()[-1] if text else f"it exited with code {child.returncode}"


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        try:
            child.wait(2)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child.stderr:
        child.stderr.close()
