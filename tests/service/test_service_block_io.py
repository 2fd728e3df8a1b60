# SPDX-License-Identifier: Apache-2.0
"""Direct I/O by fio, read back from /metrics, against fio's own count and the kernel's."""

import math
import os
from pathlib import Path

import pytest

REQUESTS = 1000


def disk_of(path):
    """The name and the statistics file of the disk that holds ``path``."""
    number = path.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    disk = device.parent if (device / "partition").exists() else device
    return disk.name, disk / "stat"


def completed(stat, operation):
    """Requests and bytes of one operation since boot."""
    fields = [int(field) for field in stat.read_text().split()]
    requests, sectors = (fields[0], fields[2]) if operation == "read" else (fields[4], fields[6])
    return requests, sectors * 512


def bucket_of_quantile(page, quantile, **labels):
    """The upper bound (seconds) of the bucket in which a quantile of the request durations lies."""
    name = "ebpf_block_io_duration_seconds_bucket"
    buckets = {}
    for key, value in page.rows(name, **labels).items():
        bound = float(dict(key)["le"])
        buckets[bound] = buckets.get(bound, 0) + value
    total = buckets[math.inf]
    return next(bound for bound in sorted(buckets) if buckets[bound] >= quantile * total)


@pytest.mark.parametrize(("kind", "block"), [("randread", 4096), ("randwrite", 4096), ("read", 65536)])
def test_requests_bytes_and_latencies_are_fios_own(serve, fio, tmp_path, kind, block):
    """1,000 direct requests: number and bytes equal, latency percentiles within one bucket (a factor of two)."""
    if not any(Path("/sys/block").iterdir()):
        pytest.skip("no block device")
    fio("write", block, REQUESTS)
    os.sync()
    operation = "read" if "read" in kind else "write"
    service = serve(probes="[block_io]")
    disk, stat = disk_of(tmp_path)
    first, before = service.settled(), completed(stat, operation)
    said = fio(kind, block, REQUESTS, "--lat_percentiles=1", "--percentile_list=50:90:99")
    after, page = completed(stat, operation), service.settled()
    of = {"device": disk, "operation": operation}

    def grown(name, **labels):
        return page.sum(name, **of, **labels) - first.sum(name, **of, **labels)

    assert (REQUESTS, REQUESTS * block) == (said["total_ios"], said["io_bytes"])
    # requests whose completion ran no program are counted as lost (see bpf/README.md): nothing is missing unaccounted
    lost = page.lost("block_io").get("completions", 0)
    assert said["total_ios"] - lost <= grown("ebpf_block_io_duration_seconds_count", comm="fio") <= said["total_ios"]
    assert said["io_bytes"] - lost * block <= grown("ebpf_block_io_size_bytes_sum", comm="fio") <= said["io_bytes"]
    assert lost < REQUESTS / 20
    # others may use the disk in the moments between the two ways of looking
    assert grown("ebpf_block_io_duration_seconds_count") == pytest.approx(after[0] - before[0], abs=20 + lost)
    assert grown("ebpf_block_io_size_bytes_sum") == pytest.approx(
        after[1] - before[1], rel=0.02, abs=(1 << 20) + lost * block
    )
    for name, nanoseconds in said["lat_ns"]["percentile"].items():
        bound = bucket_of_quantile(page, float(name) / 100, comm="fio", **of)
        assert bound / 4 <= nanoseconds / 1e9 <= 2 * bound, (name, nanoseconds, bound)
