# SPDX-License-Identifier: Apache-2.0
"""Small components of every kind, installed for a test without being distributed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest
from pydantic import Field, SecretStr, model_validator

from ebpf_sidecar.pipeline.component import ComponentKind, Factory, Stability
from ebpf_sidecar.pipeline.http.servers import HttpServers
from ebpf_sidecar.pipeline.plugins import Plugins, hookimpl
from ebpf_sidecar.pipeline.push_settings import PushSettings
from ebpf_sidecar.pipeline.settings import Duration, Interval, Settings
from ebpf_sidecar.processors.memory_limiter import MemoryLimiterSettings


class ProbeSettings(Settings):
    buffer: int = 1


class FilterSettings(Settings):
    names: list[str] = Field(default_factory=list)


class EbpfSettings(Settings):
    collection_interval: Interval = 10.0
    probes: list[str] | dict[str, ProbeSettings | None] = Field(default_factory=list)
    buffer: int = Field(64, ge=1)
    ratio: float = Field(0.5, ge=0, lt=1)
    threads: int = Field(1, le=8)
    shares: float = Field(1, gt=0)
    step: int = Field(5, multiple_of=5)
    verify: bool = False
    labels: dict[str, str] = Field(default_factory=dict)
    filter: FilterSettings = FilterSettings()
    owner: str = Field("me", min_length=1)
    device: str = Field("sda", pattern="^[a-z]+$")
    group_by: list[str] = Field(default_factory=lambda: ["container"], min_length=1)
    mode: Literal["fast", "exact", "true"] = "fast"
    strategy: Literal["clear", "keep"] = "keep"
    retain: Duration | None = 5.0
    lowest: int = 1
    highest: int = 10

    @model_validator(mode="after")
    def _ordered(self) -> EbpfSettings:
        if self.lowest > self.highest:
            raise ValueError(f'"lowest" {self.lowest} is above "highest" {self.highest}; exchange them')
        return self


class CleanupSettings(Settings):
    cleanup_strategy: Literal["clear_after_read", "keep_recent"] = "keep_recent"
    cleanup_interval: Interval = 30.0


class PrometheusSettings(Settings):
    endpoint: str = "127.0.0.1:18080"


class OtlpSettings(Settings):
    endpoint: str
    token: SecretStr | None = None
    dsn: SecretStr | None = None
    password: str = ""
    mode: Literal["grpc", "http"] = "grpc"
    headers: dict[str, str] = Field(default_factory=dict)


class DebugSettings(Settings):
    verbosity: str = "basic"


COMPONENTS = {
    "receiver.ebpf": EbpfSettings,
    "processor.map_cleanup": CleanupSettings,
    "processor.container": Settings,
    "processor.memory_limiter": MemoryLimiterSettings,
    "processor.rate": Settings,
    "exporter.prometheus": PrometheusSettings,
    "exporter.otlp": OtlpSettings,
    "exporter.debug": DebugSettings,
    "exporter.push": PushSettings,
    "extension.health_check": Settings,
    "extension.file_storage": Settings,
}

Install = Callable[[str, object], EntryPoint]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes an object the plugin behind an entry-point name; an exception is raised when the plugin is asked."""

    def installed(name: str, plugin: object) -> EntryPoint:
        module = ModuleType(f"in_test_{name.replace('.', '_')}")
        module.plugin = plugin
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return EntryPoint(name, f"{module.__name__}:plugin", "ebpf_sidecar")

    return installed


class Registers:
    """A plugin with the given factories and probe folders."""

    def __init__(self, *factories: Factory, folders: tuple[Path, ...] = ()) -> None:
        self._factories, self._folders = factories, folders

    @hookimpl
    def register_components(self) -> tuple[Factory, ...]:
        return self._factories

    @hookimpl
    def register_probes(self) -> tuple[Path, ...]:
        return self._folders


def stand_in(name: str, settings: type[Settings]) -> Factory:
    """A factory for an entry-point name whose component is nothing but its settings."""
    kind, _, type_ = name.partition(".")
    create = lambda settings, context: settings  # noqa: E731 - the whole component
    return Factory(ComponentKind(kind), type_, create, settings, Stability.BETA, f"A {type_} for tests")


@pytest.fixture
def entries(install: Install) -> list[EntryPoint]:
    """Entry points of the stand-ins, of a plugin that cannot be imported, and of one that registers something else."""
    right = [install(name, Registers(stand_in(name, settings))) for name, settings in COMPONENTS.items()]
    missing = EntryPoint("processor.broken", "no_such_module_of_ours", "ebpf_sidecar")
    other = install("processor.elsewhere", Registers(stand_in("processor.rate", Settings)))
    return [*right, missing, other]


@pytest.fixture
def plugins(entries: list[EntryPoint]) -> Plugins:
    """The stand-ins as installed plugins."""
    return Plugins(entries)


@pytest.fixture
def servers():
    """Started servers, closed after the test."""
    servers = HttpServers()
    servers.start()
    yield servers
    servers.shutdown()


@pytest.fixture
def root_logger():
    """Leave logging as it was."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield root
    root.setLevel(before[0])
    root.handlers[:] = before[1]
