# SPDX-License-Identifier: Apache-2.0
"""Targets: settings, what the kernel programs get, and cgroups that come and go."""

from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.receivers.ebpf.loading.targets import KernelTargets, TargetSettings, kernel_targets
from ebpf_sidecar.receivers.ebpf.owners.attribution import Attribution, GroupBy
from ebpf_sidecar.receivers.ebpf.owners.cgroup_tree import CgroupTree, Hierarchy
from ebpf_sidecar.receivers.ebpf.watch.target_cgroups import ONLY_BELOW, CgroupWatch, chosen_ids

ID = "4f" * 32
TREE = [
    ("/", 1),
    ("/system.slice", 2),
    ("/system.slice/postgres.service", 3),
    ("/system.slice/postgres.service/nested", 4),
    ("/system.slice/nginx.service", 5),
    ("/docker", 6),
    (f"/docker/{ID}", 7),
    (f"/docker/{ID}/init", 8),
    ("/postgres", 9),
]


@pytest.mark.parametrize(
    ("patterns", "ids"),
    [
        (["/system.slice/postgres.service"], {3, 4}),
        (["/system.slice/postgres.service/"], {3, 4}),
        (["/system.slice/*.service"], {3, 4, 5}),
        (["*"], set()),
        (["/*postgres*"], {3, 4, 9}),
        ([ID], {7, 8}),
        ([ID[:12]], {7, 8}),
        (["/docker", "/postgres"], {6, 7, 8, 9}),
        (["3"], {3, 4}),
        (["9", "5"], {5, 9}),
        (["33"], set()),
        (["/"], set(range(1, 10))),
        (["/absent"], set()),
    ],
)
def test_cgroups_are_chosen_by_path_pattern_number_or_container_id_with_what_is_nested(patterns, ids):
    """Parents come before their children, as a walk finds them."""
    assert ids == set(chosen_ids(patterns, TREE))


class PlayedMap:
    """A set in the kernel."""

    max_entries = 4096

    def __init__(self):
        self.values, self.writes = {}, []

    def add(self, keys, value=0):
        self.values |= dict.fromkeys(keys["key"].tolist(), value)

    def delete(self, keys):
        for key in keys["key"].tolist():
            self.values.pop(key, None)

    @property
    def keys(self):
        return set(self.values)

    def write(self, key, value):
        self.writes.append((key, value))


@pytest.fixture
def watched(tmp_path):
    """A watch over ``/app*`` in a tree that the test makes: its folder, kernel set, versions and warnings."""
    kernel, control, warnings = PlayedMap(), PlayedMap(), []
    watch = CgroupWatch(["/app*"], tmp_path, kernel, SimpleNamespace(control=control), warnings.append)
    return tmp_path, watch, kernel, control, warnings


def inodes(*folders):
    """Their numbers."""
    return {folder.stat().st_ino for folder in folders}


def test_the_kernel_gets_cgroups_that_come_and_go(watched):
    """Threads are checked again only when one came."""
    root, watch, kernel, control, _ = watched
    (root / "other").mkdir()
    watch.update()
    (root / "app-1" / "nested").mkdir(parents=True)
    watch.update()
    first = set(kernel.keys)
    expected = inodes(root / "app-1", root / "app-1" / "nested")
    watch.update()
    (root / "app-1" / "nested").rmdir()
    watch.update()

    assert expected == first
    assert inodes(root / "app-1") == kernel.keys
    assert [(1, 1)] == control.writes


def test_the_kernel_gets_cgroups_whose_children_are_all_chosen(tmp_path):
    """It then chooses those that are made in it, however short they live, but never the cgroup itself."""
    kernel = PlayedMap()
    watch = CgroupWatch(["/docker/*", "/x*/*"], tmp_path, kernel, SimpleNamespace(control=PlayedMap()), print)
    for name in ("docker", "xy", "other", "docker/web"):
        (tmp_path / name).mkdir()
    docker, xy, web = ((tmp_path / name).stat().st_ino for name in ("docker", "xy", "docker/web"))
    watch.update()
    reported = dict(kernel.values)
    (tmp_path / "xy").rmdir()
    watch.update()

    assert {docker: ONLY_BELOW, xy: ONLY_BELOW, web: 0} == reported
    assert {docker: ONLY_BELOW, web: 0} == kernel.values


def test_what_the_kernel_chose_by_itself_is_taken_back_when_it_is_gone(watched):
    """It may have come and gone between two looks at the directories; those that are there stay."""
    root, watch, kernel, _, _ = watched
    (root / "app-1").mkdir()
    kernel.values |= {4711: 0} | dict.fromkeys(inodes(root / "app-1"), 0)
    watch.update({4711, *inodes(root / "app-1")})

    assert inodes(root / "app-1") == kernel.keys


def test_a_pattern_that_matches_nothing_is_logged_once(watched):
    """It may be a mistake, or a container that starts later."""
    _, watch, _, _, warnings = watched
    watch.update()
    watch.update()

    assert ['targets::cgroups: no cgroup matches "/app*" now; it will be measured once it exists'] == warnings


def test_more_cgroups_than_there_is_room_for_are_logged_once(watched):
    """Those that are measured already continue, wherever in the tree the others come."""
    root, watch, kernel, _, warnings = watched
    kernel.max_entries = 2
    for number in (7, 8):
        (root / f"app-{number}").mkdir()
    watch.update()
    first = set(kernel.keys)
    for number in range(20):
        (root / f"app-x{number}").mkdir()
        watch.update()

    assert first == kernel.keys == inodes(root / "app-7", root / "app-8")
    assert [
        "targets::cgroups: 3 cgroups match, but only 2 can be measured; use narrower patterns, or raise max_map_memory"
    ] == warnings


def test_without_targets_the_kernel_gets_nothing(tmp_path):
    """Then no code for it is compiled."""
    assert KernelTargets() == kernel_targets(TargetSettings(), tmp_path)


def test_names_and_namespaces_are_sets_and_cgroups_a_map_with_room(tmp_path):
    """Names as the kernel keeps them; "self" is the reader's own namespace."""
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").touch()
    own = (tmp_path / "self/ns/pid").stat().st_ino
    settings = TargetSettings(
        cgroups=["/app"], executables=["postgres", "a-very-long-name"], pid_namespaces=["self", 4026531836]
    )
    reported = kernel_targets(settings, tmp_path, btf=tmp_path)

    assert {"TARGETS": 1, "TARGET_KERNEL_THREADS": 1, "TARGET_CGROUPS": 1}.items() <= reported.macros.items()
    assert (b"postgres".ljust(16, b"\0").hex(), b"a-very-long-nam\0".hex()) == reported.sets["target_names"]
    assert tuple(n.to_bytes(8, "little").hex() for n in (own, 4026531836)) == reported.sets["target_namespaces"]
    assert {"task_struct.flags", "ns_common.inum"} <= set(reported.btf)


def test_namespaces_need_the_kernels_types(tmp_path):
    """Said before anything is compiled."""
    with pytest.raises(ProbeError, match="targets::pid_namespaces: needs the kernel's type information"):
        kernel_targets(TargetSettings(pid_namespaces=[1]), tmp_path, btf=tmp_path / "absent")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"cgroups": ["app"]},
            "\"app\" is neither a cgroup's path or number nor a container's id; write a path that starts with",
        ),
        ({"cgroups": ["4f4f"]}, "at least 12 digits of the container's id"),
        ({"executables": ["/usr/bin/postgres"]}, "write it without a path"),
        ({"executables": [""]}, "is not the name of an executable"),
        ({"pid_namespaces": [0]}, "is not a namespace's number"),
        ({"pid_namespaces": ["me"]}, "self"),
    ],
)
def test_wrong_targets_are_refused_with_the_repair(wrong, message):
    """In the user's words."""
    with pytest.raises(ValidationError) as caught:
        TargetSettings(**wrong)

    assert message in str(caught.value)


@pytest.mark.parametrize("restricted", [True, False])
def test_owners_that_were_left_out_have_no_row(tmp_path, restricted):
    """They carry no cgroup; without targets such an owner is only unknown."""
    attribution = Attribution(CgroupTree(Hierarchy("v2", tmp_path)), [GroupBy.EXECUTABLE], restricted)
    keys = np.zeros(2, [("cgroup", "u8"), ("tgid", "u4"), ("comm", "S16")])
    keys["cgroup"], keys["comm"] = (tmp_path.stat().st_ino, 0), (b"app", b"")

    assert [("app",), None if restricted else ("",)] == attribution.owners(keys)
