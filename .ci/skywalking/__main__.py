# SPDX-License-Identifier: Apache-2.0
"""Write or compare the files of deploy/skywalking/, and check rule files.

python -m skywalking write | fresh
python -m skywalking check 10.4 my-rules.yaml …
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from documents.tree import plugins

from ebpf_sidecar.pipeline.telemetry.catalogue import catalogue

from .check import check_rules
from .files import FOLDER, RULES, stale, write
from .rules_text import FILES
from .versions import VERSIONS

_USAGE = f'say "write", "fresh" or "check", a release ({", ".join(VERSIONS)}) and rule files'


def main(words: Sequence[str]) -> int:
    """Returns the exit code: 1 where something is wrong, 2 for words that are not understood."""
    match words:
        case ["write"]:
            write(catalogue(plugins()))
            return 0
        case ["fresh"]:
            return _fresh()
        case ["check", version, *paths] if version in VERSIONS:
            return _check(version, [Path(each) for each in paths] or _ours())
        case _:
            print(_USAGE, file=sys.stderr)
            return 2


def _fresh() -> int:
    found = [
        f"{(FOLDER / name).relative_to(Path.cwd())}: not what the catalogue says; run make docs"
        for name in stale(catalogue(plugins()))
    ]
    print("".join(f"{line}\n" for line in found), end="")
    return int(bool(found))


def _ours() -> list[Path]:
    return [FOLDER / RULES / name for name in FILES]


def _check(version: str, paths: Sequence[Path]) -> int:
    found = [f"{path}:{problem}" for path in paths for problem in check_rules(path.read_text(), version)]
    print("".join(f"{line}\n" for line in found), end="")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
