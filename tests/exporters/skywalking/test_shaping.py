# SPDX-License-Identifier: Apache-2.0
"""Frames as OAP counts them right."""

from collections import Counter

import numpy as np
import pytest

from ebpf_sidecar.exporters.skywalking.settings import OapSettings
from ebpf_sidecar.exporters.skywalking.shaping import Shaping
from ebpf_sidecar.pipeline import ExplicitBuckets, ExponentialBuckets, Kind, LeftOut, RowSet, Temporality
from ebpf_sidecar.pipeline.testing import frame

NO_LOSS = {"merged", "share_of_a_part", "empty"}
"""Nothing is missing in the back end: the points are in others, or say nothing."""
DELTA = {"temporality": Temporality.DELTA}
KERNEL = 1e-9 * 2.0 ** np.arange(8, 36)


def shaped(*frames, **settings):
    """The frames as OAP gets them, and what was left out of them by reason."""
    shaping = Shaping(OapSettings(cluster="c", pod_name="p", **settings))
    parts = [part for each in frames for part in shaping.frames(each)]
    left_out = [part for part in parts if isinstance(part, LeftOut) and part.points]
    assert {part.lost for part in left_out if part.reason in NO_LOSS} <= {False}
    assert {part.lost for part in left_out if part.reason not in NO_LOSS} <= {True}
    counted = Counter()
    for part in left_out:
        counted[part.reason] += part.points
    return [part for part in parts if not isinstance(part, LeftOut)], dict(counted)


def attributes(made):
    """The attributes of the rows, and nothing else."""
    return made.rows.records()


SAME = {"cluster": "c", "job_name": "ebpf-sidecar"}


@pytest.mark.parametrize(
    ("row", "container", "pod"),
    [
        ({"container.id": "0123456789abcdef", "k8s.pod.name": "db-0", "k8s.container.name": "data"}, "data", "db-0"),
        ({"container.id": "0123456789abcdef", "container.name": "web"}, "web", "p"),
        ({"container.id": "0123456789abcdef"}, "0123456789ab", "p"),
        ({"process.linux.cgroup": "/system.slice/postgresql.service"}, "postgresql.service", "p"),
        ({"process.linux.cgroup": "/"}, "host", "p"),
        ({}, "host", "p"),
    ],
)
def test_a_row_belongs_to_the_instance_container_at_pod(row, container, pod):
    """By the names that the row has, the settings', or the id."""
    [[made], _] = shaped(frame("work", [1], [row], **DELTA))

    expected = {**SAME, "oap_instance": f"{container}@{pod}", "pod_name": pod, "container_name": container}
    assert [expected] == attributes(made)


def test_roles_and_the_only_container_are_those_of_the_settings():
    """Beside BanyanDB, there is one."""
    settings = {"node_role": "ROLE_DATA", "node_type": "hot", "container_name": "data"}
    [[made], _] = shaped(frame("work", [1], [{"container.id": "0123456789abcdef"}], **DELTA), **settings)

    assert ("ROLE_DATA", "hot", "data@p") == tuple(
        attributes(made)[0][name] for name in ("node_role", "node_type", "oap_instance")
    )


def test_the_pod_is_that_of_the_downward_api(monkeypatch):
    """Or the host, if there is none."""
    monkeypatch.setenv("POD_NAME", "db-1")
    assert "db-1" == OapSettings(cluster="c").pod()
    monkeypatch.delenv("POD_NAME")
    assert OapSettings(cluster="c").pod()


def test_processes_and_devices_are_added_up_unless_asked_for():
    """And each of them may be asked for."""
    rows = [
        {"process.executable.name": name, "device": device, "operation": "read"}
        for name in ("x", "y") for device in ("sda", "sdb")
    ]  # fmt: skip
    work = frame("work", [1, 2, 3, 4], rows, **DELTA)

    found = {detail: shaped(work, detail=detail) for detail in [(), ("process",), ("device",), ("process", "device")]}

    values = {detail: sorted(made.values.tolist()) for detail, ([made], _) in found.items()}
    assert {(): [10], ("process",): [3, 7], ("device",): [4, 6], ("process", "device"): [1, 2, 3, 4]} == values
    assert {"merged": 3} == found[()][1]
    [both], _ = found["process", "device"]
    assert {"process_executable_name", "device", "operation"} <= set(both.rows.columns)


def test_a_share_of_a_part_is_left_out():
    """Percentages of processes do not add up; in OAP they are made of the counters."""
    rows = [{"process.executable.name": "x"}, {"process.executable.name": "y"}]
    rate = frame("ebpf.cache.hit_rate", [10, 90], rows, kind=Kind.GAUGE, unit="%")
    alone = frame("ebpf.cache.hit_rate", [90], [{"container.id": "a"}], kind=Kind.GAUGE, unit="%")

    made, left_out = shaped(rate, alone)

    assert ([[90.0]], {"share_of_a_part": 2}) == ([each.values.tolist() for each in made], left_out)


def test_attributes_have_no_dots():
    """Rules cannot name them up to 10.3; what OAP removes from histograms gets another name."""
    rows = [{"error.type": "EIO", "error_type": "other", "le": "1", "quantile": "2", "a-b": "3"}]
    [[made], _] = shaped(frame("work", [1], rows, **DELTA))

    assert {"error_type": "EIO", "le_": "1", "quantile_": "2", "a_b": "3"} == {
        name: value for name, value in attributes(made)[0].items() if name in ("error_type", "le_", "quantile_", "a_b")
    }
    assert not any("." in name for name in made.rows.columns)


def test_durations_are_in_milliseconds_up_to_more_than_thirty_seconds():
    """About ten of the kernel's bounds, and the highest; counts and sums stay what they are."""
    counts = np.arange(29)
    buckets = ExplicitBuckets(KERNEL, KERNEL[[8, 12, 16, 20, 24]])
    [[made], _] = shaped(frame("wait", [counts], buckets=buckets, sums=[2.5], unit="s", **DELTA))

    assert ("ms", 2500.0, counts.sum()) == (made.unit, made.sums[0], made.values.sum())
    assert pytest.approx([*(KERNEL[[8, 12, 16, 20, 24]] * 1e3), 34359.738368]) == made.bounds.tolist()


def test_durations_that_end_earlier_get_a_last_bound():
    """Or a percentile among the highest would be the largest number there is."""
    [[made], _] = shaped(frame("wait", [[1, 2]], bounds=[1.0], unit="s", **DELTA))

    assert ([1000.0, 30000.0], [[1, 2, 0]]) == (made.bounds.tolist(), made.values.tolist())


def test_sizes_keep_their_unit_and_become_explicit():
    """OAP takes the highest exponential bucket for infinite."""
    buckets = ExponentialBuckets(0, 9, 2, np.array([1024.0]))
    [[made], _] = shaped(frame("size", [[1, 2, 3, 0]], buckets=buckets, unit="By", **DELTA))

    assert isinstance(made.buckets, ExplicitBuckets)
    assert ("By", [1024.0, 2048.0], [[3, 3, 0]]) == (made.unit, made.bounds.tolist(), made.values.tolist())


def test_what_says_nothing_or_would_do_harm_is_left_out_and_counted():
    """Names that no rule can name, times before 1970, numbers that are none, histograms without observations."""
    made, left_out = shaped(
        frame("strange-name", [1], **DELTA),
        frame("early", [1], time_unix_nano=0, **DELTA),
        frame("level", [np.nan, 2, np.inf], [{"op": "a"}, {"op": "b"}, {"op": "c"}], kind=Kind.GAUGE),
        frame("wait", [[0, 0], [1, 0]], [{"op": "a"}, {"op": "b"}], bounds=[1.0], unit="By", **DELTA),
    )

    assert {"name_not_allowed": 1, "no_time": 1, "not_finite": 2, "empty": 1} == left_out
    assert [[2.0], [[1, 0]]] == [each.values.tolist() for each in made]


def test_rows_that_stay_give_row_sets_that_stay():
    """So that their bytes are made once."""
    rows = RowSet.of([{"process.executable.name": "x"}, {"process.executable.name": "y"}])
    made, _ = shaped(frame("work", [1, 2], rows, **DELTA), frame("other", [1, 2], rows, **DELTA))

    assert made[0].rows is made[1].rows
