# SPDX-License-Identifier: Apache-2.0
"""What every workload script does: say that it is ready, wait, act, tell what it did, and wait to be let go.

What is counted between "go" and the answer is the action's alone: the interpreter's start lies before it, its end
behind it. Talks over the socket that is standard input, with calls that no probe follows.
"""

import json
import socket
import sys
from collections.abc import Callable, Mapping

Facts = dict[str, float]
Action = Callable[[str, int, int], Facts]
"""Takes the path of a file, its bytes, and the bytes of one call; tells the numbers that are known from the code."""


def main(actions: Mapping[str, Action]) -> None:
    """Do what the first argument names with the others, inside the window."""
    name, path, size, step = sys.argv[1:]
    channel = socket.socket(fileno=0)
    channel.sendall(b"ready\n")
    if channel.recv(1):
        facts = actions[name](path, int(size), int(step))
        channel.sendall(json.dumps(facts).encode() + b"\n")
        channel.recv(1)
