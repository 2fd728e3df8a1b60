# SPDX-License-Identifier: Apache-2.0
"""Takes a temporary folder away whatever becomes of this process: SIGKILL leaves it no time to do so itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebpf_sidecar.pipeline.process.isolation import bare_python, start

# The pipe ends with its owner. A workload that is just being run may make another file meanwhile.
_WAIT_AND_REMOVE = """
import os, shutil, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
sys.stdout.write("w")
sys.stdout.flush()
sys.stdin.read()
for _ in range(100):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    if not os.path.lexists(sys.argv[1]):
        break
    time.sleep(0.1)
"""


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """When this ends, in whatever way, ``folder`` is removed."""
    child = start(
        bare_python(_WAIT_AND_REMOVE, str(folder.absolute())),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with child:  # closes its input at the end, and waits for it
        assert child.stdout is not None  # asked for above
        child.stdout.read(1)  # from here on no signal ends it early
        yield
