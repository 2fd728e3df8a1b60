# SPDX-License-Identifier: Apache-2.0
"""Whether the service grows while containers come and go: memory, descriptors, threads, rows, and what an hour adds.

    python bench/soak.py [duration, default 10m] [all] [reload]

Needs root. The packaged configuration at 500 ms, scraped every five seconds, while five cgroups a second live for a few
milliseconds, half of them containers, in processes with names that the kernel truncates. It measures their processes,
so that nothing else on the machine matters; with "all" it measures the whole machine, which must then be quiet. What
the product keeps of them for minutes and hours is kept for seconds here, so that as much goes as comes after 80 s.
These, or the first quarter if that is longer, are left out.

Measured from outside, of the service and all processes that it started, each second: memory ("anonymous" is its own,
"rss" has the mapped files as well, "private" is what its end would free), descriptors, threads and processes; "rows"
are the page's lines. Free memory is given back every ten seconds, so the lowest of each 20 s counts. "an hour" is the
slope of a straight line through these (least squares), "growth" what that line rises in the measured time. It must stay
below its bound, or the exit code is 1: the shorter the soak, the larger a leak must be to be seen, so each bound is
shown as a slope, too. Shapes are drawn from the lowest to the highest value.

With "reload", the configuration changes each second, and the service reloads it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

from measuring.churn import PROGRAMS, Churn, churning
from measuring.memory import in_mib
from measuring.printing import progress, table
from measuring.reloads import Reloads, reloads
from measuring.service import Sidecar, total
from measuring.trend import sparkline, trend

from ebpf_sidecar.pipeline.settings import parse_duration

Sample = Mapping[str, float]

SETTINGS = {
    "processors.map_cleanup.stale_after": "5s",
    "processors.map_cleanup.cleanup_interval": "5s",
    "exporters.prometheus.metric_expiration": "5s",
}
CONSTANTS = {
    "receivers.ebpf.owners.cgroup_tree._REMEMBERED": 64,
    "receivers.ebpf.maps.map_totals.FORGET_AFTER": 10.0,
    "receivers.ebpf.owners.program_names.NAMES_ALWAYS_KEPT": 32,
    "pipeline.cardinality.row_table.FORGET_AFTER": 20.0,
    "pipeline.cardinality.folding.SPARE_OWNERS": 64,
    "pipeline.increase.FORGET_AFTER": 20 * 10**9,
}
CHURN_ALONE = {"receivers.ebpf.targets": f"{{executables: [{', '.join(PROGRAMS)}], kernel_threads: false}}"}
CGROUPS_PER_SECOND = 5
SAMPLES_PER_SCRAPE = 5
WINDOW_SECONDS = 20.0
WARM_UP = 0.25
FULL_SECONDS = 80.0
"""How long it takes until as much goes as comes."""
SHORTEST = 140.0
"""Seconds that give three windows after that."""
BOUNDS = {
    "anonymous (kB)": 3072,
    "rss (kB)": 4096,
    "private (kB)": 4096,
    "descriptors": 2,
    "threads": 1,
    "processes": 0.5,
    "rows": 1000,
}
"""What noise alone can add in the measured time: heaps grow in steps of a megabyte, and pages of files are private as
long as no other process maps the same ones."""


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def sample(service: Sidecar) -> dict[str, float]:
    """What the service takes now, but for its rows."""
    pids = family(service.process.pid)
    memory = [in_mib(pid) for pid in pids]
    return {
        "anonymous (kB)": 1024 * sum(each["anon"] for each in memory),
        "rss (kB)": 1024 * sum(each["rss"] for each in memory),
        "private (kB)": 1024 * sum(each["private"] for each in memory),
        "descriptors": sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
        "threads": sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids),
        "processes": len(pids),
    }


def samples(
    service: Sidecar, churn: Churn, seconds: float, reloading: Reloads | None = None
) -> Iterator[tuple[float, Sample]]:
    """One a second, with the seconds since the start; says how far it is. Raises SystemExit if a reload is refused."""
    start, rows = time.monotonic(), 0.0
    for number in count():
        passed = time.monotonic() - start
        if passed >= seconds:
            return
        if number % SAMPLES_PER_SCRAPE == 0:
            page = service.scrape()
            rows = page.count("\n")
            if reloading and reloading.refused(page):
                raise SystemExit("a reload was refused")
        found = {**sample(service), "rows": rows}
        if number % (2 * SAMPLES_PER_SCRAPE) == 0:
            numbers = ", ".join(f"{value:.0f} {name.replace(' (', ' ').rstrip(')')}" for name, value in found.items())
            progress(f"{passed:5.0f} of {seconds:.0f} s: {churn.ended} cgroups, {numbers}")
        yield passed, found
        if reloading:
            reloading.next(service)
        time.sleep(1.0)


def warm_up(seconds: float) -> float:
    """How much of a soak is left out."""
    return max(FULL_SECONDS, WARM_UP * seconds)


def calm(found: Iterable[tuple[float, Sample]]) -> list[tuple[float, Sample]]:
    """The lowest of each window, at the window's start."""
    windows: dict[int, list[Sample]] = {}
    for passed, each in found:
        windows.setdefault(int(passed / WINDOW_SECONDS), []).append(each)
    return [
        (window * WINDOW_SECONDS, {name: min(each[name] for each in inside) for name in BOUNDS})
        for window, inside in windows.items()
    ]


def report(found: Sequence[tuple[float, Sample]]) -> tuple[str, list[str]]:
    """The table of what was measured after the warm-up, and what grew beyond its bound."""
    measured = calm((passed, each) for passed, each in found if passed >= warm_up(found[-1][0]))
    moments = [passed for passed, _ in measured]
    rows, grown = [], []
    for name, bound in BOUNDS.items():
        values = [each[name] for _, each in measured]
        line = trend(moments, values)
        ends = [round(number) for number in (line.first, line.last, line.lowest, line.highest)]
        slopes = [f"{line.an_hour:+.1f}", f"{3600 * bound / (moments[-1] - moments[0]):.0f}"]
        rows.append([name, *ends, line.growth, float(bound), *slopes, sparkline(values, 30)])
        grown += [name] if line.growth > bound else []
    heads = ["of the service", "first", "last", "lowest", "highest", "growth", "bound", "an hour", "bound", "shape"]
    return table(heads, rows), grown


def main() -> int:
    """Soak, print, and judge."""
    seconds = parse_duration(sys.argv[1] if len(sys.argv) > 1 else "10m")
    settings = SETTINGS if "all" in sys.argv else SETTINGS | CHURN_ALONE
    if seconds < SHORTEST:
        raise SystemExit(f'"{sys.argv[1]}" is too short for a slope; soak for at least {SHORTEST:g}s')
    with (
        reloads() as reloading,
        churning(CGROUPS_PER_SECOND) as churn,
        Sidecar("500ms", settings=settings, constants=CONSTANTS, files=[reloading.file]) as service,
    ):
        service.first_page()
        found = list(samples(service, churn, seconds, reloading if "reload" in sys.argv else None))
        given_up = total(service.scrape(), "ebpf_sidecar_receiver_forgotten_rows_total")
    text, grown = report(found)
    progress(f"{churn.ended} cgroups in {seconds:g} s, {given_up:.0f} rows given up")
    progress(f"{reloading.number} reloads")
    progress(f"the first {warm_up(seconds):.0f} s are left out")
    print(text)
    progress(f"grows: {', '.join(grown)}" if grown else "flat")
    return 1 if grown else 0


if __name__ == "__main__":
    raise SystemExit(main())
