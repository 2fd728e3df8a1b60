# SPDX-License-Identifier: Apache-2.0
"""The Prometheus exporter with the parts that tests look at; shared by several test files."""

from ebpf_sidecar.exporters.prometheus import FACTORY
from ebpf_sidecar.pipeline import ComponentKind, RowSet
from ebpf_sidecar.pipeline.testing import FakeClock, fake_context

OPENMETRICS = {"accept": "application/openmetrics-text"}
SECOND = 1_000_000_000


class ServedExporter:
    """An exporter with the parts that a test looks at."""

    def __init__(self, settings=None, **parts):
        self.clock, self.drops = FakeClock(), {}
        self.context = fake_context(ComponentKind.EXPORTER, "prometheus", clock=self.clock, **parts)
        self.exporter = FACTORY.create(FACTORY.settings(**(settings or {})), self.context)
        self.exporter.start()

    def export(self, *frames):
        for part in self.exporter.export(frames):
            assert part.lost
            self.drops[part.reason] = self.drops.get(part.reason, 0) + part.points

    def page(self, headers=None):
        return self.context.routes.get("/metrics", headers).body.decode()

    def samples(self):
        """Every sample of the page without comments, in order."""
        return [line for line in self.page().splitlines() if not line.startswith("#")]


def people(*names, first_id=0):
    """A row set with one row per name."""
    return RowSet.of([{"who": name} for name in names], first_id)
