# SPDX-License-Identifier: Apache-2.0
"""The only place that starts child processes: they run nothing from the user's current folder.

Each starts in ``/`` and without our standard input. Python children ignore their environment (``-I``) and use this
process's import path, but never the current folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .import_path import safe_import_path

_IMPORT_PATH = "import os, sys\nsys.path[:] = sys.argv.pop(1).split(os.pathsep)\n"
_MODULE = "import runpy\nrunpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)\n"


def python_module(module: str, *arguments: str) -> list[str]:
    """The command line that runs ``module`` with this process's import path."""
    return python_code(_MODULE, module, *arguments)


def python_code(code: str, *arguments: str) -> list[str]:
    """The command line that runs ``code`` with this process's import path; ``sys`` is already imported."""
    keep = ["-B"] if sys.dont_write_bytecode else []
    return [sys.executable, "-I", *keep, "-c", _IMPORT_PATH + code, os.pathsep.join(safe_import_path()), *arguments]


def bare_python(code: str, *arguments: str, executable: str = "") -> list[str]:
    """The command line that runs ``code`` with the standard library alone, which starts in half the time."""
    return [executable or sys.executable, "-I", "-S", "-B", "-c", code, *arguments]


def bare_python_file(path: Path, *arguments: str) -> list[str]:
    """The command line that runs a file with the standard library alone."""
    return [sys.executable, "-I", "-S", "-B", str(path), *arguments]


def start(command: Sequence[str], *, stdin: Any = subprocess.DEVNULL, **options: Any) -> subprocess.Popen[bytes]:
    """Start ``command``; ``options`` as for ``Popen``. Raises `OSError`."""
    return subprocess.Popen(command, stdin=stdin, cwd="/", **options)  # noqa: S603 # no shell; all callers are ours
