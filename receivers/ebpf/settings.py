# SPDX-License-Identifier: Apache-2.0
"""The eBPF receiver's settings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from ebpf_sidecar.pipeline.config.pydantic_messages import quoted
from ebpf_sidecar.pipeline.config.yaml_document import Location
from ebpf_sidecar.pipeline.errors import ConfigError, Mistake
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.settings import Bytes, PlacedError, Settings, Share, Within
from ebpf_sidecar.pipeline.suggestions import did_you_mean
from ebpf_sidecar.receivers.ebpf.loader.program_cache import DEFAULT_FOLDER
from ebpf_sidecar.receivers.ebpf.loading.build_request import check_settings, sizes_of
from ebpf_sidecar.receivers.ebpf.loading.map_sizing import BUDGET
from ebpf_sidecar.receivers.ebpf.loading.targets import TargetSettings
from ebpf_sidecar.receivers.ebpf.owners.attribution import GroupBy
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import Probe

DEFAULT_PROBES = ("page_cache", "block_io", "syscalls")
SHED_ORDER = ("page_faults", "block_waits", "syscalls", "block_io", "page_cache", "memory")
"""In the order in which users lose least: first what other tools report as well, last what no other tool reports."""


class EbpfSettings(Settings):
    """What to measure, how often, and how rows are grouped."""

    collection_interval: Annotated[float, Within("10ms", "24h")] = 10.0
    """How often the kernel maps are read."""
    probes: dict[str, dict[str, Any]] = Field(default={name: {} for name in DEFAULT_PROBES}, min_length=1)
    """The probes to load: a list of names, or a mapping from name to the probe's own settings (see bpf/README.md)."""
    group_by: tuple[GroupBy, ...] = (GroupBy.CONTAINER, GroupBy.EXECUTABLE)
    """How rows are grouped: by ``container`` (or the cgroup if there is none), ``cgroup``, ``executable``, ``pid``.
    With ``pid``, series come and go with every process."""
    targets: TargetSettings = TargetSettings()
    """Which processes to measure; the kernel programs skip all others immediately."""
    strict: bool = False
    """Whether a hook that cannot be attached is an error. If not, its metrics are absent and the log says why."""
    max_rows: int = Field(default=100_000, ge=1, le=10_000_000)
    """The most rows that a kernel map may produce; the rest shares one row marked ``otel.metric.overflow``. Rows that
    were idle for an hour are dropped, and restart from zero when they return."""
    canary_interval: Annotated[float, Within("1s", "720h", or_zero=True)] = 600.0
    """How often each attached hook is triggered to check that it fires (`ebpf.probe.live`); ``0s``: only at startup."""
    probe_statistics: bool = False
    """Whether the kernel counts how often each program runs and for how long (`ebpf.probe.runs`,
    `ebpf.probe.run_time`), which makes each run about 50 ns more expensive for all BPF programs on the machine. Needs
    CAP_SYS_ADMIN, or ``kernel.bpf_stats_enabled``."""
    max_map_memory: Bytes = Field(default=BUDGET, validate_default=True)
    """Kernel memory that all maps together may take when full, whatever the number of CPUs. Events for which there is
    no room are counted in `ebpf.dropped.events`."""
    max_overhead: Share | None = None
    """The share of the machine's CPU time (of all CPUs together) that all probes may take. When they exceed it for
    three intervals, probes are turned off one at a time, in the order of ``shed``, until a restart. Has the same
    requirements as ``probe_statistics``, and turns that on."""
    shed: tuple[str, ...] = Field(default=SHED_ORDER, min_length=1)
    """Which probes ``max_overhead`` may turn off, in this order; all others stay on. Unless this is set, third-party
    probes are turned off before these."""
    full_executable_names: bool = True
    """Whether ``process.executable.name`` is the full name where the kernel truncated it to 15 bytes. It stays
    truncated where it may mean several programs."""

    load_timeout: Annotated[float, Within("1s", "1h")] = 60.0
    """The longest time that compiling and attaching may take."""

    program_cache: str | None = None
    """Folder in which compiled programs are cached, so that the next start on the same kernel needs no compiler: an
    absolute path, accessible only to the service's user; empty: cache nothing. Default: ``$CACHE_DIRECTORY`` (systemd),
    or ``/var/cache/ebpf-sidecar``."""

    @field_validator("program_cache")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value and not Path(value).is_absolute():
            raise ValueError(f"{quoted(value)} is not an absolute path; write one, as {DEFAULT_FOLDER}")
        return value

    @field_validator("probes", mode="before", json_schema_input_type=list[str] | dict[str, dict[str, Any] | None])
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        """A list of names is a mapping without settings; so is a name followed by nothing."""
        if isinstance(value, list):
            value = dict.fromkeys(_names(value))
        if not isinstance(value, dict):
            given = quoted(value)
            advice = given.strip('"') if isinstance(value, str) else "page_cache, block_io"
            raise ValueError(f"{given} is not a list of probes; write [{advice}]")
        return {name: _written(body) for name, body in value.items()}

    @field_validator("probes")
    @classmethod
    def _known(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Every probe is installed and accepts its settings."""
        plugins = Plugins()
        found = find_probes(plugins.probe_folders())
        mistakes: list[tuple[Location, str]] = []
        probes = _read_all(path for name, path in found.items() if name in value)
        for name, chosen in value.items():
            if name not in found:
                unknown = [f'unknown probe "{name}"{did_you_mean(name, found)}']
                unknown += [f"it may belong to a broken plugin: {broken}" for broken in plugins.broken_probes()]
                mistakes.append(((name,), "; ".join(unknown)))
            elif chosen:
                mistakes += (((name, *at), message) for at, message in check_settings(probes[name], chosen))
        if mistakes:
            raise PlacedError(mistakes)
        return value

    @field_validator("max_map_memory")
    @classmethod
    def _enough(cls, value: int, known: ValidationInfo) -> int:
        """The smallest possible maps of the chosen probes fit, and so does the one for target cgroups."""
        files = find_probes(Plugins().probe_folders())
        probes = [read_probe(files[name]) for name in known.data.get("probes", {})]
        by_cgroup = "targets" in known.data and bool(known.data["targets"].cgroups)
        sizes_of(probes, value, by_cgroup=by_cgroup)
        return value

    @field_validator("shed")
    @classmethod
    def _loaded(cls, value: tuple[str, ...], known: ValidationInfo) -> tuple[str, ...]:
        for name in value:
            if name not in known.data.get("probes", {name: {}}):
                raise ValueError(f'probe "{name}" is not among the probes{did_you_mean(name, known.data["probes"])}')
        # a value that is itself invalid is missing here and reported on its own
        if value and known.data.get("max_overhead", "wrong") is None:
            raise ValueError("nothing is turned off without max_overhead; set max_overhead, or remove this list")
        return value

    def __eq__(self, other: object) -> bool:
        """Whether they mean the same: whether ``shed`` was written decides about third-party probes."""
        return isinstance(other, EbpfSettings) and super().__eq__(other) and self.shed_order == other.shed_order

    __hash__ = None  # type: ignore[assignment] # as before: some settings are mappings

    @property
    def shed_order(self) -> tuple[str, ...]:
        """The chosen probes that ``max_overhead`` may turn off, in order."""
        third_party = (
            [] if "shed" in self.model_fields_set else [name for name in self.probes if name not in SHED_ORDER]
        )
        return tuple(name for name in (*third_party, *self.shed) if name in self.probes)

    @field_validator("group_by")
    @classmethod
    def _one_cgroup(cls, value: tuple[GroupBy, ...]) -> tuple[GroupBy, ...]:
        if GroupBy.CONTAINER in value and GroupBy.CGROUP in value:
            raise ValueError('"container" and "cgroup" exclude each other; name one of them')
        if len(set(value)) < len(value):
            raise ValueError("a part is listed twice; list each once")
        return value


def _read_all(paths: Iterable[Path]) -> dict[str, Probe]:
    """The probes by name. Raises `ConfigError` with the mistakes in all of their files."""
    found: dict[str, Probe] = {}
    mistakes: list[Mistake] = []
    for path in paths:
        try:
            found[path.stem] = read_probe(path)
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
    return found


def _written(body: Any) -> Any:
    """A probe's own settings; a setting without a value keeps its default, as everywhere."""
    return {name: value for name, value in body.items() if value is not None} if isinstance(body, dict) else body or {}


def _names(listed: list[Any]) -> list[str]:
    """The probes' names in a list. Raises ValueError, which says how to fix it."""
    for each in listed:
        if isinstance(each, dict) and each:
            settings = ", ".join(f"{name}: {{…}}" for name in each)
            raise ValueError(
                f"a mapping is not the name of a probe; for settings write probes: {{{settings}}}, no list"
            )
        if not isinstance(each, str):
            raise ValueError(f"{quoted(each)} is not the name of a probe; write [first, second]")
        if listed.count(each) > 1:
            raise ValueError(f'probe "{each}" is listed twice; list it once')
    return listed
