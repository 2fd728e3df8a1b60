# SPDX-License-Identifier: Apache-2.0
"""What nodes send to a gateway, and what gateways for 100 to 10,000 of them need, by calculation.

    python bench/gateway.py [microseconds of a gateway's processor time a point, default 2.9]

The packaged recording says how many points a node's own metrics are, and how many a program in a container makes; its
rows are repeated for as many containers, each with ids of its own, and encoded. "MB/s" are what all nodes send in one
interval of ten seconds, "cores" what the gateways' processors do with it.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
from collections.abc import Sequence

import numpy as np
from measuring.printing import table

from ebpf_sidecar.exporters.otlp_encoding.encoder import Encoder
from ebpf_sidecar.exporters.otlp_encoding.request import RequestLimits
from ebpf_sidecar.pipeline import Frame, Frames, RowSet, Text
from ebpf_sidecar.pipeline.histogram_bounds import chosen
from ebpf_sidecar.pipeline.recording.file import Recording
from ebpf_sidecar.receivers.replay import PACKAGED

INTERVAL = 10
NODES = (100, 1_000, 10_000)
PAIRS = {"10 programs": 10, "30 containers with 2 programs": 60, "110 containers with 3 programs": 330}
PROGRAM, CGROUP, ID, POD = "process.executable.name", "process.linux.cgroup", "container.id", "k8s.pod.uid"


def recorded() -> Frames:
    """The last batch of the packaged recording."""
    return list(Recording(PACKAGED).batches(lambda _: None))[-1].frames


def own_and_one(frames: Frames) -> tuple[list[Frame], list[Frame]]:
    """The node's own metrics, and those of the program that makes most points."""
    own, of_program = [], []
    for frame in frames:
        column = frame.rows.columns.get(PROGRAM)
        if not isinstance(column, Text):
            own.append(frame)
            continue
        busiest = np.array([name == "sqlite3" for name in column.strings()])
        of_program.append(frame.take(busiest))
    return own, [frame for frame in of_program if len(frame)]


def repeated(frame: Frame, times: int) -> Frame:
    """The rows as often as that, each time of another container and pod."""
    size = len(frame)
    rows = frame.rows.take(np.tile(np.arange(size), times)).without(CGROUP)
    number = np.repeat(np.arange(times), size).tolist()
    hashes = [hashlib.sha256(str(each).encode()).hexdigest() for each in range(times)]
    ids, pods = (Text.of(cut(hashes[each]) for each in number) for cut in (_whole, _uid))
    named = RowSet(np.arange(len(rows), dtype=np.uint64), {**rows.columns, ID: ids, POD: pods})
    return frame.take(np.tile(np.arange(size), times), named)


def _whole(digits: str) -> str:
    return digits


def _uid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"


def node(pairs: int) -> tuple[int, int, int]:
    """Points, bytes and compressed bytes of an interval on a node with so many programs in containers."""
    own, program = own_and_one(recorded())
    frames = [chosen(frame, "default") for frame in (*own, *(repeated(frame, pairs) for frame in program))]
    requests = list(Encoder(RequestLimits(4 << 20)).requests(frames))
    bodies = [body for body, _ in requests]
    return sum(points for _, points in requests), sum(map(len, bodies)), sum(len(gzip.compress(b, 6)) for b in bodies)


def rows(microseconds: float) -> Sequence[Sequence[object]]:
    """The lines of the table."""
    lines = []
    for name, pairs in PAIRS.items():
        points, plain, packed = node(pairs)
        for nodes in NODES:
            a_second = points * nodes / INTERVAL
            megabytes = [size * nodes / INTERVAL / 1e6 for size in (plain, packed)]
            about = [f"{points:,}", plain // points, packed / points] if nodes == NODES[0] else ["", "", ""]
            cores = a_second * microseconds / 1e6
            lines.append(
                [name if nodes == NODES[0] else "", *about, f"{nodes:,}", f"{a_second:,.0f}", *megabytes, cores]
            )
    return lines


def main() -> None:
    """Print the table."""
    microseconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.9
    heads = ["a node has", "points", "bytes", "gzip", "nodes", "points/s", "MB/s", "gzip MB/s", "cores"]
    print(table(heads, rows(microseconds)))


if __name__ == "__main__":
    main()
