# SPDX-License-Identifier: Apache-2.0
"""Frames that cannot be shown on a page are refused, counted and logged, and affect nothing else."""

import logging

import numpy as np
import pytest
from pydantic import ValidationError
from served_exporter import ServedExporter, people

from ebpf_sidecar.exporters.prometheus import FACTORY
from ebpf_sidecar.pipeline import Kind, RowSet, SidecarError
from ebpf_sidecar.pipeline.testing import frame


def test_the_same_series_from_two_pipelines_is_counted(served):
    """The later one wins."""
    for value in (1, 2):
        served.export(frame("work", [value, value], people("a", "b")))

    assert ['work_total{who="a"} 2', 'work_total{who="b"} 2'] == served.samples()
    assert {"duplicate series": 2} == served.drops


def test_rows_whose_labels_collapse_are_counted(served):
    """A page with the same series twice would be refused as a whole."""
    served.export(frame("work", [1, 2, 3], people("a", "b", "a")))

    assert ['work_total{who="b"} 2', 'work_total{who="a"} 3'] == served.samples()
    assert {"duplicate series": 1} == served.drops


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (frame("work.total", [1.5], kind=Kind.GAUGE), 'needs the name "work_total", which "work_total" has'),
        (frame("target.info", [1.5], kind=Kind.GAUGE), 'needs the name "target_info", which "target_info" has'),
        (frame("wait.sum", [1.5], kind=Kind.GAUGE), 'needs the name "wait_sum", which "wait" has'),
        (frame("level", [[1, 2]], bounds=[1], sums=[1]), "is a gauge already"),
        (frame("level", [1], kind=Kind.UPDOWNCOUNTER), "is a gauge already"),
    ],
)
def test_a_metric_with_anothers_name_is_refused_counted_and_named_once(served, caplog, second, said):
    """All others stay on the page."""
    first = (frame("work", [1]), frame("wait", [[1, 2]], bounds=[1], sums=[1]), frame("level", [1], kind=Kind.GAUGE))
    served.export(*first)
    before = served.page()
    with caplog.at_level(logging.WARNING):
        served.export(second, second)
        served.export(second)

    assert before == served.page()
    assert 3 == sum(served.drops.values())
    [record] = caplog.records
    assert said in record.message


def test_a_metric_with_another_unit_is_another_metric(served):
    """The unit is part of its name."""
    served.export(frame("level", [1], kind=Kind.GAUGE, unit="s"), frame("level", [1], kind=Kind.GAUGE, unit="By"))

    assert ["level_bytes 1.0", "level_seconds 1.0"] == served.samples()


def test_without_suffixes_another_unit_is_refused(caplog):
    """One family cannot have two."""
    served = ServedExporter({"add_metric_suffixes": False})
    with caplog.at_level(logging.WARNING):
        served.export(frame("level", [1], kind=Kind.GAUGE, unit="s"), frame("level", [2], kind=Kind.GAUGE, unit="By"))

    assert ["level 1.0"] == served.samples()
    assert {"conflicting unit": 1} == served.drops
    assert ['metric "level" (gauge, unit "By") is left out: it has the unit "s" already; give it another name'] == [
        record.message for record in caplog.records
    ]


def test_one_family_that_cannot_be_written_does_not_take_others_off_the_page(served):
    """It is reported."""
    served.export(frame("a", [1]), frame("bad", [1], description=["no", "text"]), frame("b", [2]))

    assert ["a_total 1", "b_total 2"] == served.samples()
    assert ["rendering"] == [stage for stage, _ in served.context.telemetry.errors]


class Unspeakable:
    def __str__(self):
        raise RuntimeError("no text")


def test_a_frame_that_cannot_be_rendered_is_reported(served):
    """A plugin put an object among the attributes."""
    rows = RowSet(np.arange(1, dtype=np.uint64), {"odd": np.array([Unspeakable()], dtype=object)})
    served.export(frame("a", [1]), frame("bad", [1], rows), frame("b", [2]))

    assert ["a_total 1", "b_total 2"] == served.samples()
    assert {"cannot be rendered": 1} == served.drops
    assert [("sending", "no text")] == served.context.telemetry.errors


def test_new_bounds_replace_the_old_histogram(served):
    """Buckets of two kinds in one histogram would be nonsense."""
    served.export(frame("wait", [[1, 2], [1, 1]], people("a", "b"), bounds=[1]))
    served.export(frame("wait", [[1, 2, 3]], people("a"), bounds=[1, 2]))

    assert ["1.0", "2.0", "+Inf"] == [line.split('le="')[1].split('"')[0] for line in served.samples()[:-2]]


def test_one_bad_frame_does_not_take_others_off_the_page(served):
    """It is counted."""
    bad = frame("bad", [1], kind=Kind.GAUGE).with_values(np.array(["no number"], dtype=object))
    served.export(frame("a", [1]), bad, frame("b", [2]))

    assert ["a_total 1", "b_total 2"] == served.samples()
    assert {"no numbers": 1} == served.drops


def test_a_constant_label_must_be_a_label():
    """The repair is shown."""
    with pytest.raises(ValidationError, match=r'"a\.b" cannot be a label; write "a_b"'):
        FACTORY.settings(const_labels={"a.b": "c"})


def test_two_exporters_cannot_have_the_same_page(served):
    """The second one does not start."""
    second = FACTORY.create(FACTORY.settings(), served.context)

    with pytest.raises(SidecarError, match="is taken"):
        second.start()
