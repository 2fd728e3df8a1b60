# SPDX-License-Identifier: Apache-2.0
"""File systems that a test makes for itself."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

IMAGE = 320 << 20  # the least that xfs takes
MAKING = {"ext2": ["-q", "-F"], "ext4": ["-q", "-F"], "xfs": ["-q"], "btrfs": ["-q"]}


def done(*command):
    """Run a program; skip the test with its error output if it fails."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if ended.returncode:
        pytest.skip(f"{command[0]} cannot do it here: {ended.stderr.strip()}")


@contextmanager
def mounted(kind, above, options="loop", making=()):
    """A separate file system in a new folder; ``making``: more arguments for mkfs."""
    image, folder = above / "image", above / "mounted"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE)
    done(f"mkfs.{kind}", *MAKING[kind], *making, str(image))
    done("mount", "-o", options, str(image), str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    image.unlink()


@contextmanager
def cold_file(folder, size, forget):
    """A file of random bytes, on disk and not cached; removed at the end, with anything created beside it."""
    path = folder / "data"
    path.write_bytes(os.urandom(size))
    forget(path)
    yield path
    for each in folder.glob("data*"):
        each.unlink()
