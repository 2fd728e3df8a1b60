# SPDX-License-Identifier: Apache-2.0
"""A simple control: the same measurements as a bpftrace script (`naive.bt`)."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(__file__).with_name("naive.bt")


def why_no_bpftrace() -> str:
    """Empty where the script can be run."""
    if not shutil.which("bpftrace"):
        return "bpftrace is not installed"
    tried = subprocess.run(["bpftrace", "-d", SCRIPT], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else tried.stderr.strip().partition("\n")[0]


@contextmanager
def bpftrace() -> Iterator[None]:
    """Run the script for the length of the block; its counts are discarded."""
    process = subprocess.Popen(["bpftrace", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    try:
        if not any("ready" in line for line in process.stdout):
            raise SystemExit("bpftrace ended before the script was at work")
        yield
    finally:
        process.send_signal(signal.SIGKILL)  # on SIGINT it would print all its maps
        process.communicate()
