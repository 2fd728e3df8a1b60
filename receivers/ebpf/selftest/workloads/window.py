# SPDX-License-Identifier: Apache-2.0
"""The protocol of every workload script: report ready, wait, act, report what it did, and wait for permission to exit.

Between "go" and the answer only the action is counted: the interpreter starts before it and exits after it. Uses the
socket on standard input, with system calls that no probe follows.
"""

import json
import socket
import sys
from collections.abc import Callable, Mapping

Facts = dict[str, float]
Action = Callable[[str, int, int], Facts]
"""Takes the path of a file, its size, and the bytes per call; returns the numbers that are known from the code."""


def main(actions: Mapping[str, Action]) -> None:
    """Run the action named by the first argument with the others, inside the window."""
    name, path, size, step = sys.argv[1:]
    channel = socket.socket(fileno=0)
    channel.sendall(b"ready\n")
    if channel.recv(1):
        facts = actions[name](path, int(size), int(step))
        channel.sendall(json.dumps(facts).encode() + b"\n")
        channel.recv(1)
