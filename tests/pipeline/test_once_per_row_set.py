# SPDX-License-Identifier: Apache-2.0
"""What is derived from a row set is made once, and goes when the row set goes."""

import gc
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline import ComponentKind, RowSet, once_per_row_set
from ebpf_sidecar.pipeline.testing import fake_context, frame
from ebpf_sidecar.processors.container import ContainerProcessor, ContainerSettings


@dataclass
class Holding:
    """A result that holds its row set."""

    rows: RowSet


ANSWERS = {
    "itself": lambda rows: rows,
    "an object that holds it": Holding,
    "a container that holds it": lambda rows: {"rows": [rows]},
    "a function that needs it": lambda rows: lambda: rows,
    "another row set": lambda rows: rows.without("a"),
    "one whose answers hold it": lambda rows: once_per_row_set(lambda other: (other, rows))(rows.without("a")),
    "nothing": lambda rows: None,
}


def some_rows():
    """A new row set."""
    return RowSet.of([{"a": "b"}])


@contextmanager
def no_collection():
    """Only reference counts free memory."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_no_result_keeps_its_row_set_alive(answer):
    """Whatever it is, and although the function lives on."""
    derived, rows = once_per_row_set(answer), some_rows()
    watched = ref(rows)
    derived(rows)
    del rows
    gc.collect()

    assert watched() is None
    assert derived


@pytest.mark.parametrize("answer", [ANSWERS["itself"], ANSWERS["another row set"]])
def test_the_usual_results_do_not_wait_for_the_garbage_collector(answer):
    """A description is the row set itself or another one: neither makes a circle."""
    derived, rows = once_per_row_set(answer), some_rows()
    watched = ref(rows)
    with no_collection():
        derived(rows)
        del rows

        assert watched() is None


def test_results_go_with_the_function():
    """A row set that stays for weeks does not collect results for components that a reload has replaced."""
    rows = some_rows()
    for _ in range(3):
        once_per_row_set(Holding)(rows)
    gc.collect()

    assert 0 == len(rows.derived)


def test_a_result_is_computed_once_per_object_whatever_it_is():
    """None is a result, too, and functions do not see each other's results."""
    calls = Counter()
    for name, answer in ANSWERS.items():
        rows = some_rows()
        derived = once_per_row_set(lambda rows, name=name, answer=answer: calls.update([name]) or answer(rows))
        first = derived(rows)

        assert derived(rows) is first
    assert dict.fromkeys(ANSWERS, 1) == calls


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3))))
def test_a_result_is_computed_again_for_another_version(steps):
    """And never more often; each row set keeps the result of the version that was last requested."""
    version, calls = [0], []
    derived = once_per_row_set(lambda rows: calls.append(rows) or (version[0], len(calls)), version=lambda: version[0])
    row_sets, latest = [some_rows() for _ in range(3)], {}
    for number, version[0] in steps:
        expected = latest.get(number)
        if expected is None or expected[0] != version[0]:
            latest[number] = (version[0], len(calls) + 1)

        assert latest[number] == derived(row_sets[number])


@pytest.mark.parametrize(
    "attributes",
    [
        {"process.executable.name": "dd"},
        {"process.linux.cgroup": "/system.slice/cron.service"},
        {"process.linux.cgroup": f"/kubepods/burstable/pod{'a' * 32}/{'b' * 64}"},
    ],
)
def test_the_default_configuration_keeps_no_row_set_of_ticks_that_are_over(attributes):
    """With and without containers: on a host without any, each changed row set stayed for ever."""
    processor = ContainerProcessor(ContainerSettings(), fake_context(ComponentKind.PROCESSOR, "container"))
    watched = []
    with no_collection():
        for tick in range(5):
            rows = RowSet.of([attributes, {**attributes, "syscall": str(tick)}])
            watched.append(ref(rows))
            processor.process([frame("c", [1, 1], rows), frame("d", [1, 1], rows)])
        del rows

        assert [None] * 5 == [each() for each in watched]
