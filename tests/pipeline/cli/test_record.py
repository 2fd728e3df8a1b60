# SPDX-License-Identifier: Apache-2.0
"""The command ``record`` as a process: where it writes, and what ends it."""

import signal
import subprocess
import sys

import pytest
from recordings import read
from waiting import until

from ebpf_sidecar.pipeline.config.locations import REPLAY

COMMAND = [sys.executable, "-c", "from ebpf_sidecar.pipeline.cli.main import main; main()", "record"]
PACKAGED = ["-c", str(REPLAY), "--set", "receivers.replay.speed=100", "--duration", "1s", "-o", "-"]


def test_a_recording_can_go_to_standard_output(tmp_path):
    """Only the recording; progress is on standard error."""
    with (tmp_path / "x").open("wb") as output:
        done = subprocess.run([*COMMAND, *PACKAGED], stdout=output, stderr=subprocess.PIPE, text=True, check=False)

    assert 0 == done.returncode, done.stderr
    assert "into standard output" in done.stderr
    assert read(tmp_path / "x")


@pytest.mark.parametrize(
    ("redirected", "why"), [(">&-", "it is closed"), ("> /dev/full", "No space left on device")], ids=str
)
def test_a_standard_output_that_cannot_be_written_is_one_line(redirected, why):
    """And the exit code 1."""
    shell = f'exec "$@" {redirected}'
    done = subprocess.run(["sh", "-c", shell, "-", *COMMAND, *PACKAGED], capture_output=True, text=True, check=False)

    assert (1, True) == (done.returncode, why in done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_keeps_what_was_recorded(tmp_path, number):
    """``timeout 60 ebpf-sidecar record …`` gives a whole file."""
    log = tmp_path / "log"
    arguments = [*PACKAGED[:5], "1h", "-o", tmp_path / "x"]
    with log.open("wb") as output:
        process = subprocess.Popen([*COMMAND, *arguments], stderr=output, start_new_session=True)
    try:
        assert until(lambda: (tmp_path / "x").exists() and "recording for" in log.read_text())
        process.send_signal(number)

        assert 0 == process.wait(60), log.read_text()
    finally:
        process.kill()
    assert read(tmp_path / "x")
