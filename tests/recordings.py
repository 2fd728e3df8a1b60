# SPDX-License-Identifier: Apache-2.0
"""Recordings written and read by tests; what several files of them share."""

from ebpf_sidecar.pipeline import RowSet
from ebpf_sidecar.pipeline.recording.file import Header, Recording, RecordingWriter

HEADER = Header("0.1.0", "6.18.44", "x86_64", "2026-01-01T12:00:00+00:00", 1.0, {"os.type": "linux"})
OWNERS = RowSet.of([{"process.executable.name": name} for name in ("dd", "sh")])


def write(path, *batches, header=HEADER):
    """A recording of those batches."""
    writer = RecordingWriter(path, header)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return path


def read(path, damaged=None):
    """The batches of a recording."""
    reasons = []
    batches = [batch.frames for batch in Recording(path).batches(reasons.append)]

    assert damaged is not None or [] == reasons
    return batches if damaged is None else (batches, reasons)
