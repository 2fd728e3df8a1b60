# SPDX-License-Identifier: Apache-2.0
"""The contract of components as a check for their authors' tests. Our own components run it, too."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from .buckets import ExplicitBuckets, ExponentialBuckets
from .component import ComponentKind, Factory, UpstreamRequest
from .component_methods import method_problem
from .endpoint import Listening
from .errors import ExportError, SidecarError
from .frame import Frame, Frames, Kind, points
from .host import Context, Request, Response, Routes
from .payload import LeftOut, Payload, SendError
from .rows import RowSet
from .settings import Settings
from .tls_settings import ServerTls

_ENDING_SECONDS = 0.5  # a thread that was asked to stop may need a moment


def check(factory: Factory, valid_settings: Mapping[str, Any], context: Callable[[], Context]) -> None:
    """Like `testing.check_contract`, with a ``context`` for each component that is created."""
    _check_documented(factory)
    _check_settings(factory, valid_settings)
    _check_stop_without_start(_make(factory, valid_settings, context()))
    surroundings = context()
    routes = _NotedRoutes(surroundings.routes)
    component = _make(factory, valid_settings, replace(surroundings, routes=routes))
    _check_life(factory, component)
    _check_claims(factory, factory.settings(**valid_settings), component, routes.added)


def _make(factory: Factory, settings: Mapping[str, Any], context: Context) -> Any:
    component = factory.create(factory.settings(**settings), context)
    problem = method_problem(factory.kind, component, sends=factory.sends)
    assert not problem, problem
    return component


class _NotedRoutes:
    """Routes that remember every path that was added."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self.added: set[tuple[str, str]] = set()

    def add(
        self,
        endpoint: str,
        path: str,
        handler: Callable[[Request], Response],
        *,
        max_body: int = 0,
        tls: ServerTls | None = None,
    ) -> None:
        """Like the wrapped routes."""
        self.added.add((endpoint, path))
        self._routes.add(endpoint, path, handler, max_body=max_body, tls=tls)

    def remove(self, endpoint: str, path: str) -> None:
        """Like the wrapped routes."""
        self._routes.remove(endpoint, path)


def _check_claims(factory: Factory, settings: Settings, component: Any, added: set[tuple[str, str]]) -> None:
    """A component uses only what its factory claims, so that conflicts are found before anything starts."""
    claims = list(factory.claims(settings))
    unclaimed = added - {(each.endpoint, each.path) for each in claims if isinstance(each, Listening)}
    assert not unclaimed, f"{sorted(unclaimed)} are served but not among the factory's claims; add Listening(…) to them"
    if isinstance(component, UpstreamRequest):
        assert component.map_cleanup in claims, "map_cleanup is not among the factory's claims; add it to them"


def _check_documented(factory: Factory) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", factory.type), f'type "{factory.type}" is not lower_snake_case'
    assert factory.description.strip(), f'"{factory.type}" has no description; give the factory one line'
    assert "\n" not in factory.description, f'the description of "{factory.type}" has several lines; give it one'
    module = sys.modules[(factory.settings if factory.settings is not Settings else factory.create).__module__]
    assert (module.__doc__ or "").strip(), f"{module.__name__} has no docstring; say what the component is for"
    for path, description in _fields(factory.settings):
        assert description, f"setting {path} is not documented; put a docstring below it"


def _fields(settings: type[Settings], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, info in settings.model_fields.items():
        yield f"{prefix}{name}", info.description or ""
        if isinstance(info.annotation, type) and issubclass(info.annotation, Settings):
            yield from _fields(info.annotation, f"{prefix}{name}::")


def _check_settings(factory: Factory, valid: Mapping[str, Any]) -> None:
    assert issubclass(factory.settings, Settings), "settings are not a subclass of Settings"
    factory.settings(**valid)
    try:
        factory.settings(**{**valid, "no_such_setting": 1})
    except ValidationError:
        return
    raise AssertionError('the unknown key "no_such_setting" was accepted; derive settings from Settings')


def _check_stop_without_start(component: Any) -> None:
    if hasattr(component, "shutdown"):
        component.shutdown()
        component.shutdown()


def _check_life(factory: Factory, component: Any) -> None:
    before = set(threading.enumerate())
    arrived: list[Frames] = []
    started = _start(factory, component, arrived)
    try:
        if started:
            _check_frames(factory, component)
    finally:
        if hasattr(component, "shutdown"):
            component.shutdown()
    count = len(arrived)
    _check_stop_without_start(component)
    left = _left_running(before)
    assert not left, f"threads are left after shutdown: {left}"
    assert count == len(arrived), "frames were passed on after shutdown"


def _left_running(before: set[threading.Thread]) -> list[str]:
    """Threads started since then that do not stop, daemon threads included: a reload would leak them."""
    started = set(threading.enumerate()) - before
    deadline = time.monotonic() + _ENDING_SECONDS
    for thread in started:
        thread.join(max(0.0, deadline - time.monotonic()))
    return sorted(thread.name for thread in started if thread.is_alive())


def _start(factory: Factory, component: Any, arrived: list[Frames]) -> bool:
    try:
        if factory.kind is ComponentKind.RECEIVER:
            component.start(arrived.append)
        elif hasattr(component, "start"):
            component.start()
    except SidecarError:
        return False
    return True


def _check_frames(factory: Factory, component: Any) -> None:
    for frames in ((), _empty(), _sample()):
        if factory.kind is ComponentKind.PROCESSOR:
            _check_answer(component.process(frames))
        elif factory.sends:
            _check_payloads(component, frames)
        elif factory.kind is ComponentKind.EXPORTER:
            with suppress(ExportError):  # there is no back end in a test; the contract is to raise nothing else
                component.export(frames)


def _check_payloads(sender: Any, frames: Frames) -> None:
    parts = list(sender.encode(frames))
    for part in parts:
        assert isinstance(part, (Payload, LeftOut)), f"encode made a {type(part).__name__}; make a Payload or a LeftOut"
    accounted, offered = sum(part.points for part in parts), points(frames)
    assert accounted == offered, (
        f"encode accounted for {accounted} of {offered} points; yield a LeftOut for those in no payload"
    )
    for payload in (part for part in parts if isinstance(part, Payload)):
        again = Payload(bytes(payload.body), payload.points, dict(payload.note))  # as it is read back from a disk
        for each in (payload, again):
            with suppress(SendError):
                sender.send(each)


def _check_answer(frames: object) -> None:
    assert isinstance(frames, Sequence), f"process returned {type(frames).__name__}; return a sequence of frames"
    for frame in frames:
        assert isinstance(frame, Frame), f"process returned a {type(frame).__name__} among frames"


def _empty() -> Frames:
    return _one_of_each(RowSet.of([]))


def _sample() -> Frames:
    return _one_of_each(RowSet.of([{"container.id": "", "process.executable.name": 'a"b\\c\n'}, {"container.id": "c"}]))


def _one_of_each(rows: RowSet) -> Frames:
    ones = np.ones(len(rows))
    counts = np.ones(len(rows), dtype=np.uint64)
    buckets = np.ones((len(rows), 3), dtype=np.uint64)
    explicit, exponential = ExplicitBuckets(np.array([0.5, 1.0])), ExponentialBuckets(scale=0, offset=9, size=1)
    return (
        Frame("contract.counter", Kind.COUNTER, rows, counts, 2_000, 1_000, "{thing}", "things"),
        Frame("contract.gauge", Kind.GAUGE, rows, ones, 2_000, unit="%"),
        Frame("contract.updowncounter", Kind.UPDOWNCOUNTER, rows, ones, 2_000, 1_000, "By"),
        Frame("contract.histogram", Kind.HISTOGRAM, rows, buckets, 2_000, 1_000, "s", buckets=explicit, sums=ones),
        Frame(
            "contract.exponential", Kind.HISTOGRAM, rows, buckets, 2_000, 1_000, "By", buckets=exponential, sums=ones
        ),
    )
