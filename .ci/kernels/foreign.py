# SPDX-License-Identifier: Apache-2.0
"""Guests of another architecture: a root folder of Debian's packages and Python's wheels, unpacked, never installed."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path
from threading import Lock

from .deadline import Deadline
from .images import SCRATCH, Image, Images
from .machine import GuestMachine, arm64
from .mirror import Mirror
from .programs import Unavailable, output

FLAVOURS = ("arm64", "arm64-16k")
"""Of Debian's kernels; the second has pages of 16 KiB. pip and the kernel call it aarch64."""
SERIES = "6.12"
_PLATFORMS = ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_28_aarch64")
SUITE = "bookworm"
_SUITES = (SUITE, f"{SUITE}-security", f"{SUITE}-backports")
"""The last one has the kernel. Reading the lists of nine suites would take longer than everything else."""
_PYTHON = (3, 11)
"""What `SUITE` has; the environment beside our tree is used with it."""
PACKAGES = ("python3", "python3-bpfcc", "busybox-static", "dash", "coreutils")
_FOLDERS = ("dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "usr/lib/python3/dist-packages", "var/tmp")
_WHEELS = "opt/wheels"


class ForeignImages:
    """Kernels for arm64, with a root folder that they can run, below ``folder``. ``tree``: ours."""

    def __init__(self, folder: Path, tree: Path, deadline: Deadline, *, refresh: bool = False) -> None:
        mirror = Mirror(folder / FLAVOURS[0] / "apt", deadline, FLAVOURS[0], _SUITES)
        self._root = ForeignRoot(folder / FLAVOURS[0], tree, mirror, deadline)
        self._images = {
            flavour: Images(folder / flavour, deadline, flavour=flavour, mirror=mirror, refresh=refresh)
            for flavour in FLAVOURS
        }
        self._lock = Lock()

    def get(self, flavour: str) -> Image:
        """The newest kernel of `SERIES`. Raises `Unavailable`."""
        with self._lock:
            return replace(self._images[flavour].get(SERIES), machine=self._root.machine())


class ForeignRoot:
    """The root folder for arm64, kept below ``folder``; made again when what it is made of changes.

    ``python``: the version that the environment beside ``tree`` was made with.
    """

    def __init__(
        self,
        folder: Path,
        tree: Path,
        mirror: Mirror,
        deadline: Deadline,
        python: tuple[int, int] = sys.version_info[:2],
    ) -> None:
        self._folder, self._tree, self._mirror, self._deadline = folder, tree, mirror, deadline
        self._python = python

    def machine(self) -> GuestMachine:
        """A machine that runs on it. Raises `Unavailable`."""
        if self._python != _PYTHON:
            version = ".".join(map(str, _PYTHON))
            raise Unavailable(f"Debian's files for arm64 have Python {version}; run make kernel-matrix with that one")
        root, stamp = self._folder / "root", self._stamp()
        if not (root / "made_of").exists() or (root / "made_of").read_text() != stamp:
            self._make(root, stamp)
        # before the environment's own, whose compiled parts are for this machine
        return arm64(root, {"PYTHONPATH": f"/{_WHEELS}"})

    def _stamp(self) -> str:
        asked = (self._tree / "constraints.txt").read_bytes() + (self._tree / "pyproject.toml").read_bytes()
        return f"{' '.join(PACKAGES)} {hashlib.sha256(asked).hexdigest()}"

    def _make(self, root: Path, stamp: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=self._folder) as scratch:
            made = Path(scratch) / "root"
            self._unpack(made, Path(scratch))
            self._add_wheels(made / _WHEELS)
            complete(made)
            (made / "made_of").write_text(stamp)
            shutil.rmtree(root, ignore_errors=True)
            made.rename(root)

    def _unpack(self, made: Path, scratch: Path) -> None:
        self._mirror.update()
        self._mirror.download_all(PACKAGES, SUITE, scratch)
        for file in scratch.glob("*.deb"):
            output(["dpkg", "-x", str(file), str(made)], self._deadline)

    def _add_wheels(self, into: Path) -> None:
        project = tomllib.loads((self._tree / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        words = [word for platform in _PLATFORMS for word in ("--platform", platform)]
        version = ["--python-version", ".".join(map(str, _PYTHON)), "--only-binary", ":all:", *words]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(into)]
        known = ["--constraint", str(self._tree / "constraints.txt")]
        output([*pip, *version, *known, *project["dependencies"]], self._deadline)


def complete(root: Path) -> None:
    """What packages leave to the installation: mount points and the only user."""
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
