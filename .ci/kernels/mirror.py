# SPDX-License-Identifier: Apache-2.0
"""Packages of other Debian suites through an apt of our own: the system's sources and lists stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from .deadline import Deadline
from .programs import Unavailable, output

SUITES = (
    "bullseye",
    "bullseye-security",
    "bookworm",
    "bookworm-security",
    "bookworm-backports",
    "trixie",
    "trixie-security",
    "trixie-backports",
    "sid",
)
"""Where Debian keeps kernels that we want; a suite that the mirror lacks is skipped."""

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_DEBIAN = re.compile(r"(?:bullseye|bookworm|trixie|forky|sid|(?:old)*stable|testing|unstable)(?:-[a-z]+)?")


def mirrors(index_targets: str) -> Mapping[bool, str]:
    """The mirror's addresses by whether they hold security updates.

    ``index_targets``: lines of ``address suite``, from ``apt-get indextargets``. Anything but Debian is skipped. Raises
    `Unavailable`.
    """
    found: dict[bool, str] = {}
    for line in index_targets.splitlines():
        address, _, suite = line.partition(" ")
        if _DEBIAN.fullmatch(suite):
            found.setdefault(suite.endswith("-security"), address)
    if False not in found:
        raise Unavailable("apt knows no Debian mirror; add one to the machine's sources")
    return found


def sources(addresses: Mapping[bool, str], suites: Sequence[str] = SUITES) -> str:
    """The text of a sources.list with all ``suites`` that these mirrors can have."""
    where = [(suite, addresses.get(suite.endswith("-security"))) for suite in suites]
    return "".join(f"deb [signed-by={KEYRING}] {address} {suite} main\n" for suite, address in where if address)


class Mirror:
    """The system's Debian mirror, seen through lists of our own below ``folder``. ``architecture``: Debian's name."""

    def __init__(
        self, folder: Path, deadline: Deadline, architecture: str = "amd64", suites: Sequence[str] = SUITES
    ) -> None:
        self._folder, self._deadline = folder.resolve(), deadline
        self._architecture, self._suites = architecture, suites
        self._is_fresh = False

    def update(self) -> None:
        """Fetch the lists of packages, once. Raises `Unavailable`."""
        if self._is_fresh:
            return
        for name in ("lists/partial", "cache/archives/partial"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        (self._folder / "status").touch()
        shown = "$(REPO_URI) $(RELEASE)"
        targets = self._output(["apt-get", "indextargets", "--format", shown, "Created-By: Packages"])
        (self._folder / "sources.list").write_text(sources(mirrors(targets), self._suites))
        # a failure means nothing: one suite that the mirror lacks is enough to cause it
        with suppress(Unavailable):
            self._output(self._apt("apt-get", "update", "-qq"))
        self._is_fresh = True

    def kernels(self) -> Iterable[str]:
        """The names of all packages that may be kernels. Raises `Unavailable`."""
        pattern = "^linux-(image|binary|modules|base)-[0-9]"
        listed = self._output(self._apt("apt-cache", "search", "--names-only", pattern))
        return [line.partition(" ")[0] for line in listed.splitlines()]

    def download(self, name: str, into: Path) -> None:
        """Put the package's newest file into a folder, its signature checked. Raises `Unavailable`."""
        self._output(self._apt("apt-get", "download", "-qq", name), cwd=into)

    def download_all(self, names: Sequence[str], suite: str, into: Path) -> None:
        """Put packages of ``suite``, with all that they need, into a folder. Raises `Unavailable`."""
        (into / "partial").mkdir()
        chosen = ["-o", f"Dir::Cache::archives={into}/", "-t", suite]
        self._output([*self._apt("apt-get", *chosen), "install", "--download-only", "-qq", "-y", *names])

    def _apt(self, program: str, *words: str) -> list[str]:
        options = {
            "Dir::Etc::sourcelist": self._folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": self._folder,
            "Dir::State::lists": self._folder / "lists",
            "Dir::State::status": self._folder / "status",
            "Dir::Cache": self._folder / "cache",
            "APT::Architecture": self._architecture,
            "APT::Architectures": self._architecture,
            "APT::Install-Recommends": "false",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",  # 25 MB that nothing reads here
            "APT::Sandbox::User": "root",  # the usual one cannot write below a home folder
        }
        return [program, *(word for name, value in options.items() for word in ("-o", f"{name}={value}")), *words]

    def _output(self, command: list[str], cwd: Path | None = None) -> str:
        return output(command, self._deadline, cwd=cwd)
