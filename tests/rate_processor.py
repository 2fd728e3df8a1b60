# SPDX-License-Identifier: Apache-2.0
"""The processor `rate` and what it is fed with; shared by several test files."""

from ebpf_sidecar.pipeline import ComponentKind, RowSet
from ebpf_sidecar.pipeline.testing import NOON, fake_context, frame
from ebpf_sidecar.processors.rate import RateProcessor, RateSettings, register_components

[FACTORY] = register_components()
SECOND = 1_000_000_000
OWNERS = RowSet.of([{"process.executable.name": name} for name in ("dd", "sh")])


def made(telemetry=None, **settings):
    """The processor with these settings."""
    return RateProcessor(RateSettings(**settings), fake_context(ComponentKind.PROCESSOR, "rate", telemetry=telemetry))


def at(second, name, values, rows=OWNERS, **parts):
    """A counter read at a second."""
    return frame(name, values, rows, time_unix_nano=NOON + int(second * SECOND), **parts)


def run(processor, *ticks):
    """What was added to the last tick: metric name → records of its rows → value."""
    for frames in ticks:
        out = processor.process(frames)
    added = out[len(ticks[-1]) :]
    return {
        made.name: {
            r["process.executable.name"]: v for r, v in zip(made.rows.records(), made.values.tolist(), strict=True)
        }
        for made in added
    }


def page_cache(second, attempts, misses):
    """The frames of the page cache at a second."""
    return [
        at(second, "ebpf.cache.read_attempts", attempts),
        at(second, "ebpf.cache.misses", misses),
    ]
