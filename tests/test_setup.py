# SPDX-License-Identifier: Apache-2.0
"""The output of the set-up for `make` before it creates anything."""

import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[1] / ".ci/setup"
SYSTEM_PYTHON = "python=/usr/bin/python3\n"


def script(file, text):
    """A program that is this shell script."""
    file.write_text(f"#!/bin/bash\n{text}\n")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize(("status", "code", "old"), [(3, 1, True), (1, 1, False), (130, 130, False)])
def test_only_an_outdated_python_is_reported_as_outdated(tmp_path, status, code, old):
    """Neither one that fails nor one that Ctrl-C ends; both end the set-up."""
    (tmp_path / ".ci").mkdir()
    python = script(tmp_path / "python", f"exit {status}")
    script(tmp_path / "dpkg-query", "echo install ok installed")
    text = SETUP.read_text()
    assert SYSTEM_PYTHON in text
    copy = script(tmp_path / ".ci/setup", text.replace(SYSTEM_PYTHON, f"python={python}\n"))
    done = subprocess.run(
        [copy], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=False
    )

    assert (code, old) == (done.returncode, "is older than 3.11" in done.stderr)
    assert not (tmp_path / ".venv").exists()
