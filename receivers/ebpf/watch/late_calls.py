# SPDX-License-Identifier: Apache-2.0
"""The few privileged system calls after loading, made by a short-lived child that has the privileges.

They enable run statistics (for the canary) and open the events of a CPU that came online late. The child hands over the
descriptor; the kernel object stays.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ebpf_sidecar.pipeline.privileged import PrivilegedOperations
from ebpf_sidecar.receivers.ebpf.kernel.bpf_stats import enable_statistics
from ebpf_sidecar.receivers.ebpf.kernel.fd_passing import receive_message, send_message
from ebpf_sidecar.receivers.ebpf.kernel.perf_event import open_event

MODULE = __name__
"""The child's module."""
_SECONDS = 10.0
_EVENT, _STATISTICS = "event", "statistics"


@dataclass(frozen=True, slots=True)
class LateCalls:
    """Has them made by ``privileged``. All return a descriptor, and raise `OSError` if refused."""

    privileged: PrivilegedOperations

    def open_event(self, program: int, event: int, cpu: int) -> int:
        """As `perf_event.open_event`."""
        return self._ask({"call": _EVENT, "event": event, "cpu": cpu}, [program])

    def enable_statistics(self) -> int:
        """As `bpf_stats.enable_statistics`."""
        return self._ask({"call": _STATISTICS}, [])

    def _ask(self, request: dict[str, Any], descriptors: Sequence[int]) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs, open(os.devnull, "wb") as log:  # noqa: PTH123 # as short
            ours.settimeout(_SECONDS)
            task = self.privileged.run(MODULE, theirs.fileno(), log.fileno())
            theirs.close()
            try:
                send_message(ours, request, descriptors)
                answer, received = receive_message(ours)
            except (EOFError, TimeoutError, ConnectionError) as error:
                raise ConnectionResetError(errno.ECONNRESET, "the privileged child has not answered") from error
            finally:
                task.end()
        if answer["errno"]:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return received[0]


def main() -> None:
    """Answer the one request that arrives on standard input, which is a socket."""
    channel = socket.socket(fileno=0)
    request, descriptors = receive_message(channel)
    try:
        if request["call"] == _STATISTICS:
            opened = enable_statistics()
        else:
            opened = open_event(descriptors[0], request["event"], request["cpu"])
    except OSError as error:
        send_message(channel, {"errno": error.errno})
    else:
        send_message(channel, {"errno": 0}, [opened])


if __name__ == "__main__":
    main()
