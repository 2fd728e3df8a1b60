# SPDX-License-Identifier: Apache-2.0
"""A workload of every metric of the probes, and what SkyWalking's OAP must make of it, minute by minute."""

from itertools import product

from ebpf_sidecar.pipeline.frame import Kind
from ebpf_sidecar.pipeline.testing import frame

MINUTES, READINGS = 2, 4
"""In the second minute, each reading counts twice as much."""
CONTAINERS = {"a" * 64: 1, "b" * 64: 3}
"""By id, how busy each is."""
PROCESSES = {"x": 1, "y": 2}
COMBINATIONS = {"read": 1, "write": 2}
"""Values of all attributes of a row, but that of the device, of which each process has its own."""
BOUNDS = {"s": [2.0**each * 1e-9 for each in (16, 20, 24, 28, 35)], "By": [2.0**each for each in (9, 12, 16, 20, 24)]}
COUNTS = [60, 35, 5, 0, 0, 0]
"""So that the median, p90 and p99 lie in the first three buckets."""
SUMS = {"s": 0.0005, "By": 512.0}
PERCENTILES = {"s": {"50": 65, "90": 1048, "99": 16777}, "By": {"50": 512_000, "90": 4_096_000, "99": 65_536_000}}
"""Upper bounds in whole microseconds, and in thousandths of a byte."""


class Workload:
    """What has been counted of a metric, row by row, since the beginning."""

    def __init__(self, place, metric):
        self.metric, self.size = metric, 10 + place
        self.labels = [name for name in metric.attributes if name != "device"]
        self.keys = list(product(CONTAINERS, PROCESSES, COMBINATIONS if self.labels else ["read"]))
        self.units = [0] * len(self.keys)

    def reading(self, factor, **times):
        """The frame after ``factor`` more units of work of every row; levels follow from the row alone."""
        work = [CONTAINERS[c] * PROCESSES[p] * COMBINATIONS[k] * self.size for c, p, k in self.keys]
        self.units = [before + factor * more for before, more in zip(self.units, work, strict=True)]
        metric, parts = self.metric, {"unit": self.metric.unit, **times}
        if metric.kind is Kind.HISTOGRAM:
            values = [[count * units for count in COUNTS] for units in self.units]
            sums = [SUMS[metric.unit] * units for units in self.units]
            return frame(metric.name, values, list(self.rows()), bounds=BOUNDS[metric.unit], sums=sums, **parts)
        values = self.units if metric.kind is Kind.COUNTER else work
        return frame(metric.name, values, list(self.rows()), kind=metric.kind, **parts)

    def rows(self):
        """Their attributes."""
        for container, process, combination in self.keys:
            own = {"container.id": container, "process.executable.name": process}
            device = {"device": f"{process}-disk"} if "device" in self.metric.attributes else {}
            yield own | device | dict.fromkeys(self.labels, combination)

    def by_label(self, rule, busy):
        """What a rule makes of it in each minute, by labels: arithmetic, without what the exporter does."""
        for combination, share in COMBINATIONS.items():
            labels = {name.replace(".", "_"): combination for name in self.labels}
            if labels or combination == "read":
                level = busy * sum(PROCESSES.values()) * share * self.size
                yield from self.values(
                    rule, labels, [READINGS * level * (minute + 1) for minute in range(MINUTES)], level
                )

    def values(self, rule, labels, units, level):
        """Of one combination of labels."""
        unit = self.metric.unit
        if rule.is_percentile:
            yield from ((labels | {"p": p}, [bound] * MINUTES) for p, bound in PERCENTILES[unit].items())
        elif rule.name.endswith("_count"):
            yield labels, [sum(COUNTS) * each for each in units]
        elif rule.name.endswith("_time_us"):
            yield labels, [500 * each for each in units]
        elif self.metric.kind is Kind.HISTOGRAM:
            yield labels, [512 * each for each in units]
        else:
            yield labels, units if self.metric.kind is Kind.COUNTER else [level] * MINUTES
