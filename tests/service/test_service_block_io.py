# SPDX-License-Identifier: Apache-2.0
"""Direct I/O by fio, read back from /metrics, against fio's own count and the kernel's."""

import math
import os
from pathlib import Path

import pytest

REQUESTS, ATTEMPTS = 1000, 5


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


class Run:
    """One run of fio: what fio, the kernel and the page say of it."""

    def __init__(self, service, fio, path, kind, block):
        self.operation, self.block = "read" if "read" in kind else "write", block
        self.disk, stat = disk_of(path)
        self.first, before = service.settled(), completed(stat, self.operation)
        self.fio = fio(kind, block, REQUESTS, "--lat_percentiles=1", "--percentile_list=50:90:99")
        after, self.page = completed(stat, self.operation), service.settled()
        self.kernel = tuple(now - then for now, then in zip(after, before, strict=True))

    def grown(self, name, **labels):
        """How much a metric grew meanwhile, of the run's device and operation."""
        of = {"device": self.disk, "operation": self.operation, **labels}
        return self.page.sum(name, **of) - self.first.sum(name, **of)

    def counted(self, **labels):
        """Requests and bytes."""
        sums = ("ebpf_block_io_duration_seconds_count", "ebpf_block_io_size_bytes_sum")
        return tuple(self.grown(name, **labels) for name in sums)

    def lost(self):
        """Completions that ran no program (see bpf/README.md): counted when they are noticed."""
        return self.page.lost("block_io").get("completions", 0)

    def undisturbed(self):
        """Nothing of fio's own was read from disk beside its job, and no completion was hidden."""
        return self.counted(comm="fio") == (self.fio["total_ios"], self.fio["io_bytes"])


@pytest.mark.parametrize(("kind", "block"), [("randread", 4096), ("randwrite", 4096), ("read", 65536)])
def test_requests_bytes_and_latencies_are_fios_own(serve, fio, tmp_path, kind, block):
    """1,000 direct requests: number and bytes equal, latency percentiles within one bucket (a factor of two)."""
    if not any(Path("/sys/block").iterdir()):
        pytest.skip("no block device")
    fio("write", block, REQUESTS)
    os.sync()
    service = serve(probes="[block_io]")
    # other users of the machine can make fio load its libraries again, which are requests, too: look a few times
    runs = (Run(service, fio, tmp_path, kind, block) for _ in range(ATTEMPTS))
    run = next((run for run in runs if run.undisturbed()), None)

    assert run is not None
    assert (REQUESTS, REQUESTS * block) == (run.fio["total_ios"], run.fio["io_bytes"])
    requests, size = run.counted()
    # others may use the disk in the moments between the two ways of looking
    assert requests == pytest.approx(run.kernel[0], abs=20 + run.lost())
    assert size == pytest.approx(run.kernel[1], rel=0.02, abs=(1 << 20) + run.lost() * block)
    for name, nanoseconds in run.fio["lat_ns"]["percentile"].items():
        bound = bucket_of_quantile(run.page, float(name) / 100, comm="fio", device=run.disk, operation=run.operation)
        assert bound / 4 <= nanoseconds / 1e9 <= 2 * bound, (name, nanoseconds, bound)
