# SPDX-License-Identifier: Apache-2.0
"""Probes from what an earlier start compiled."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from ebpf_sidecar.receivers.ebpf.loading.parent import LoadError

MIB = 1 << 20
NAMES = ("page_cache", "syscalls", "block_io", "memory", "page_faults")

pytestmark = pytest.mark.parallel


@pytest.fixture
def without_bcc(tmp_path, monkeypatch):
    """The same version, but it cannot be imported."""
    (tmp_path / "path" / "bcc").mkdir(parents=True)
    version = Path(find_spec("bcc").origin).with_name("version.py")
    shutil.copy(version, tmp_path / "path" / "bcc" / "version.py")
    (tmp_path / "path" / "bcc" / "__init__.py").write_text('raise ImportError("not here")')
    return lambda: monkeypatch.syspath_prepend(tmp_path / "path")


@pytest.fixture
def cache(tmp_path):
    """A folder that does not exist yet."""
    return str(tmp_path / "programs")


@pytest.fixture
def read(run, file_of):
    """Read a file of so many bytes, in pages; the process that did it."""
    return lambda size: run("files.py", "sequential", file_of(size), 1, 4096)["pid"]


def test_the_cached_object_is_the_compiled_one(attach, rows, read, cache, without_bcc):
    """All hooks, by the same ways, count the same; no compiler takes part, because there is none."""
    compiled = attach(*NAMES, program_cache=cache)
    without_bcc()

    kept = attach(*NAMES, program_cache=cache)
    pid = read(MIB)

    assert (compiled.kept, kept.kept) == (False, True)
    assert compiled.hooks == kept.hooks
    assert MIB // 4096 <= rows(kept, "cache_stats_map", pid)["lookups"][0]
    for name in ("cache_stats_map", "fault_stats"):
        assert rows(compiled, name, pid) == rows(kept, name, pid)
    calls = [rows(loaded, "syscall_stats", pid)["duration"] for loaded in (compiled, kept)]
    assert MIB // 4096 <= sum(calls[0]) == sum(calls[1])
    with pytest.raises(LoadError, match="BCC for Python cannot be imported"):
        attach(*NAMES, program_cache="")


def test_a_damaged_object_is_compiled_again(attach, tmp_path):
    """And cached again."""
    cache = tmp_path / "programs"
    attach("page_faults", program_cache=str(cache))
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])

    loaded = attach("page_faults", program_cache=str(cache))

    assert not loaded.kept
    assert all(hook.attached for hook in loaded.hooks)
    assert whole == file.read_bytes()


def test_other_settings_are_another_object(attach, tmp_path):
    """Sizes of maps are compiled in."""
    cache = tmp_path / "programs"
    attach("page_faults", program_cache=str(cache))

    small = attach("page_faults", program_cache=str(cache), budget=4 * MIB)

    assert 2 == len(list(cache.iterdir()))
    assert small.maps["fault_stats"].max_entries < attach("page_faults").maps["fault_stats"].max_entries
