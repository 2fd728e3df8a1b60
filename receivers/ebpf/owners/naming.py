# SPDX-License-Identifier: Apache-2.0
"""Where full names of programs come from: the kernel tells of those that start, /proc of those that ran before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ebpf_sidecar.receivers.ebpf.kernel.namespaces import in_first
from ebpf_sidecar.receivers.ebpf.maps.loaded import Loaded

from .attribution import Attribution
from .cgroup_tree import Hierarchy
from .io_cgroups import Tree
from .new_names import NEW_NAMES, taken_from
from .program_names import ProgramNames
from .running_programs import Ask, Running, running_programs


def names_of(loaded: Loaded, tree: Tree, proc: Path, warn: Callable[[str], None]) -> ProgramNames:
    """Names as ``loaded`` tells of them; none is ever completed where it does not."""
    new = loaded.new_names
    if new is None:
        return ProgramNames(complete=lambda _: False)
    # in a PID namespace not all that ran before is seen: there only what runs in new cgroups is known from the start
    sees_all = in_first("pid", proc) is not False
    return ProgramNames(
        lambda: taken_from(new),
        lambda: loaded.drops.read().get(NEW_NAMES, 0),
        lambda cgroup: sees_all or tree.is_new(cgroup),
        warn=warn,
    )


def add_running(attribution: Attribution, hierarchy: Hierarchy, proc: Path, ask: Ask) -> None:
    """Add the programs that run now; of one whose place is not found, the name is completed nowhere."""
    # paths are those of our cgroup namespace, the mounted tree may be the host's
    same_paths = in_first("cgroup", proc) is not False
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
