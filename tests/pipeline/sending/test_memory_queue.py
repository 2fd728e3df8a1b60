# SPDX-License-Identifier: Apache-2.0
"""Batches that wait: never more than the bound, the oldest give way, and none is lost without being handed back."""

import gc
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.push_settings import Sizer
from ebpf_sidecar.pipeline.recording.file import Recording
from ebpf_sidecar.pipeline.rows import RowSet
from ebpf_sidecar.pipeline.sending.memory_queue import Batch, MemoryQueue
from ebpf_sidecar.pipeline.testing import frame
from ebpf_sidecar.receivers.replay import PACKAGED


@given(st.lists(st.integers(1, 9), max_size=20), st.integers(1, 20), st.sampled_from(Sizer))
def test_the_bound_holds_for_all_but_a_single_batch(sizes, capacity, sizer):
    """What was put is still there, in order, or was handed back, the oldest first."""
    queue, gave_way, put = MemoryQueue(capacity, sizer), [], []
    for size in sizes:
        batch = Batch((), size, size, {})
        put.append(batch)
        gave_way += queue.put(batch)

        assert queue.size <= capacity or len(queue) == 1
        assert queue.points == sum(size for size in sizes[len(gave_way) : len(put)])
    left = [queue.take() for _ in range(len(queue))]

    assert put == gave_way + left
    assert 0 == queue.size


def test_arrays_that_frames_share_are_measured_once():
    """Ten metrics of the same rows take ten times their values, and one time their rows."""
    rows = RowSet.of([{"process.executable.name": "x" * 1000}])
    one = Batch.of([frame("m", [1], rows)])
    ten = Batch.of([frame(f"m{number}", [1], rows) for number in range(10)])

    assert {rows: one.rows[rows]} == ten.rows
    assert 1000 < one.rows[rows] < 2000
    assert ten.bytes == 10 * one.bytes


def test_row_sets_that_batches_share_are_measured_once():
    """And their bytes are free with the last batch that has them."""
    rows, others = RowSet.of([{"process.executable.name": "x" * 1000}]), RowSet.of([{"op": "read"}])
    queue = MemoryQueue(10**6, Sizer.BYTES)
    batches = [Batch.of([frame("m", [1], each)]) for each in (rows, others, rows)]
    sizes = []
    for batch in batches:
        queue.put(batch)
        sizes.append(queue.size)
    left = [(queue.take(), queue.size)[1] for _ in range(3)]

    assert sizes[2] - sizes[1] == batches[2].bytes < 1100
    assert left == [sizes[2] - batches[0].bytes, batches[2].bytes + batches[2].rows[rows], 0]


def test_a_queue_takes_no_more_memory_than_it_says():
    """Python's and NumPy's objects included: measured with a real recording, read anew for each round."""
    queue = MemoryQueue(10**9, Sizer.BYTES)
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(3):
            for batch in Recording(PACKAGED).batches(lambda _: None):
                queue.put(Batch.of(batch.frames))
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert taken < queue.size < 2 * taken
