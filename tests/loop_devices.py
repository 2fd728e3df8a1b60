# SPDX-License-Identifier: Apache-2.0
"""Disks that nothing else uses: loop devices, which count their own requests."""

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def loop_device(file, size=1 << 20):
    """The device file of one of ``size`` bytes, which are kept in ``file``; skips the test where there can be none."""
    if shutil.which("losetup") is None:
        pytest.skip("losetup is not installed")
    file.write_bytes(bytes(size))
    made = subprocess.run(["losetup", "--find", "--show", file], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode:
        pytest.skip("no loop device can be made here")
    try:
        yield Path(made.stdout.strip())
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def completed(disk):
    """Reads so far, by the kernel's own count."""
    return int((Path("/sys/block") / disk.name / "stat").read_text().split()[0])
