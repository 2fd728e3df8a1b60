# SPDX-License-Identifier: Apache-2.0
"""Kernels ready to boot: the compressed kernel and the few modules that it needs to see this machine's files.

Kept in a cache; a Debian kernel's 400 MB shrink to about 15.
"""

from __future__ import annotations

import lzma
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from .deadline import Deadline
from .machine import X86_64, GuestMachine
from .mirror import Mirror
from .programs import Unavailable, output
from .series import Package, kernel_packages, newest_of

MODULES = ("virtio_pci", "virtio_blk", "virtio_rng", "9p", "9pnet_virtio", "overlay", "ext4")
"""The modules that a guest needs before it can use anything of this machine."""
LATER = ("sd_mod", "scsi_debug")
"""The modules that only some tests need; they load them themselves, with their own parameters."""
STAMP = " ".join((*MODULES, "/", *LATER))
"""Written into each folder of the cache: one that was made for other modules is not used."""

# accelerates a checksum that other modules compute as well, and refuses to load if the CPU lacks it
_NOT_NEEDED = ("crc32c-intel", "crc32c_intel")
SCRATCH = "scratch-"
"""The name prefix of folders in the cache that are removed when a run ends."""
_WEEK = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Image:
    """A kernel in the cache. ``modules`` and ``later``: in the order in which they must be loaded."""

    release: str
    kernel: Path
    modules: tuple[Path, ...]
    later: tuple[Path, ...] = ()
    machine: GuestMachine = X86_64


def read_image(folder: Path) -> Image | None:
    """What `keep_image` left in a folder, None when it is not there or was made for other modules."""
    stamp = folder / "release"
    if not stamp.exists() or (folder / "wanted").read_text() != STAMP:
        return None
    modules, later = (tuple(sorted(folder.glob(names))) for names in ("[0-9]*.ko", "later-*.ko"))
    return Image(stamp.read_text(), folder / "vmlinuz", modules, later)


def keep_image(unpacked: Path, release: str, folder: Path, deadline: Deadline) -> Image:
    """Keep what is needed of a kernel's ``unpacked`` packages. Raises `Unavailable`."""
    kernel = next((path for path in sorted(unpacked.rglob("vmlinuz*")) if path.is_file()), None)
    tree = next((path for path in sorted(unpacked.rglob(f"lib/modules/{release}")) if path.is_dir()), None)
    if kernel is None or tree is None:
        raise Unavailable(f"the packages of {release} hold no {'kernel' if kernel is None else 'modules'}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(kernel, folder / "vmlinuz")
    output(["depmod", "-b", str(tree.parents[2]), release], deadline)
    files = _needed(MODULES, tree.parents[2], release, deadline)
    later = [path for path in _if_there(LATER, tree.parents[2], release, deadline) if path not in files]
    for prefix, paths in (("", files), ("later-", later)):
        for i, path in enumerate(paths):
            (folder / f"{prefix}{i:02}-{path.name.split('.')[0]}.ko").write_bytes(decompressed(path))
    (folder / "wanted").write_text(STAMP)
    (folder / "release").write_text(release)  # last: a folder without it is not complete
    image = read_image(folder)
    assert image is not None
    return image


def _needed(modules: Sequence[str], root: Path, release: str, deadline: Deadline) -> Sequence[Path]:
    """The files of ``modules`` below ``root``, each after those that it needs."""
    shown = ""
    for module in modules:
        shown += output(["modprobe", "-d", str(root), "-S", release, "--show-depends", module], deadline)
    return module_files(shown)


def _if_there(modules: Sequence[str], root: Path, release: str, deadline: Deadline) -> Sequence[Path]:
    """The same, except for modules that the kernel was built without, as arm64's are without scsi_debug."""
    found: list[Path] = []
    for module in modules:
        with suppress(Unavailable):
            found += _needed([module], root, release, deadline)
    return list(dict.fromkeys(found))


def module_files(shown: str) -> Sequence[Path]:
    """The files that ``modprobe --show-depends`` (whose output is ``shown``) would load; none for what is built in."""
    words = [line.split() for line in shown.splitlines()]
    files = dict.fromkeys(Path(line[1]) for line in words if line[:1] == ["insmod"])
    return [path for path in files if path.name.split(".")[0] not in _NOT_NEEDED]


def decompressed(path: Path) -> bytes:
    """A module's own bytes. Raises `Unavailable`."""
    match path.suffix:
        case ".xz":
            return lzma.decompress(path.read_bytes())
        case ".ko":
            return path.read_bytes()
    raise Unavailable(f'module "{path.name}" is compressed in an unknown format; add it to images.py')


class Images:
    """The cache of kernels below ``folder``. Each is looked up again when a week old, or always with ``refresh``."""

    def __init__(
        self,
        folder: Path,
        deadline: Deadline,
        *,
        flavour: str = "amd64",
        mirror: Mirror | None = None,
        refresh: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._deadline, self._refresh, self._now = folder, deadline, refresh, now
        self._flavour = flavour
        self._mirror = mirror or Mirror(folder / "apt", deadline)
        self._packages: tuple[Package, ...] | None = None
        self._lock = Lock()

    def get(self, series: str) -> Image:
        """The newest kernel of ``series``. Raises `Unavailable`."""
        folder = self._folder / "images" / series
        kept = read_image(folder)
        if kept is not None and not self._refresh and self._now() - (folder / "release").stat().st_mtime < _WEEK:
            return kept
        try:
            return self._fetched(series, folder, kept)
        except Unavailable:
            if kept is None:
                raise
            return kept  # one that is a week old is better than none

    def _fetched(self, series: str, folder: Path, kept: Image | None) -> Image:
        package = newest_of(series, self._known())
        if package is None:
            raise Unavailable("no suite of the mirror has it any longer")
        if kept is not None and kept.release == package.release:
            (folder / "release").touch()
            return kept
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=self._folder) as scratch:
            self._unpack(package, Path(scratch))
            return keep_image(Path(scratch) / "root", package.release, folder, self._deadline)

    def _known(self) -> tuple[Package, ...]:
        with self._lock:
            if self._packages is None:
                self._mirror.update()
                self._packages = kernel_packages(self._mirror.kernels(), self._flavour)
            return self._packages

    def _unpack(self, package: Package, scratch: Path) -> None:
        with self._lock:  # two downloads would only share the line
            for name in package.names:
                self._mirror.download(name, scratch)
        for file in scratch.glob("*.deb"):
            output(["dpkg", "-x", str(file), str(scratch / "root")], self._deadline)
            file.unlink()
