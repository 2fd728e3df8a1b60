# SPDX-License-Identifier: Apache-2.0
"""Finds BCC for Python where this Python cannot import it.

It is a system package and not on PyPI, so a virtual environment sees it only if configured to.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path

from ebpf_sidecar.pipeline.process.isolation import start

SYSTEM_PYTHON = "/usr/bin/python3"
_VERSION = "version.py"
_FOLDER = "import bcc; print(bcc.__path__[0])"
_SECONDS = 30


def system_folder(python: str = SYSTEM_PYTHON) -> str:
    """The folder from which the system's Python imports BCC; empty if it cannot, or if it is this Python itself."""
    if sys.prefix == sys.base_prefix and Path(sys.executable).resolve() == Path(python).resolve():
        return ""
    try:
        child = start([python, "-I", "-B", "-c", _FOLDER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return ""
    with child:
        try:
            reported, _ = child.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            return ""
    return reported.decode(errors="replace").strip() if child.returncode == 0 else ""


def bcc_version() -> str:
    """The installed BCC's version file, read without importing BCC; empty if there is none."""
    spec = importlib.util.find_spec("bcc")
    if spec is None or spec.origin is None:
        return ""
    try:
        return Path(spec.origin).with_name(_VERSION).read_text(encoding="utf-8")
    except OSError:
        return ""


def how_to_make_visible(folder: str) -> str:
    """How to make this environment see the BCC that the system's Python has in ``folder``; two ways."""
    purelib = sysconfig.get_path("purelib")
    return f"ln -s {folder} {purelib}/, or create it again: {SYSTEM_PYTHON} -m venv --system-site-packages {sys.prefix}"
