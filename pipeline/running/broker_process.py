# SPDX-License-Identifier: Apache-2.0
"""The privilege broker: a small process that keeps the privileges that the service drops, and uses them on request.

Runs standalone, with the standard library only: ``broker_process.py <number of modules> <modules…> <command line…>``;
a module's name is appended to the command line. Standard input is the socket to the service (SOCK_SEQPACKET), which
sends one request per packet. When the service ends for any reason, the broker ends, and with it all that it started.

==================  ===========================================================================================
``run <module>``    starts one of the modules named above; two descriptors are attached: its input and its log
``wait <pid> <s>``  the exit status of what was started, or ``None`` after that many seconds
``end <pid>``       kills it
``exe <pid>``       the target of ``/proc/<pid>/exe``
==================  ===========================================================================================

Each request starts with a number. The response is this number, then ``0 <result>`` or an errno.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence

_MAX_PACKET = 4096
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # by the broker from its start on, but not by its children
_PAUSE = 0.005


class BrokerServer:
    """Serves one service. ``modules``: those that may be run; ``command``: runs one when its name is appended."""

    def __init__(self, modules: Sequence[str], command: Sequence[str]) -> None:
        self._modules, self._command = modules, command
        self._running: set[int] = set()

    def serve(self, channel: socket.socket) -> None:
        """Respond to requests until the other end is closed."""
        while True:
            request, descriptors, _, _ = socket.recv_fds(channel, _MAX_PACKET, 2, socket.MSG_CMSG_CLOEXEC)
            if not request:
                return
            number, _, rest = request.partition(b" ")
            try:
                answer = b"0 " + os.fsencode(self._answer(os.fsdecode(rest).split(), descriptors))
            except (OSError, ValueError, IndexError, TypeError) as error:
                answer = str(getattr(error, "errno", None) or errno.EINVAL).encode()
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            channel.send(number + b" " + answer)

    def end_all(self) -> None:
        """Kill everything that still runs."""
        for pid in list(self._running):
            self._end(pid)

    def _answer(self, request: Sequence[str], descriptors: Sequence[int]) -> str:
        what, argument = request[:2]
        if what == "exe":
            return os.readlink(f"/proc/{int(argument)}/exe")  # noqa: PTH115 # pathlib would double our memory
        if what == "run":
            return self._run(argument, *descriptors)
        if int(argument) not in self._running:
            raise ProcessLookupError(errno.ESRCH, "not ours")
        return self._end(int(argument)) if what == "end" else str(self._wait(int(argument), float(request[2])))

    def _run(self, module: str, channel: int, log: int) -> str:
        if module not in self._modules:
            raise PermissionError(errno.EPERM, "not among the modules")
        streams = [(os.POSIX_SPAWN_DUP2, channel, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        command = [*self._command, module]
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=streams, setpgroup=0, setsigdef=_IGNORED)
        self._running.add(pid)
        return str(pid)

    def _wait(self, pid: int, seconds: float) -> int | None:
        until = time.monotonic() + seconds
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._running.discard(pid)
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= until:
                return None
            time.sleep(_PAUSE)

    def _end(self, pid: int) -> str:
        os.killpg(pid, signal.SIGKILL)  # not reaped yet, so the pid is still valid
        os.waitpid(pid, 0)
        self._running.discard(pid)
        return ""


def main(arguments: Sequence[str]) -> None:
    """Serve the socket on standard input."""
    count = int(arguments[0])
    broker = BrokerServer(arguments[1 : count + 1], arguments[count + 1 :])
    with socket.socket(fileno=0) as channel:
        os.set_inheritable(0, False)  # noqa: FBT003 # the parameter has no name
        try:
            broker.serve(channel)
        except OSError:  # the service is gone
            pass
        finally:
            broker.end_all()


if __name__ == "__main__":
    main(sys.argv[1:])
