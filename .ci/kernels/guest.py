# SPDX-License-Identifier: Apache-2.0
"""A virtual machine with another kernel and this machine's own files, and one command run in it."""

from __future__ import annotations

import gzip
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from .deadline import Deadline
from .images import Image
from .programs import output, present

_INIT = Path(__file__).with_name("init")
_MEMORY_MIB, _DISK_MIB = 768, 512
_SHARE = 0.5
"""Share of the total time for one guest: emulation is 15 to 20 times slower than the machine."""

_RUNNING = "guest: running"

_WORK = """\
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TMPDIR=/mnt/disk
export PYTHONDONTWRITEBYTECODE=1
{more}cd {folder}
echo "{running}"
{command} >/results/output 2>/results/errors </dev/null
echo $? >/results/code
sync
exec /bin/busybox poweroff -f
"""


@dataclass(frozen=True, slots=True)
class GuestResult:
    """How a command in a guest ended. ``code``: None when the guest ended before it.

    ``running``: whether the command was started; ``in_time``: whether the guest ended by itself.
    """

    code: int | None
    output: str
    errors: str
    console: str
    seconds: float
    running: bool
    in_time: bool


def initramfs(image: Image, scratch: Path) -> Path:
    """The files that the kernel starts with: busybox, ``init`` and the modules. Raises `Unavailable`."""
    tree = scratch / "initramfs"
    for name in ("bin", "dev", "modules", "later"):
        (tree / name).mkdir(parents=True)
    busybox = present("busybox")
    shutil.copy(image.machine.busybox, tree / "bin/busybox")
    shutil.copy(_INIT, tree / "init")
    (tree / "init").chmod(0o755)
    for folder, modules in (("modules", image.modules), ("later", image.later)):
        for module in modules:
            shutil.copy(module, tree / folder)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    packed = subprocess.run(  # noqa: S603 # fixed words
        [busybox, "cpio", "-o", "-H", "newc"], input=names.encode(), cwd=tree, capture_output=True, check=True
    )
    target = scratch / "initramfs.gz"
    target.write_bytes(gzip.compress(packed.stdout, compresslevel=1))
    return target


def emulator_command(image: Image, start: Path, disk: Path, results: Path) -> Sequence[str]:
    """The words that start the guest."""
    machine = image.machine
    return [
        # ends with us, however we exit
        *(present("setpriv"), "--pdeathsig", "KILL", present(machine.emulator), *machine.words),
        *("-smp", "1", "-m", str(_MEMORY_MIB), "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none", "-serial", "stdio", "-kernel", str(image.kernel), "-initrd", str(start)),
        *("-append", machine.console),
        *_shared("root", machine.root),
        *(_shared("tree", Path.cwd()) if machine.lacks_tree else ()),
        *("-fsdev", f"local,id=o,path={results},security_model=none"),
        *("-device", "virtio-9p-pci,fsdev=o,mount_tag=out"),
        *("-drive", f"file={disk},if=none,id=d,format=raw,cache=unsafe", "-device", "virtio-blk-pci,drive=d"),
        *("-object", "rng-random,id=g,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=g"),
    ]


def _shared(tag: str, folder: Path) -> Sequence[str]:
    """A folder of this machine, read-only."""
    device = f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"
    return "-fsdev", f"local,id={tag},path={folder},security_model=none,readonly=on,multidevs=remap", "-device", device


def run_in_guest(
    image: Image, command: Sequence[str], scratch: Path, deadline: Deadline, reports: Callable[[str], None]
) -> GuestResult:
    """Boot ``image``, run ``command`` from the present folder as root, switch off; killed at the deadline.

    ``reports`` is called with "booting" and "running". ``scratch`` is an empty folder. Raises `Unavailable`.
    """
    results = scratch / "results"
    results.mkdir()
    (results / "work.sh").write_text(guest_script(image, command))
    words = emulator_command(image, initramfs(image, scratch), _disk(scratch, deadline), results)
    reports("booting")
    started = time.monotonic()
    console, in_time = emulate(words, deadline.left(_SHARE * deadline.seconds), reports)
    return GuestResult(
        code=int(text) if (text := _read(results / "code").strip()).isdigit() else None,
        output=_read(results / "output"),
        errors=_read(results / "errors"),
        console=console,
        seconds=time.monotonic() - started,
        running=_RUNNING in console,
        in_time=in_time,
    )


def guest_script(image: Image, command: Sequence[str]) -> str:
    """The script that runs in the booted guest."""
    folder = shlex.quote(str(Path.cwd()))
    more = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in image.machine.variables.items())
    if image.machine.lacks_tree:
        mount = "/bin/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose tree"
        more += f"mkdir -p {folder}\n{mount} {folder}\n"
    return _WORK.format(folder=folder, running=_RUNNING, command=shlex.join(command), more=more)


def emulate(words: Sequence[str], timeout: float, reports: Callable[[str], None]) -> tuple[str, bool]:
    """What the guest printed on its console, and whether it ended by itself."""
    lines: list[str] = []
    process = subprocess.Popen(  # noqa: S603 # our own words
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    timer = Timer(timeout, process.kill)
    timer.start()
    try:
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if _RUNNING in line:
                    reports("running")
    finally:
        timer.cancel()
    return "".join(lines), process.returncode != -signal.SIGKILL


def _disk(scratch: Path, deadline: Deadline) -> Path:
    disk = scratch / "disk"
    with disk.open("wb") as file:
        file.truncate(_DISK_MIB << 20)
    output(["mkfs.ext4", "-q", "-F", str(disk)], deadline)
    return disk


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
