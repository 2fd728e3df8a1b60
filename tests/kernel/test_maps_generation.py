# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORKLOAD = Path(__file__).parent / "workloads" / "hammer.py"
SECONDS, PROCESSES = 3, 2

pytestmark = pytest.mark.parallel


def take(kernel_map, retired):
    """Read the frozen entries for the last time and remove them; their lookups by process."""
    keys, values = kernel_map.read()
    old = keys["generation"] == retired
    kernel_map.delete(keys[old])
    return dict(zip(keys["tgid"][old].tolist(), values[old][:, 0].tolist(), strict=True))


def test_clearing_under_load_loses_and_doubles_nothing(attach):
    """Two processes count their own reads while the map is cleared every 50 ms; the sums are equal to the last one."""
    loaded = attach("page_cache")
    cache = loaded.maps["cache_stats_map"]
    total, clears = {}, 0
    hammers = [
        subprocess.Popen([sys.executable, "-S", "-E", WORKLOAD, str(SECONDS)], stdout=subprocess.PIPE)
        for _ in range(PROCESSES)
    ]

    while any(hammer.poll() is None for hammer in hammers):
        time.sleep(0.05)
        clears += 1
        retired = loaded.generation.flip()
        if not loaded.generation.settled():
            time.sleep(0.05)
        for pid, lookups in take(cache, retired).items():
            total[pid] = total.get(pid, 0) + lookups
    for pid, lookups in take(cache, loaded.generation.current).items():
        total[pid] = total.get(pid, 0) + lookups

    # each hammer prints its reads before and after its start-up has been counted
    done = {hammer.pid: int(hammer.communicate()[0]) for hammer in hammers}
    startup = min(total[pid] - done[pid] for pid in done)
    assert 20 <= clears
    assert {pid: reads + startup for pid, reads in done.items()} == {pid: total[pid] for pid in done}
    assert {} == {name: lost for name, lost in loaded.drops.read().items() if lost}
