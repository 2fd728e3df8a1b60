# SPDX-License-Identifier: Apache-2.0
"""The command as a process: help, version, completion, exit codes, and how little is imported for them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from importlib.metadata import version

import pytest

from ebpf_sidecar.pipeline.cli.commands import cli, exit_code
from ebpf_sidecar.pipeline.errors import ConfigError, ExportError, Mistake, PluginError

COMMANDS = [
    "check",
    "completion",
    "components",
    "doctor",
    "print-config",
    "record",
    "run",
    "schema",
    "stats",
    "version",
]


def test_all_commands_are_there():
    """As documented."""
    assert COMMANDS == sorted(cli.commands)


def test_every_command_helps_with_an_example(capsys):
    """And with a first line short enough for the list of commands."""
    helps = {command: (exit_code([command, "--help"]), capsys.readouterr().out) for command in COMMANDS}
    examples = {command: text.partition("Example")[2] for command, (_, text) in helps.items() if command != "version"}

    assert dict.fromkeys(COMMANDS, 0) == {command: code for command, (code, _) in helps.items()}
    assert [] == [command for command, (_, text) in helps.items() if f"Usage: ebpf-sidecar {command}" not in text]
    assert [] == [command for command, text in examples.items() if f"ebpf-sidecar {command}" not in text]
    assert [] == [command for command in COMMANDS if "..." in cli.commands[command].get_short_help_str(limit=60)]


def test_help_lists_the_commands_with_examples(capsys):
    """``-h`` is understood as well."""
    assert 0 == exit_code(["-h"])
    text = capsys.readouterr().out

    assert all(f"\n  {command}" in text for command in COMMANDS)
    assert "ebpf-sidecar run --config mine.yaml" in text


@pytest.mark.parametrize(("arguments"), [["version"], ["--version"]])
def test_the_version_is_that_of_the_distribution(arguments, capsys):
    """Both options."""
    assert 0 == exit_code(arguments)
    assert version("ebpf-sidecar") in capsys.readouterr().out


def test_version_and_help_import_nothing_heavy():
    """Neither NumPy nor pydantic nor the SDK: they would make the shell's completion slow."""
    code = (
        "import sys; from ebpf_sidecar.pipeline.cli.commands import exit_code;"
        "exit_code(['version']); exit_code(['--help']);"
        "print({'numpy', 'pydantic', 'opentelemetry', 'yaml', 'grpc'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "set()" == done.stdout.splitlines()[-1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_code_names_and_calls_the_command(shell, capsys):
    """The code that the shells evaluate."""
    assert 0 == exit_code(["completion", shell])
    code = capsys.readouterr().out

    assert "ebpf-sidecar" in code
    assert "_EBPF_SIDECAR_COMPLETE" in code


def test_completion_completes_commands_and_options():
    """What the shell's code gets for an answer."""
    code = "from ebpf_sidecar.pipeline.cli.main import main; main()"
    environ = {**os.environ, "_EBPF_SIDECAR_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    answers = [
        subprocess.run(
            [sys.executable, "-c", code], env=environ | more, capture_output=True, text=True, check=True
        ).stdout
        for more in ({"COMP_WORDS": "ebpf-sidecar co"}, {"COMP_WORDS": "ebpf-sidecar check --c", "COMP_CWORD": "2"})
    ]

    assert ["plain,completion\nplain,components\n", "plain,--config\n"] == answers


@pytest.mark.parametrize("arguments", [["nonsense"], ["check", "--nonsense"], ["record"]])
def test_wrong_command_lines_exit_with_2(arguments, capsys):
    """As with all well-behaved commands, with the usage on standard error."""
    assert 2 == exit_code(arguments)
    assert capsys.readouterr().err.startswith("Usage: ebpf-sidecar")


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (
            ConfigError([Mistake("a::b", "wrong; mend it", "f:1:2"), Mistake("", "gone; look")]),
            2,
            "f:1:2: a::b: wrong; mend it\ngone; look\n",
        ),
        (PluginError("plugin broken; mend it", component="rate"), 2, "rate: plugin broken; mend it\n"),
        (ExportError("refused; look"), 1, "refused; look\n"),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_errors_become_exit_codes_and_lines(error, code, printed, monkeypatch, capsys):
    """2 for what the user wrote, 1 for what failed; no traceback."""

    def fail():
        raise error

    monkeypatch.setattr(cli.commands["version"], "callback", fail)

    assert code == exit_code(["version"])
    assert printed == capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error_to_explain():
    """``ebpf-sidecar components | head -1`` ends quietly, with the exit code of a filter that SIGPIPE ended."""
    code = "from ebpf_sidecar.pipeline.cli.main import main; main()"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)

    assert (141, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_mistakes_are_coloured_on_a_terminal_only_and_never_with_no_color(environ, coloured, tmp_path):
    """See https://no-color.org."""
    file = tmp_path / "wrong.yaml"
    file.write_text("nonsense: 1")
    controller, terminal = pty.openpty()
    code = f"from ebpf_sidecar.pipeline.cli.commands import exit_code; exit_code(['check', '-c', {str(file)!r}])"
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    subprocess.run([sys.executable, "-c", code], stderr=terminal, env=clean | environ, check=True)
    os.close(terminal)
    seen = os.read(controller, 10_000).decode()
    os.close(controller)

    assert coloured == ("\x1b[" in seen)
    assert 'unknown section "nonsense"' in seen
