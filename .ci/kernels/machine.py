# SPDX-License-Identifier: Apache-2.0
"""What a guest is: how its machine is emulated, and whose files it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .programs import present


@dataclass(frozen=True, slots=True)
class GuestMachine:
    """``words``: the emulator's, for machine and CPU. ``console``: of the kernel's command line.

    ``root``: the folder that the guest sees as its root. ``lacks_tree``: the present folder is not below it, so it
    must be shared as well. ``variables``: for the command's environment. ``arguments``: for the command.
    """

    emulator: str
    words: tuple[str, ...]
    console: str
    root: Path = Path("/")
    lacks_tree: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()

    @property
    def busybox(self) -> str:
        """The one for its architecture. Raises `Unavailable`."""
        return str(self.root / "bin/busybox") if self.lacks_tree else present("busybox")


_PLAIN = "quiet loglevel=4 panic=-1 mitigations=off nokaslr"
_ACCELERATION = ("-accel", "tcg,thread=multi,tb-size=512")
"""Never KVM: /dev/kvm on build machines may not boot Debian."""

X86_64 = GuestMachine(
    "qemu-system-x86_64",
    ("-M", "q35", *_ACCELERATION, "-cpu", "max,la57=off"),
    # a busy machine's emulator may be late with the ticks that the kernel tries its timer with, and then it panics
    f"console=ttyS0 {_PLAIN} tsc=reliable no_timer_check",
)
"""This machine's files with another kernel."""


def arm64(root: Path, variables: Mapping[str, str]) -> GuestMachine:
    """A 64-bit Arm on the files below ``root``. Signed pointers are made the cheap way: the real one is slow to do."""
    return GuestMachine(
        "qemu-system-aarch64",
        ("-M", "virt", *_ACCELERATION, "-cpu", "max,pauth-impdef=on"),
        f"console=ttyAMA0 {_PLAIN}",
        root,
        lacks_tree=True,
        variables=variables,
        arguments=("--quick",),  # what is small is enough for registers and numbers
    )
