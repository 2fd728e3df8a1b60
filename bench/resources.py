# SPDX-License-Identifier: Apache-2.0
"""What the service takes with the packaged configuration: memory, CPU time while idle, time to start.

    python bench/resources.py [seconds to stay idle, default 60]

Needs root. Memory in MiB: "rss" is all that is mapped, "anon" the process's own, "file" pages of programs and
libraries, "pss" the same with shared pages divided among those who map them, "private" what the process's end would
free; "lines" is the length of the page, as memory grows with what this machine does meanwhile. The steps are cumulative
in one fresh process; "+" is what the step added. Idle means that it is not scraped and only this machine's own activity
is counted; time on a processor is the scheduler's count in nanoseconds. The start is from the command to the first page
with a probe's metric, the median of several; its control, in turn with it, imports what cannot be avoided: NumPy, the
OpenTelemetry SDK and the Prometheus package.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from measuring.memory import MEMORY_FILES, cpu_ns, in_mib, memory_in
from measuring.printing import progress, table
from measuring.service import Sidecar, by_labels, environment

from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for
from ebpf_sidecar.receivers.ebpf.loading.parent import load
from ebpf_sidecar.receivers.ebpf.probe.file import read_probe

BPF = Path(__file__).parents[1] / "bpf"
PROBES = ("page_cache", "block_io", "syscalls")
CONTROL = "import numpy, opentelemetry.sdk.metrics, opentelemetry.exporter.prometheus"
SCRAPES = 20
KINDS = ("rss", "anon", "file", "pss", "private")

STEPS = {
    "bare python": "",
    "numpy": "import numpy",
    "settings: pydantic, pyyaml": "import pydantic, yaml; type('S', (pydantic.BaseModel,), {})",
    "command: click, pluggy, metadata": "import click, pluggy, importlib.metadata",
    "opentelemetry SDK + prometheus": "import opentelemetry.sdk.metrics, opentelemetry.exporter.prometheus",
    "web server: waitress": "import waitress",
    "ours, without components": "import ebpf_sidecar.pipeline.cli.commands, ebpf_sidecar.pipeline.cli.run, "
    "ebpf_sidecar.pipeline.running.run",
    "the configuration, read": "import os; from ebpf_sidecar.pipeline.config.load import load; "
    "from ebpf_sidecar.pipeline.config.locations import config_sources; "
    "from ebpf_sidecar.pipeline.plugins import Plugins; "
    "config = load(config_sources([]), (), Plugins(), os.environ)",
    "the service, built": "service = ebpf_sidecar.pipeline.running.service.Service(config)",
    "start-up pages given back": "ebpf_sidecar.pipeline.running.run.release_start_up(service.paths.proc)",
}

# prints what the kernel says, without importing anything for it
SHOW = "print(''.join(open('/proc/self/' + name).read() for name in {files!r}), end='\\0')"


def breakdown(steps: dict[str, str]) -> dict[str, dict[str, float]]:
    """Memory after each step on the way to a service, all in one process."""
    show = SHOW.format(files=MEMORY_FILES)
    code = "\n".join(line for step in steps.values() for line in (step, show))
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment(), text=True, check=True
    )
    return dict(zip(steps, map(memory_in, done.stdout.split("\0")), strict=False))


def breakdown_table(found: dict[str, dict[str, float]]) -> str:
    """Each step, and what it added."""
    rows, before = [], 0.0
    for name, memory in found.items():
        rows.append([name, memory["rss"] - before, *(memory[kind] for kind in KINDS)])
        before = memory["rss"]
    return table(["step (MiB)", "+", *KINDS], rows)


@dataclass(frozen=True)
class Idle:
    """How a service stood idle: memory and lines on the page at moments, share of a processor in percent by thread."""

    memory: dict[str, dict[str, float]]
    percent: dict[str, float]
    page: str


def idle(interval: str, seconds: float, rest: float = 11.0) -> Idle:
    """Start a service, scrape it, leave it alone, scrape it again, and let it rest until free memory is given back."""
    memory = {}

    def scrapes(reading_time: str, count: int) -> str:
        page = [service.scrape() for _ in range(count)][-1]
        memory[reading_time] = {**in_mib(service.process.pid), "lines": page.count("\n")}
        return page

    with Sidecar(interval) as service:
        service.first_page()
        scrapes("after the start", 1)
        scrapes(f"after {SCRAPES} scrapes", SCRAPES)
        before, started = cpu_ns(service.process.pid), time.monotonic()
        time.sleep(seconds)
        after, passed = cpu_ns(service.process.pid), time.monotonic() - started
        page = scrapes(f"{seconds:g} s and {SCRAPES} scrapes later", SCRAPES)
        time.sleep(rest)
        memory[f"at rest for {rest:g} s"] = {**in_mib(service.process.pid), "lines": page.count("\n")}
        memory["beside it: the privilege broker"] = {**in_mib(service.broker()), "lines": 0}
    return Idle(memory, {thread: (after[thread] - before.get(thread, 0)) / passed / 1e7 for thread in after}, page)


def at_once(intervals: Sequence[str], seconds: float) -> dict[str, Idle]:
    """Services with these intervals, side by side to save time."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(intervals, pool.map(lambda interval: idle(interval, seconds), intervals), strict=True))


def idle_table(found: dict[str, Idle]) -> str:
    """Processor time, and how much of it the thread took that took most ."""
    rows = [
        [interval, f"{sum(each.percent.values()):.3f}", f"{max(each.percent.values()):.3f}", len(each.percent)]
        for interval, each in found.items()
    ]
    return table(["idle, interval", "% of a core", "busiest thread", "threads"], rows)


def memory_table(memory: dict[str, dict[str, float]]) -> str:
    """Memory of the running service."""
    kinds = (*KINDS, "peak", "lines")
    return table(
        ["service (MiB)", *kinds],
        [[reading_time, *(each[kind] for kind in kinds)] for reading_time, each in memory.items()],
    )


def starts(runs: int) -> tuple[list[float], list[float]]:
    """Seconds of several starts, and of the control, in turn."""
    ours, control = [], []
    for _ in range(runs):
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", CONTROL], env=environment(), check=True)
        control.append(time.monotonic() - started)
        with Sidecar("10s") as service:
            ours.append(service.first_page()[0])
    return ours, control


def loader() -> tuple[float, float]:
    """MiB that the loader took at its peak, and seconds that it compiled."""
    probes = [read_probe(BPF / f"{name}.yaml") for name in PROBES]
    with load(probes, request_for(probes)) as loaded:
        return loaded.peak_rss_bytes / 2**20, loaded.compile_seconds


def start_table(runs: int) -> str:
    """Start and loader."""
    ours, control = starts(runs)
    loaders = [loader() for _ in range(runs)]
    first, imports = statistics.median(ours), statistics.median(control)
    spread = f"{min(ours):.2f} to {max(ours):.2f}"
    return table(
        ["start", "median", "spread"],
        [
            ["to the first page with a probe's metric (s)", first, spread],
            ["control: the imports alone (s)", imports, f"{min(control):.2f} to {max(control):.2f}"],
            ["ratio", first / imports, ""],
            ["compiling, within that (s)", statistics.median(seconds for _, seconds in loaders), ""],
            ["peak of the loader, which then ends (MiB)", statistics.median(peak for peak, _ in loaders), ""],
        ],
    )


def map_table(page: str) -> str:
    """Kernel memory of the maps."""
    rows = [
        [labels.partition('map="')[2].partition('"')[0], size / 1024]
        for labels, size in by_labels(page, "ebpf_map_memory_bytes").items()
    ]
    return table(["kernel map", "KiB"], [*rows, ["all", sum(float(size) for _, size in rows)]])


def main() -> None:
    """Print the tables."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    breakdown(STEPS)  # so that everything is compiled
    progress("memory by step")
    print(breakdown_table(breakdown(STEPS)), end="\n\n")
    progress(f"idle for {seconds:g} s")
    found = at_once(("10s", "1s"), seconds)
    print(memory_table(found["10s"].memory), end="\n\n")
    print(idle_table(found), end="\n\n")
    progress("starts")
    print(start_table(runs=7), end="\n\n")
    print(map_table(found["10s"].page))


if __name__ == "__main__":
    main()
