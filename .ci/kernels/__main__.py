# SPDX-License-Identifier: Apache-2.0
"""Run the kernel matrix, compare it with bpf/kernels.json and bpf/proofs.json, and report the differences."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .deadline import Deadline
from .foreign import FLAVOURS, ForeignImages
from .images import SCRATCH, Image, Images
from .matrix import RUNNING, Matrix
from .outcome import COMMITTED, PROOFS, Outcome
from .series import WANTED
from .settling import doubtful, log, settle, settled_by

Outcomes = Mapping[str, Outcome]
CACHE = "EBPF_SIDECAR_KERNELS"
_TREE = Path(__file__).resolve().parents[2]
_COMMAND = (str(Path(sys.executable).with_name("ebpf-sidecar")), "selftest", "--json")
_IN_GUEST = ("--folder", "/mnt/disk")
_ALWAYS = FLAVOURS[:1]
"""Other kernels for arm64 are tried on request."""
_PROVE = ("/bin/sh", ".ci/kernels/prove", sys.executable, "/results/proofs")


def main(words: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 if something that worked no longer does."""
    asked = _arguments().parse_args(words)
    folder = cache_folder(os.environ)
    os.chdir(_TREE)
    deadline = Deadline(asked.seconds)
    with _alone(folder):
        last = folder / "last"
        last.mkdir(exist_ok=True)
        measured, proven = _run_and_compare(asked, folder, deadline)
    log(f"\nall reports and the guests' output: {last}\n")
    return settle(measured, update=asked.update) | settle(proven, update=asked.update, path=PROOFS)


def _run_and_compare(asked: argparse.Namespace, folder: Path, deadline: Deadline) -> tuple[Outcomes, Outcomes]:
    """What the selftest finds on each kernel, and what the tests for guests do."""
    images = Images(folder, deadline, refresh=asked.refresh)
    foreign = ForeignImages(folder, _TREE, deadline, refresh=asked.refresh)
    by_series = {**dict.fromkeys(WANTED, images.get), **dict.fromkeys(FLAVOURS, foreign.get)}

    def get(series: str) -> Image:
        return by_series[series](series)

    selftest = Matrix(get, folder, deadline, _report_progress, asked.command.split() or _COMMAND, _IN_GUEST)
    tests = Matrix(get, folder, deadline, _report_progress, _PROVE, kind="proofs-")
    series = asked.only or [*WANTED, *_ALWAYS, RUNNING]
    measured = steady(selftest, series, COMMITTED)
    return measured, {} if asked.command else steady(tests, [name for name in series if name in WANTED], PROOFS)


def steady(matrix: Matrix, series: Sequence[str], path: Path) -> Outcomes:
    """The outcomes; kernels on which something is worse than in the file are run once more."""
    first = matrix.run(series)
    again = doubtful(first, path)
    if not again:
        return first
    log(f"worse than bpf/{path.name}, so run again: {', '.join(again)}")
    return settled_by(first, matrix.run(again))


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where kernels are kept: outside the tree, so that all clones share them and ``make clean`` spares them."""
    chosen = environment.get(CACHE)
    home = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen or Path(home) / "ebpf-sidecar" / "kernels").resolve()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make kernel-matrix", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write both files; then run make docs")
    parser.add_argument("--refresh", action="store_true", help="look for newer kernels now instead of once a week")
    parser.add_argument(
        "--only", action="append", choices=[*WANTED, *FLAVOURS, RUNNING], help="this kernel; repeatable"
    )
    parser.add_argument("--seconds", type=float, default=570, help="when everything must be done (570)")
    parser.add_argument("--command", default="", help="run this instead of the selftest; prints its kind of JSON")
    return parser


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One run at a time; a second one waits, and removes what a killed one left."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in [*folder.glob(f"{SCRATCH}*"), *folder.glob(f"*/{SCRATCH}*")]:
            shutil.rmtree(left)
        yield


def _report_progress(series: str, what: str, seconds: float) -> None:
    log(f"{series:<14}{seconds:6.1f} s  {what}")


if __name__ == "__main__":
    sys.exit(main())
