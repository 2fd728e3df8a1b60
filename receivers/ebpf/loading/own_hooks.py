# SPDX-License-Identifier: Apache-2.0
"""The receiver's own hooks and maps, which belong to no probe: bpf/new_cgroups.c and bpf/new_names.c."""

from __future__ import annotations

from ebpf_sidecar.receivers.ebpf.owners.new_cgroups import NEW_CGROUPS
from ebpf_sidecar.receivers.ebpf.owners.new_names import NEW_NAMES
from ebpf_sidecar.receivers.ebpf.probe.model import AttachPoint, MapSpec

from .request import HookRequest

OWN_BTF = ("io_cgrp_id", "task_struct.tgid")
"""Used if the kernel has it."""
NEW_CGROUPS_MAP = MapSpec(
    NEW_CGROUPS, NEW_CGROUPS, 1024, "one entry per cgroup created since the last reading", key=8, value=264
)
_CGROUP_FIELDS = (
    "cgroup.kn",
    "cgroup.root",
    "cgroup.self",
    "cgroup_root.hierarchy_id",
    "cgroup_subsys_state.cgroup",
    "cgroup_subsys_state.parent",
    "kernfs_node.id",
    "kernfs_node.name",
)
NEW_CGROUPS_HOOK = HookRequest(
    "",
    "cgroup_made",
    (AttachPoint("raw_tracepoint", "cgroup:cgroup_mkdir", "cgroup_made", btf=_CGROUP_FIELDS, arguments=("cgroup",)),),
)
NEW_NAMES_MAP = MapSpec(
    NEW_NAMES, NEW_NAMES, 1024, "one entry per program started by a path since the last reading", 288, 8
)
NEW_NAMES_HOOKS = (
    HookRequest("", "program_starts", (AttachPoint("tracepoint", "sched:sched_process_exec", "program_starts"),)),
    HookRequest("", "name_taken", (AttachPoint("tracepoint", "task:task_rename", "name_taken"),)),
    HookRequest(
        "",
        "process_moved",
        (
            AttachPoint(
                "raw_tracepoint",
                "cgroup:cgroup_attach_task",
                "process_moved",
                btf=("cgroup.kn", "cgroup.root", "cgroup_root.hierarchy_id", "kernfs_node.id", "task_struct.tgid"),
                arguments=("cgroup", "task_struct"),
            ),
        ),
    ),
)
