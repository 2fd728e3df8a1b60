# SPDX-License-Identifier: Apache-2.0
"""Components without their methods are found before any data arrives, and named with their package."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from ebpf_sidecar.pipeline import ComponentKind, Factory, Frame, Frames, PluginError
from ebpf_sidecar.pipeline.component import Consumer
from ebpf_sidecar.pipeline.component_methods import method_problem
from ebpf_sidecar.pipeline.config.load import InlineSource, load
from ebpf_sidecar.pipeline.errors import ConfigError, SidecarError
from ebpf_sidecar.pipeline.plugins import Plugins, hookimpl
from ebpf_sidecar.pipeline.running.service import Service

RECEIVER, PROCESSOR, EXPORTER, EXTENSION = ComponentKind


class Empty:
    pass


class TooMany:
    def process(self, frames, more): ...

    def export(self): ...

    def start(self): ...

    def shutdown(self, seconds): ...


class WrongTypes:
    def process(self, frames: int) -> str: ...

    def export(self, frames: str) -> None: ...

    def start(self, consumer: str) -> None: ...

    def shutdown(self) -> None: ...


class ForgetsToReturn:
    def process(self, frames: Frames) -> None: ...


class NotCallable:
    process = export = start = 1


@pytest.mark.parametrize("made", [True, False], ids=["instance", "class"])
@pytest.mark.parametrize(
    ("kind", "component", "problem"),
    [
        (RECEIVER, Empty, "a receiver needs a method start(consumer), and Empty has none"),
        (PROCESSOR, Empty, "a processor needs a method process(frames), and Empty has none"),
        (EXPORTER, Empty, "an exporter needs a method export(frames), and Empty has none"),
        (EXTENSION, Empty, "an extension needs a method start(), and Empty has none"),
        (PROCESSOR, NotCallable, "a processor needs a method process(frames), and NotCallable has none"),
        (RECEIVER, TooMany, "TooMany.start cannot be called with 1 argument; a receiver has start(consumer)"),
        (PROCESSOR, TooMany, "TooMany.shutdown cannot be called with 0 arguments; a processor has shutdown()"),
        (RECEIVER, WrongTypes, 'WrongTypes.start takes a str as "consumer"; a receiver has start(consumer)'),
        (EXPORTER, WrongTypes, "WrongTypes.start cannot be called with 0 arguments; an exporter has start()"),
        (PROCESSOR, ForgetsToReturn, "ForgetsToReturn.process returns None; a processor has process(frames)"),
    ],
)
def test_mistakes_of_a_component_are_reported(kind, component, problem, made):
    """Of an instance, and of a class before there is one."""
    assert problem == method_problem(kind, component() if made else component)


class Untyped:
    def process(self, frames):
        return frames


class Typed:
    def start(self) -> None: ...

    def process(self, frames: Iterable[Frame]) -> Sequence[Frame]: ...


class Loose:
    def process(self, *frames: Any, **more: Any) -> Any: ...


class Unresolved:
    def process(self, frames: "NoSuchType") -> "NoSuchType": ...  # noqa: F821


class Receives:
    def start(self, consumer: Consumer) -> None: ...

    def shutdown(self) -> None: ...


@pytest.mark.parametrize(
    ("kind", "component"),
    [(PROCESSOR, Untyped), (PROCESSOR, Typed), (PROCESSOR, Loose), (PROCESSOR, Unresolved), (RECEIVER, Receives)],
)
def test_what_may_be_right_is_let_through(kind, component):
    """Types other than ours are the type checker's business."""
    assert ("", "") == (method_problem(kind, component()), method_problem(kind, component))


class Registers:
    def __init__(self, create):
        self._create = create

    @hookimpl
    def register_components(self):
        return [Factory(PROCESSOR, "mine", self._create)]


CONFIG = b"""
receivers: {replay: {}}
processors: {mine: {}}
exporters: {debug: {}}
service: {pipelines: {metrics: {receivers: [replay], processors: [mine], exporters: [debug]}}}
"""


def configured(install, create):
    """The configuration above, with our receivers and exporters."""
    ours = [plugin.entry for _, _, plugin in Plugins().all() if plugin.is_builtin]
    return load(
        [InlineSource(CONFIG, "c.yaml")], [], Plugins([*ours, install("processor.mine", Registers(create))]), {}
    )


def test_a_class_without_its_method_is_a_mistake_in_the_configuration(install):
    """``check`` finds it, and names the package."""

    class Mine:
        def __init__(self, settings, context): ...

    with pytest.raises(
        ConfigError, match='processor "mine" of unknown distribution: a processor needs a method process'
    ):
        configured(install, Mine)


class Leaves(Untyped):
    def start(self):
        raise SystemExit(4)


@pytest.mark.parametrize(
    ("create", "said"),
    [
        (lambda settings, context: sys.exit(4), "cannot be created"),
        (lambda settings, context: Leaves(), "cannot start"),
    ],
)
def test_a_component_that_raises_or_exits_is_named_with_its_package(install, create, said):
    """The package can be updated or removed; the type alone does not identify it."""
    config = configured(install, create)

    with pytest.raises(
        SidecarError, match=rf"^{said}: SystemExit: 4 \(a component of unknown distribution\)$"
    ) as problem:
        Service(config).start()
    assert "mine" == problem.value.component


def test_the_result_of_a_function_is_checked_when_the_graph_is_built(install):
    """Before anything starts, not by a warning for each batch."""
    config = configured(install, lambda settings, context: Empty())

    with pytest.raises(
        PluginError, match=r"needs a method process.*; update or remove unknown distribution"
    ) as problem:
        Service(config)
    assert "mine" == problem.value.component


class Sends:
    def encode(self, frames): ...

    def send(self, payload): ...


class OnlySends:
    def send(self, payload): ...


@pytest.mark.parametrize(
    ("component", "sends", "problem"),
    [
        (Sends, True, ""),
        (Sends, False, "an exporter needs a method export(frames), and Sends has none"),
        (OnlySends, True, "an exporter with PushSettings needs a method encode(frames), and OnlySends has none"),
        (Empty, True, "an exporter with PushSettings needs a method encode(frames), and Empty has none"),
    ],
)
def test_the_settings_decide_whether_an_exporter_must_send(component, sends, problem):
    """If its settings have a queue, it needs the methods that a queue calls."""
    assert problem == method_problem(EXPORTER, component(), sends=sends)
