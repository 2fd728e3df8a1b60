# SPDX-License-Identifier: Apache-2.0
"""The command ``doctor``: what components find becomes a table, JSON and an exit code."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.checks import Advice, Check, Examination, Finding, FindingVerdict
from ebpf_sidecar.pipeline.cli import doctor as doctor_command
from ebpf_sidecar.pipeline.cli.commands import exit_code
from ebpf_sidecar.pipeline.component import ComponentKind, Factory
from ebpf_sidecar.pipeline.errors import PluginError
from ebpf_sidecar.pipeline.plugins import Plugins, hookimpl
from ebpf_sidecar.pipeline.settings import Settings

DATA = Path(__file__).parents[2] / "data"
CONFIG = """
receivers: {clock: {drift: 3}, clock/late: {drift: 90}}
exporters: {sink: }
service: {pipelines: {metrics: {receivers: [clock, clock/late], exporters: [sink]}}}
"""


class ClockSettings(Settings):
    drift: int = 0


def look(settings):
    """A problem above a minute; the configured value is checked."""
    verdict = FindingVerdict.PROBLEM if settings.drift > 60 else FindingVerdict.NOTE
    drift = Finding("clock", "drift", verdict, f"{settings.drift} s", "chronyc makestep")
    source = Finding("clock", "source", FindingVerdict.OK, "tsc")
    return Examination((source, drift), (Advice("systemd", "to keep it right", "systemctl enable chrony\n"),))


class Clock:
    """A receiver that brings a check for itself, and one for another component."""

    @hookimpl
    def register_components(self):
        return [Factory(ComponentKind.RECEIVER, "clock", lambda settings, context: settings, ClockSettings)]

    @hookimpl
    def register_checks(self):
        other = Check(ComponentKind.RECEIVER, "other", lambda settings: Examination(()))
        return [Check(ComponentKind.RECEIVER, "clock", look), other]


class Plain:
    """A receiver without checks."""

    @hookimpl
    def register_components(self):
        return [Factory(ComponentKind.RECEIVER, "plain", lambda settings, context: settings)]


class Sink:
    """An exporter without checks."""

    @hookimpl
    def register_components(self):
        return [Factory(ComponentKind.EXPORTER, "sink", lambda settings, context: settings)]


class Nonsense:
    @hookimpl
    def register_checks(self):
        return ["look"]


class Raises:
    @hookimpl
    def register_checks(self):
        raise OSError("no clock")


@pytest.fixture
def doctor(monkeypatch, install, tmp_path, capsys):
    """Run the command on a configuration of the test's components; exit code and output."""
    plugins = {"receiver.clock": Clock(), "receiver.plain": Plain(), "exporter.sink": Sink()}
    entries = [install(name, plugin) for name, plugin in plugins.items()]
    monkeypatch.setattr(doctor_command, "Plugins", lambda: Plugins(entries))

    def doctor(*arguments, config=CONFIG):
        (tmp_path / "config.yaml").write_text(config)
        code = exit_code(["doctor", "--config", str(tmp_path / "config.yaml"), *arguments])
        return code, capsys.readouterr().out

    return doctor


def test_the_table_is_as_reviewed(doctor, golden):
    """Aligned, a fix below its line, the count of problems, then what can be copied; no colours into a file."""
    code, output = doctor()

    assert 1 == code
    golden(DATA / "doctor.table", output)


def test_the_json_is_as_reviewed(doctor, golden):
    """Machines rely on its shape."""
    code, output = doctor("--json")

    assert 1 == code
    golden(DATA / "doctor.json", output)


def test_without_a_problem_the_exit_code_is_0(doctor):
    """Notes are not problems."""
    code, output = doctor("--set", "receivers.clock/late.drift=3")

    assert 0 == code
    assert "no problem found" in output
    assert "ok" == json.loads(doctor("--json", "--set", "receivers.clock/late.drift=3")[1])["verdict"]


def test_a_configuration_whose_components_have_no_checks_is_reported(doctor):
    """Nothing to check is not a problem."""
    config = CONFIG.replace("clock: {drift: 3}, clock/late: {drift: 90}", "plain: ").replace(
        "clock, clock/late", "plain"
    )

    assert (0, "nothing to check: no component of this configuration has checks\n") == doctor(config=config)


def test_a_wrong_configuration_is_explained_as_everywhere(doctor):
    """Exit code 2."""
    assert (2, "") == doctor("--set", "receivers.clock.drfit=3")


def test_words_are_coloured_for_a_terminal():
    """The table contains colours; click removes them without a terminal, see the first test."""
    lines = list(doctor_command.table([doctor_command.Examined("receiver clock", look(ClockSettings(drift=90)))]))

    assert any("\x1b[31mproblem" in line for line in lines)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("variable", "coloured"), [("", True), ("1", False)])
def test_no_color_takes_the_colours_away_also_on_a_terminal(doctor, monkeypatch, variable, coloured):
    """https://no-color.org."""
    terminal = Terminal()
    monkeypatch.setenv("NO_COLOR", variable)
    monkeypatch.setattr(sys, "stdout", terminal)
    doctor()

    assert coloured == ("\x1b[31mproblem" in terminal.getvalue())


@pytest.mark.parametrize(
    ("plugin", "cause"),
    [
        (Nonsense(), "register_checks returned 'look'; return Check objects"),
        (Raises(), "OSError: no clock"),
    ],
)
def test_a_plugin_with_broken_checks_is_named(install, plugin, cause):
    """With its cause, as for components."""
    with pytest.raises(PluginError, match=r'plugin "receiver.clock" of .* cannot be loaded: ') as caught:
        Plugins([install("receiver.clock", plugin)]).checks(ComponentKind.RECEIVER, "clock")

    assert cause in str(caught.value)


def test_checks_of_a_component_that_is_not_installed_are_none():
    """The configuration's own check reports it."""
    assert () == Plugins([]).checks(ComponentKind.RECEIVER, "clock")
