# SPDX-License-Identifier: Apache-2.0
"""Programs of the machine, run to their end or to the deadline."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .deadline import Deadline

# users without rights often lack the folders of system programs
SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class Unavailable(Exception):  # noqa: N818 # it is an answer, not an error
    """A kernel or a program is not available; the text says why and what to do."""


def present(program: str) -> str:
    """Where a program is. Raises `Unavailable`."""
    found = shutil.which(program, path=SEARCHED)
    if found is None:
        raise Unavailable(f'"{program}" is not installed; run make kernel-matrix as root on Debian or Ubuntu')
    return found


def output(command: Sequence[str], deadline: Deadline, cwd: Path | None = None) -> str:
    """What ``command`` prints. Raises `Unavailable` when it fails, is missing or does not end in time."""
    words = [present(command[0]), *command[1:]]
    try:
        done = subprocess.run(  # noqa: S603 # our own words
            words, capture_output=True, text=True, check=True, cwd=cwd, timeout=deadline.left()
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"no time left for {command[0]}") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"code {error.returncode}"])[-1]
        raise Unavailable(f"{command[0]} {command[-1]}: {last}") from error
    return done.stdout
