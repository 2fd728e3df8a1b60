# SPDX-License-Identifier: Apache-2.0
"""Opening a collection where something fails after the probes were loaded."""

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ebpf_sidecar.pipeline.component import ComponentKind, MapCleanup
from ebpf_sidecar.pipeline.errors import ProbeError
from ebpf_sidecar.pipeline.testing import fake_context
from ebpf_sidecar.receivers.ebpf import collection as module
from ebpf_sidecar.receivers.ebpf.collection import open_collection
from ebpf_sidecar.receivers.ebpf.maps.loaded import LoadedProbes
from ebpf_sidecar.receivers.ebpf.maps.near import map_places
from ebpf_sidecar.receivers.ebpf.settings import EbpfSettings

KEY = np.dtype([("generation", np.uint64)])


def loaded_with(descriptors, **maps):
    """Loaded probes that consist of descriptors alone."""
    return LoadedProbes(
        maps=maps, hooks=(), unavailable={}, programs=(), drops=None, generation=None, cgroup_hierarchy="v2",
        compile_seconds=0.0, peak_rss_bytes=0, descriptors=tuple(descriptors),
    )  # fmt: skip


def is_open(descriptor):
    """Whether the number is in use."""
    return Path(f"/proc/self/fd/{descriptor}").is_symlink()


def test_a_failure_after_loading_leaves_nothing_in_the_kernel(monkeypatch):
    """Programs would run on, and each attempt would add more of them."""
    pipe = os.pipe()

    def fail(*_, **__):
        raise ProbeError("no cgroups to watch")

    monkeypatch.setattr(module, "_load", lambda *_: loaded_with(pipe))
    monkeypatch.setattr(module, "reading_of", fail)
    with pytest.raises(ProbeError, match="no cgroups to watch"):
        open_collection(
            EbpfSettings(probes=["syscalls"]),
            {"syscalls": Path(__file__).parents[3] / "bpf" / "syscalls.yaml"},
            MapCleanup(),
            fake_context(ComponentKind.RECEIVER, "ebpf"),
        )

    assert not any(map(is_open, pipe))


def test_memory_that_is_still_in_use_does_not_keep_the_rest_open():
    """As an exception's traceback may; the memory goes with it."""
    with tempfile.TemporaryFile() as file:
        file.truncate(4096)
        near = map_places(file.fileno(), KEY, 1, (64, 64))
        view, pipe = memoryview(near.memory), os.pipe()
        loaded_with(pipe, rows=SimpleNamespace(near=near)).close()

        assert not any(map(is_open, pipe))
        view.release()
        near.close()
        assert near.memory.closed
