# SPDX-License-Identifier: Apache-2.0
"""Plugins: found by name, imported late, blamed by name."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

import pytest

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.errors import PluginError
from ebpf_sidecar.pipeline.plugins import Plugins, hookimpl

PROCESSOR = ComponentKind.PROCESSOR


class ReturnsNonsense:
    @hookimpl
    def register_components(self):
        return ["rate"]


class Raises:
    @hookimpl
    def register_components(self):
        raise RuntimeError("no libc")


class Misspells:
    @hookimpl
    def register_component(self):
        return []


def test_types_are_known_without_importing_anything():
    """By the names of entry points alone."""
    plugins = Plugins([EntryPoint("processor.rate", "no_such_module", "ebpf_sidecar")])

    assert ("rate",) == plugins.types(PROCESSOR)
    assert () == plugins.types(ComponentKind.EXPORTER)


def test_a_component_that_is_not_installed_is_refused():
    """By kind and type."""
    with pytest.raises(PluginError, match='exporter "rate" is not installed'):
        Plugins([]).factory(ComponentKind.EXPORTER, "rate")


class Exits:
    @hookimpl
    def register_probes(self):
        raise SystemExit(9)

    @hookimpl
    def register_components(self):
        raise SystemExit(9)


class Brings:
    def __init__(self, folder):
        self.folder = folder

    @hookimpl
    def register_probes(self):
        return [self.folder]


class RaisesForProbes:
    @hookimpl
    def register_probes(self):
        raise OSError("no folder")


def test_a_broken_plugin_of_probes_is_left_out_and_named_with_its_cause(install, tmp_path):
    """A configuration that uses only others must work; for one that names a probe of it the cause is reported."""
    bad = [install("probes.mine", RaisesForProbes()), install("probes.last", Exits())]
    plugins = Plugins([*bad, install("probes.good", Brings(tmp_path))])
    broken = [str(each) for each in plugins.broken_probes()]

    assert (tmp_path,) == plugins.probe_folders()
    assert 'plugin "probes.last" of unknown distribution cannot be loaded: SystemExit: 9; ' in broken[0]
    assert 'plugin "probes.mine" of unknown distribution cannot be loaded: OSError: no folder; ' in broken[1]


def test_our_own_probes_come_first(install, tmp_path):
    """What is found first wins, whatever other packages call theirs."""
    ours = tmp_path / "ours"
    plugins = Plugins([install("probes.a", Brings(tmp_path)), install("probes.builtin", Brings(ours))])

    assert (ours, tmp_path) == plugins.probe_folders()


@pytest.mark.parametrize(
    ("plugin", "cause"),
    [
        (ReturnsNonsense(), "register_components returned 'rate'; return Factory objects"),
        (Raises(), "RuntimeError: no libc"),
        (Exits(), "SystemExit: 9"),
        (Misspells(), "PluginValidationError: unknown hook 'register_component'"),
    ],
)
def test_a_broken_plugin_is_named_with_its_cause(install, plugin, cause):
    """Whatever it does wrong, and without harm to others."""
    plugins = Plugins([install("processor.rate", plugin)])

    with pytest.raises(PluginError) as caught:
        plugins.factory(PROCESSOR, "rate")
    assert 'plugin "processor.rate" of unknown distribution cannot be loaded: ' in str(caught.value)
    assert cause in str(caught.value)


def test_the_name_of_a_component_of_ours_stays_ours(install):
    """A package that takes it must not break the packaged configuration; it is reported instead."""
    [ours] = [each for each in entry_points(group="ebpf_sidecar") if each.name == "processor.rate"]
    theirs = install("processor.rate", Raises())
    for found in ([ours, theirs], [theirs, ours]):
        plugins = Plugins(found)
        [(shadowed, said)] = plugins.shadowed()

        assert "ebpf_sidecar.processors.rate" == plugins.factory(PROCESSOR, "rate").create.__module__
        assert theirs == shadowed
        assert said.startswith('plugin "processor.rate" of unknown distribution is not used: ')


def test_two_packages_with_one_name_are_not_chosen_between(entries, monkeypatch):
    """Which of them is meant is unknown; finding the same entry point twice is not a conflict."""
    module = ModuleType("another_rate")
    monkeypatch.setitem(sys.modules, "another_rate", module)
    rate = next(entry for entry in entries if entry.name == "processor.rate")
    other = EntryPoint("processor.rate", "another_rate", "ebpf_sidecar")

    assert "rate" == Plugins([rate, rate]).factory(PROCESSOR, "rate").type
    with pytest.raises(PluginError, match="provides a plugin of the same name; update or remove that package"):
        Plugins([rate, other]).factory(PROCESSOR, "rate")


def test_probes_and_misnamed_plugins_are_listed_apart(entries):
    """Everything that is installed is in one of the two lists."""
    odd = [EntryPoint("probes.mine", "x", "ebpf_sidecar"), EntryPoint("nonsense", "x", "ebpf_sidecar")]
    plugins = Plugins([*entries, *odd])

    assert ["nonsense", "probes.mine"] == [plugin.entry.name for plugin in plugins.non_components()]
    assert len(entries) == len(plugins.all())
