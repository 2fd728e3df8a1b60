# SPDX-License-Identifier: Apache-2.0
"""Batches that wait: never more than the bound, the oldest give way, and none is lost without being handed back."""

from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline.push_settings import Sizer
from ebpf_sidecar.pipeline.rows import RowSet
from ebpf_sidecar.pipeline.sending.memory_queue import Batch, MemoryQueue
from ebpf_sidecar.pipeline.testing import frame


@given(st.lists(st.integers(1, 9), max_size=20), st.integers(1, 20), st.sampled_from(Sizer))
def test_the_bound_holds_for_all_but_a_single_batch(sizes, capacity, sizer):
    """What was put is still there, in order, or was handed back, the oldest first."""
    queue, gave_way, put = MemoryQueue(capacity, sizer), [], []
    for size in sizes:
        batch = Batch((), size, size)
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
    one = Batch.of([frame("m", [1], rows)]).bytes
    ten = Batch.of([frame(f"m{number}", [1], rows) for number in range(10)]).bytes

    assert 1000 < one < 1100
    assert ten == one + 9 * 8
