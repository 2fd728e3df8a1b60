# SPDX-License-Identifier: Apache-2.0
"""Whether the devices in use have rows in block_io."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ebpf_sidecar.pipeline.checks import Finding, FindingVerdict
from ebpf_sidecar.receivers.ebpf.probe.model import Probe

from .bio_devices import BioDevice
from .host_facts import HostFacts

_PROBE = "block_io"


def disk_findings(facts: HostFacts, probes: Sequence[Probe]) -> Iterator[Finding]:
    """One line, where the probe is configured."""
    if not any(probe.name == _PROBE for probe in probes):
        return
    devices = facts.bio_devices
    if not devices:
        yield Finding(
            "disks", "rows", FindingVerdict.OK, "every device that is mounted or used as swap has rows in block_io"
        )
        return
    listed = ", ".join(f"{device.name} for {' and '.join(device.uses)}" for device in devices)
    found = f"no rows in block_io, because these devices pass I/O on without making requests: {listed}"
    yield Finding("disks", "rows", FindingVerdict.NOTE, found, _instead(devices))


def _instead(devices: Sequence[BioDevice]) -> str:
    below = sorted({name for device in devices for name in device.below})
    disks = f"read the rows of the devices below them ({', '.join(below)}); " if below else ""
    return f"{disks}totals of a whole device are in /sys/block/<device>/stat"
