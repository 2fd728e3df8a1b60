# SPDX-License-Identifier: Apache-2.0
"""Direct I/O by fio, read back from /metrics, against fio's own count and the kernel's."""

import math
import os
from pathlib import Path

import pytest

REQUESTS, ATTEMPTS = 1000, 30
MARGIN = 4  # requests that end just while one of both is read


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


def grown(before, after):
    """How much a reading grew."""
    return tuple(now - then for now, then in zip(after, before, strict=True))


def bucket_of_quantile(first, page, quantile, **labels):
    """The upper bound (seconds) of the bucket in which a quantile of the requests between two scrapes lies."""
    name = "ebpf_block_io_duration_seconds_bucket"
    buckets, before = {}, first.rows(name, **labels)
    for key, value in page.rows(name, **labels).items():
        bound = float(dict(key)["le"])
        buckets[bound] = buckets.get(bound, 0) + value - before.get(key, 0)
    total = buckets[math.inf]
    return next(bound for bound in sorted(buckets) if buckets[bound] >= quantile * total)


class Run:
    """One run of fio: the numbers of fio, the kernel and the page."""

    def __init__(self, service, fio, path, kind, block):
        self.operation, self.block = "read" if "read" in kind else "write", block
        self.disk, stat = disk_of(path)
        readings = [completed(stat, self.operation)]
        self.first = service.settled()
        readings.append(completed(stat, self.operation))
        self.fio = fio(kind, block, REQUESTS, "--lat_percentiles=1", "--percentile_list=50:90:99")
        readings.append(completed(stat, self.operation))
        self.page = service.settled()
        readings.append(completed(stat, self.operation))
        self.inner, self.outer = grown(*readings[1:3]), grown(readings[0], readings[3])

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
        before, after = (page.lost("block_io").get("completions", 0) for page in (self.first, self.page))
        return after - before

    def counts_equal(self):
        """Number and bytes are fio's."""
        return self.counted(comm="fio") == (self.fio["total_ios"], self.fio["io_bytes"])

    def latencies_equal(self):
        """Each percentile of fio's latencies lies within one bucket of ours."""
        return all(bound / 4 <= ns / 1e9 <= 2 * bound for ns, bound in self.percentiles().values())

    def percentiles(self):
        """Percentile → fio's nanoseconds (seen by the program) and the bound of our bucket (seen by the device)."""
        of = {"comm": "fio", "device": self.disk, "operation": self.operation}
        reported = self.fio["lat_ns"]["percentile"]
        return {
            name: (ns, bucket_of_quantile(self.first, self.page, float(name) / 100, **of))
            for name, ns in reported.items()
        }


@pytest.mark.parametrize(("kind", "block"), [("randread", 4096), ("randwrite", 4096), ("read", 65536)])
def test_requests_bytes_and_latencies_are_fios_own(serve_once, fio, tmp_path, kind, block):
    """1,000 direct requests: number and bytes equal, latency percentiles within one bucket (a factor of two)."""
    if not any(Path("/sys/block").iterdir()):
        pytest.skip("no block device")
    fio("write", block, REQUESTS)
    os.sync()
    service = serve_once(probes="[block_io]", bounds="full")
    # others on the machine can make fio load its libraries again (which are requests, too) or wait for a processor
    # (which is no latency of the device): look a few times, equality has to be seen
    runs = [Run(service, fio, tmp_path, kind, block)]
    while len(runs) < ATTEMPTS and not (any(r.counts_equal() for r in runs) and any(r.latencies_equal() for r in runs)):
        runs.append(Run(service, fio, tmp_path, kind, block))
    run = runs[-1]

    assert any(each.counts_equal() for each in runs), [(each.counted(comm="fio"), each.lost()) for each in runs]
    assert any(each.latencies_equal() for each in runs), [each.percentiles() for each in runs]
    assert (REQUESTS, REQUESTS * block) == (run.fio["total_ios"], run.fio["io_bytes"])
    # others use the disk as well: the kernel's numbers were read before and after each of the page's two readings
    margins = (MARGIN + run.lost(), (MARGIN + run.lost()) * (1 << 20))
    for least, ours, most, margin in zip(run.inner, run.counted(), run.outer, margins, strict=True):
        assert least - margin <= ours <= most + margin
