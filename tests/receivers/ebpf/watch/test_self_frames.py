# SPDX-License-Identifier: Apache-2.0
"""What the receiver reports about its own work, without a kernel."""

from types import SimpleNamespace

import numpy as np
import pytest

from ebpf_sidecar.receivers.ebpf.frames.metric_frames import ReadingTime
from ebpf_sidecar.receivers.ebpf.kernel.namespaces import HOST_NAMESPACES
from ebpf_sidecar.receivers.ebpf.watch.self_frames import SelfFrames

KEY = np.dtype([("key", np.uint32)])


class Threads:
    """The map of followed threads."""

    max_entries = 64

    def __init__(self, *ids):
        self.ids = np.array([(each,) for each in ids], KEY)

    def read(self):
        return self.ids, np.zeros((len(self.ids), 1), np.uint64)

    def memory(self):
        return 4096


@pytest.fixture
def tracked(tmp_path):
    """What is reported about followed processes where /proc lists 1, 7 and 30, and threads 7, 8 and 30 are followed."""

    def tracked(namespace):
        for folder in ("1", "7", "30", "self/ns"):
            (tmp_path / folder).mkdir(parents=True)
        if namespace:
            (tmp_path / "self/ns/pid").symlink_to(f"pid:[{namespace}]")
        drops = SimpleNamespace(reasons=(), read=dict)
        loaded = SimpleNamespace(maps={"threads": Threads(7, 8, 30)}, hooks=(), drops=drops)
        frames = SelfFrames(loaded, tmp_path, 0).frames(ReadingTime(1, {}), {}, None, {})
        return [frame.values.tolist() for frame in frames if frame.name == "ebpf.tracked_pids"]

    return tracked


@pytest.mark.parametrize("namespace", [HOST_NAMESPACES["pid"], None])
def test_followed_processes_are_those_whose_first_thread_is_followed(tracked, namespace):
    """Thread 8 belongs to another process, which /proc does not list by it."""
    assert [[2.0]] == tracked(namespace)


def test_in_a_container_numbers_mean_other_processes_and_nothing_is_reported(tracked):
    """The kernel's thread ids are the host's, and /proc lists the container's."""
    assert [] == tracked(4026532202)


def test_lost_events_are_those_of_the_last_reading(tmp_path):
    """Whoever asks in between does not read the map; before the first reading nothing was lost yet."""
    drops = SimpleNamespace(reasons=("requests", "completions"), read=lambda: {"requests": 3, "completions": 0})
    own = SelfFrames(SimpleNamespace(maps={}, hooks=(), drops=drops), tmp_path, 0)
    before = own.dropped
    own.frames(ReadingTime(1, {}), {}, None, {})

    assert ({"requests": 0, "completions": 0}, {"requests": 3, "completions": 0}) == (before, own.dropped)
