# SPDX-License-Identifier: Apache-2.0
"""Which kernels are wanted, and which of a mirror's packages are the newest of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NEWEST = "newest"
WANTED = ("5.10", "6.1", "6.12", "6.18", NEWEST)
"""Series by the first two numbers of the release; the last is whatever is newer than all others."""

# -cloud- kernels have no 9p, so they cannot boot on this machine's files; -rt- and -dbg are rarely run. A release is
# 5.10.0-46-amd64 (old scheme) or 6.12.95+deb12-amd64 (new one); 6.1.0-0.deb11.50-amd64 is a backport of what another
# suite has.
_PACKAGE = re.compile(
    r"linux-(?P<part>image|binary|modules|base)-"
    r"(?P<release>(?P<version>\d+\.\d+(?:\.\d+)?)(?:-(?P<abi>\d+)|\+deb\d+(?:\.\d+)*)-(?P<flavour>amd64|arm64(?:-16k)?))"
)
_PARTS = ("base", "binary", "modules", "image")
"""If kernel and modules are separate packages, the image package is empty and does no harm."""


@dataclass(frozen=True, slots=True)
class Package:
    """A kernel that a mirror has. ``names``: the packages that hold it. ``release``: what uname -r will print."""

    release: str
    names: tuple[str, ...]

    @property
    def series(self) -> str:
        """The first two numbers."""
        return series_of(self.release)


def series_of(release: str) -> str:
    """The first two numbers: ``6.1`` of ``6.1.0-56-amd64``."""
    return ".".join(release.split(".", 2)[:2])


def kernel_packages(names: Iterable[str], flavour: str = "amd64") -> tuple[Package, ...]:
    """The kernels among a mirror's package ``names``, oldest first. ``flavour``: what Debian's releases end with."""
    parts: dict[str, set[str]] = {}
    for name in names:
        if (match := _PACKAGE.fullmatch(name)) and match["flavour"] == flavour:
            parts.setdefault(match["release"], set()).add(match["part"])
    bootable = [release for release in parts if parts[release] & {"image", "binary"}]
    return tuple(
        Package(release, tuple(f"linux-{part}-{release}" for part in _PARTS if part in parts[release]))
        for release in sorted(bootable, key=_age)
    )


def _age(release: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", release)))


def newest_of(series: str, packages: Sequence[Package]) -> Package | None:
    """The newest package of ``series``, or of all that are newer than every other wanted series; None without any.

    ``packages``: oldest first, as from `kernel_packages`.
    """
    if series != NEWEST:
        return next((package for package in reversed(packages) if package.series == series), None)
    last = max(_age(name) for name in WANTED if name != NEWEST)
    return next((package for package in reversed(packages) if _age(package.series) > last), None)
