# SPDX-License-Identifier: Apache-2.0
"""The process around the command line: interrupted at any time, and with outputs that are full, closed or missing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = "from ebpf_sidecar.pipeline.cli.main import main; main()"
INTERRUPTED = """
import os, signal, sys

def interrupt(event, arguments):
    if event == "import" and arguments[0] == {module!r}:
        os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(interrupt)
"""
PRINTING = [
    ["--help"],
    ["version"],
    ["check"],
    ["print-config"],
    ["schema"],
    ["components"],
    ["components", "--json"],
    ["completion", "bash"],
    ["doctor"],
    ["doctor", "--json"],
]


def run(code, *arguments, **options):
    """The command line in a process of its own."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 60} | options
    return subprocess.run([sys.executable, "-c", code, *arguments], check=False, **options)


@pytest.mark.parametrize(
    ("command", "module"),
    [("check", "click"), ("check", "numpy"), ("check", "pydantic"), ("check", "yaml"), ("run", "opentelemetry")],
)
def test_an_interrupt_while_modules_are_imported_ends_the_command_without_a_word(command, module):
    """As it ends any other program: by the signal, so that a script's shell stops as well."""
    done = run(INTERRUPTED.format(module=module) + MAIN, command)

    assert (-signal.SIGINT, "", "") == (done.returncode, done.stdout, done.stderr)


def test_an_interrupt_that_the_shell_had_ignored_stays_ignored():
    """Commands behind ``&`` in a script are not ended by Ctrl-C."""
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    done = run(ignoring + INTERRUPTED.format(module="click") + MAIN, "version")

    assert 0 == done.returncode


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_full_disk_is_one_line_and_exit_code_1(arguments):
    """No traceback, neither by the command nor by Python when it exits."""
    with Path("/dev/full").open("w") as full:
        done = run(MAIN, *arguments, stdout=full)

    assert (1, "standard output cannot be written: No space left on device") == (
        done.returncode,
        done.stderr.splitlines()[-1],
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors_are_no_error(closed):
    """And no other file or socket takes their place."""
    shell = f'exec "$0" -c "$1" check {closed}'
    done = subprocess.run(["sh", "-c", shell, sys.executable, MAIN], capture_output=True, check=False, timeout=60)

    assert (0, b"") == (done.returncode, done.stderr)


def test_what_is_opened_later_does_not_get_the_number_of_a_closed_standard_descriptor():
    """Libraries write to 1 and 2, whatever they refer to."""
    code = "import sys; sys.argv[1:] = ['version']\nimport os\nos.close(2)\n"
    code += MAIN.replace(
        "main()", "import atexit; atexit.register(lambda: print(os.readlink('/proc/self/fd/2'))); main()"
    )
    done = run(code)

    assert os.devnull == done.stdout.splitlines()[-1]
