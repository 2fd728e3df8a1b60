# SPDX-License-Identifier: Apache-2.0
"""Where full names of programs come from: the kernel reports those that start, /proc lists those already running."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.kernel.namespaces import in_host_namespace
from ebpf_sidecar.receivers.ebpf.maps.loaded import LoadedProbes

from .attribution import Attribution
from .cgroup_tree import Hierarchy
from .io_cgroups import CgroupPaths
from .new_names import NEW_NAMES, take_new_names
from .program_names import ProgramNames
from .running_programs import AskExecutable, Running, running_programs


def names_of(loaded: LoadedProbes, tree: CgroupPaths, proc: Path, warn: Callable[[str], None]) -> ProgramNames:
    """Program names as reported by ``loaded``; if it does not report any, no name is completed."""
    new = loaded.new_names
    if new is None:
        return ProgramNames(complete=lambda _: False)
    # in a PID namespace not all running programs are visible: only new cgroups are completely known
    sees_all = in_host_namespace("pid", proc) is not False
    return ProgramNames(
        lambda: take_new_names(new),
        lambda: loaded.drops.read().get(NEW_NAMES, 0),
        lambda cgroup: sees_all or tree.is_new(cgroup),
        warn=warn,
    )


def add_running_programs(attribution: Attribution, hierarchy: Hierarchy, proc: Path, ask: AskExecutable) -> None:
    """Add the programs that are running now; if a program's place is not found, its name is never completed."""
    # paths are relative to our cgroup namespace, but the mounted tree may be the host's
    same_paths = in_host_namespace("cgroup", proc) is not False
    for each in running_programs(proc, ask):
        cgroup = _number(each, hierarchy) if same_paths else None
        if cgroup is None:
            attribution.names.elsewhere.add(each.comm)
        else:
            attribution.names.add(attribution.place(cgroup, each.pid), each.comm, each.name)


def _number(program: Running, hierarchy: Hierarchy) -> int | None:
    path = program.cgroup.get("" if hierarchy.controller == "v2" else hierarchy.controller)
    if path is None or ".." in path.split("/"):
        return None
    try:
        return (hierarchy.root / path.lstrip("/")).stat().st_ino
    except OSError:
        return None
