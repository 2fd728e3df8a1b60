# SPDX-License-Identifier: Apache-2.0
"""Adds the container and pod of a row, from its cgroup path alone.

Adds ``container.id``, ``container.runtime.name`` and ``k8s.pod.uid`` if the attribute ``process.linux.cgroup`` is a
container's. Works without network, container runtime socket or Kubernetes API. Put it after ``map_cleanup``.

    processors:
      container: {keep_cgroup: false}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ebpf_sidecar.pipeline.component import Factory, Stability
from ebpf_sidecar.pipeline.container_path import Container, container_of
from ebpf_sidecar.pipeline.frame import Frames
from ebpf_sidecar.pipeline.host import Context
from ebpf_sidecar.pipeline.plugins import hookimpl
from ebpf_sidecar.pipeline.rows import RowSet, Text, once_per_row_set
from ebpf_sidecar.pipeline.settings import Settings

CGROUP = "process.linux.cgroup"


class ContainerSettings(Settings):
    """What is removed from rows."""

    keep_cgroup: bool = False
    """Keep ``process.linux.cgroup`` if a container was found; otherwise (systemd services, …) it is always kept."""


class ContainerMetadata(Protocol):
    """Additional attributes of containers, from a source that follows them as they come and go.

    The extension point for the Kubernetes API: a watcher of the node's pods returns ``k8s.namespace.name``,
    ``k8s.pod.name``, ``k8s.container.name`` … from its cache, never blocks, and increases ``generation`` when a result
    changes (a pod became known after its first events), so that rows are described again.
    """

    @property
    def generation(self) -> int:
        """Changes whenever a result may have changed."""
        ...

    def attributes(self, container: Container) -> Mapping[str, str]:
        """Attribute name → value; empty for an unknown container."""
        ...


class NoContainerMetadata:
    """No additional attributes: container and pod have only their ids."""

    generation = 0

    def attributes(self, container: Container) -> Mapping[str, str]:  # noqa: ARG002 # the protocol
        """Return nothing."""
        return {}


class ContainerProcessor:
    """Adds container attributes to rows. Values and number of rows never change; each row set is processed once."""

    def __init__(self, settings: ContainerSettings, _context: Context, names: ContainerMetadata | None = None) -> None:
        self._keep_cgroup = settings.keep_cgroup
        self._metadata = names or NoContainerMetadata()
        self._described = once_per_row_set(self._describe, version=lambda: self._metadata.generation)

    def process(self, frames: Frames) -> Frames:
        """The same frames with container attributes."""
        described = [(frame, self._described(frame.rows)) for frame in frames]
        return [frame if rows is frame.rows else frame.with_rows(rows) for frame, rows in described]

    def _describe(self, rows: RowSet) -> RowSet:
        cgroup = rows.columns.get(CGROUP)
        if not isinstance(cgroup, Text):
            return rows
        containers = {word: found for word in cgroup.words if (found := container_of(word))}
        if not containers:
            return rows
        rows = rows.with_columns(**self._attributes(cgroup, containers))
        return rows if self._keep_cgroup else _without_known(rows, cgroup, containers)

    def _attributes(self, cgroup: Text, containers: Mapping[str, Container]) -> dict[str, Text]:
        described = {word: self._described_by(container) for word, container in containers.items()}
        names = dict.fromkeys(name for attributes in described.values() for name in attributes)
        return {name: cgroup.map(_reader(described, name)) for name in names}

    def _described_by(self, container: Container) -> dict[str, str]:
        ids = {
            "container.id": container.id,
            "container.runtime.name": container.runtime,
            "k8s.pod.uid": container.pod_uid,
        }
        known = {name: value for name, value in ids.items() if value}
        return {**known, **self._metadata.attributes(container)}


def _reader(described: Mapping[str, Mapping[str, str]], name: str) -> Callable[[str], str]:
    """Cgroup → value of one attribute, empty where absent."""
    return lambda word: described.get(word, {}).get(name, "")


def _without_known(rows: RowSet, cgroup: Text, containers: Mapping[str, Container]) -> RowSet:
    """Remove the cgroup if it says no more than the container's id: rows of directories *inside* a container keep
    theirs, or two rows would become indistinguishable."""
    said = {word for word, container in containers.items() if container.directory == word}
    left = cgroup.map(lambda word: "" if word in said else word)
    return rows.with_columns(**{CGROUP: left}) if any(left.words) else rows.without(CGROUP)


@hookimpl
def register_components() -> Sequence[Factory]:
    """The processor ``container``."""
    return [
        Factory.processor(
            "container",
            ContainerProcessor,
            ContainerSettings,
            stability=Stability.BETA,
            description="Adds container id, runtime and pod uid from the cgroup path",
        )
    ]
