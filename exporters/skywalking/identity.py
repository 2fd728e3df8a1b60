# SPDX-License-Identifier: Apache-2.0
"""The service instance that a row belongs to in OAP: container@pod.

The names are those that BanyanDB's own metrics have there, so that ours are beside them; underscores, because rules
cannot name a label with a dot.
"""

from __future__ import annotations

from dataclasses import dataclass

from ebpf_sidecar.pipeline.rows import RowSet, Text, texts

from .settings import OapSettings

JOB = "ebpf-sidecar"
"""``job_name``: other than upstream's, whose rules would take our points for their own."""
RESOURCE = ("cluster", "oap_instance", "pod_name", "container_name", "node_role", "node_type", "job_name")
_CONTAINER_NAMES = ("k8s.container.name", "container.name")
_POD = "k8s.pod.name"
_ID, _CGROUP = "container.id", "process.linux.cgroup"
_SHORT_ID = 12  # as many characters as Docker and crictl show
_HOST = "host"
DESCRIBING = frozenset({
    *_CONTAINER_NAMES, _POD, _ID, _CGROUP, "container.runtime.name", "container.image.name", "k8s.pod.uid",
    "k8s.namespace.name", "k8s.node.name",
})  # fmt: skip
"""Attributes that the instance stands for."""


@dataclass(frozen=True)
class Identity:
    """``settings``: the names of what rows do not name. ``pod``: that of rows without one."""

    settings: OapSettings
    pod: str

    def described(self, rows: RowSet) -> RowSet:
        """The rows with the attributes of their instance instead of those that it stands for."""
        containers, pods = self._containers(rows), self._pods(rows)
        instances = [f"{container}@{pod}" for container, pod in zip(containers, pods, strict=True)]
        same = {"cluster": self.settings.cluster, "job_name": JOB} | self._roles()
        columns = {name: Text.constant(word, len(rows)) for name, word in same.items()}
        columns |= {
            "oap_instance": Text.of(instances), "pod_name": Text.of(pods), "container_name": Text.of(containers)
        }  # fmt: skip
        return rows.without(*DESCRIBING).with_columns(**columns)

    def _roles(self) -> dict[str, str]:
        return {"node_role": self.settings.node_role, "node_type": self.settings.node_type}

    def _containers(self, rows: RowSet) -> list[str]:
        named = [_strings(rows, name) for name in (*_CONTAINER_NAMES, _ID, _CGROUP)]
        return [self._container(*parts) for parts in zip(*named, strict=True)]

    def _container(self, kubernetes: str, container: str, container_id: str, cgroup: str) -> str:
        if name := kubernetes or container:
            return name
        if container_id:
            return self.settings.container_name or container_id[:_SHORT_ID]
        return cgroup.rstrip("/").rpartition("/")[2] or _HOST

    def _pods(self, rows: RowSet) -> list[str]:
        return [name or self.pod for name in _strings(rows, _POD)]


def _strings(rows: RowSet, name: str) -> list[str]:
    column = rows.columns.get(name)
    return [""] * len(rows) if column is None else texts(column).strings()
