# SPDX-License-Identifier: Apache-2.0
"""What dashboards show, whatever draws it: ratios and percentiles first, then every metric that these leave out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .mqe import reads
from .rules import INSTANCE, PERCENTILES, SERVICE, Rule, Scope

_SPELT = {"io": "I/O", "lru": "LRU", "oom": "OOM"}
_ALL = ",".join(map(str, PERCENTILES))
_NAMES = ",".join(f"P{each}" for each in PERCENTILES)


@dataclass(frozen=True)
class Widget:
    """``id``: its own in all dashboards of a scope. ``expression``: in MQE. ``is_top``: a list of instances."""

    id: str
    title: str
    unit: str
    tip: str
    expression: str
    is_top: bool = False


_RATIOS = (
    Widget("cache_miss_rate", "Cache misses", "%", "Share of the pages requested by reads that were not cached",
           "{m}cache_misses/{m}cache_read_attempts*100"),
    Widget("cache_mapped_miss_rate", "Cache misses of mapped files", "%",
           "Share of the faults on mapped files that had to read pages in",
           "{m}cache_mapped_misses/{m}cache_mapped_faults*100"),
    Widget("block_io_mean", "Mean block I/O time", "ms", "Time in the device, per request",
           "{m}block_io_time_us/{m}block_io_count/1000"),
    Widget("block_io_queue_mean", "Mean time in the block I/O queue", "ms",
           "Time in the scheduler's queue, per request that was queued",
           "{m}block_io_queue_time_us/{m}block_io_queue_count/1000"),
    Widget("block_io_mean_size", "Mean block I/O size", "bytes", "Bytes per request to the device",
           "{m}block_io_size_bytes/{m}block_io_size_count"),
    Widget("syscall_mean", "Mean system call time", "ms", "Time from entry to return, per call",
           "{m}syscall_time_us/{m}syscall_count/1000"),
    Widget("memory_reclaim_efficiency", "Reclaim efficiency", "%",
           "Share of the pages scanned for reclaim that could be freed",
           "{m}memory_lru_pages_reclaimed/{m}memory_lru_pages_scanned*100"),
    Widget("memory_direct_reclaim_mean", "Mean direct reclaim time", "ms",
           "How long a thread stalls to reclaim memory",
           "{m}memory_direct_reclaim_time_us/{m}memory_direct_reclaim_count/1000"),
    Widget("fadvise_success_rate", "Successful fadvise calls", "%",
           "Share of the calls of posix_fadvise that returned 0",
           "{m}fadvise_success/{m}fadvise_calls*100"),
)  # fmt: skip
"""``{m}`` stands for the prefix of the scope's metrics."""
_TOP = (
    Widget("top_cache_misses", "Containers by cache misses", "pages", "Those with the most",
           f"top_n({INSTANCE.prefix}_cache_misses,10,des)", is_top=True),
    Widget("top_cache_read_attempts", "Containers by pages read", "pages", "Those with the most",
           f"top_n({INSTANCE.prefix}_cache_read_attempts,10,des)", is_top=True),
)  # fmt: skip


def widgets(made: Sequence[Rule], scope: Scope) -> list[Widget]:
    """Those of a scope's dashboard."""
    prefix = f"{scope.prefix}_"
    ratios = [replace(each, expression=each.expression.format(m=prefix)) for each in _RATIOS]
    divided = {read.metric for each in ratios for read in reads(each.expression)}
    others = [rule for rule in made if f"{prefix}{rule.name}" not in divided or not _is_part(rule)]
    curves = [_curve(rule, prefix) for rule in sorted(others, key=lambda rule: not rule.is_percentile)]
    return [*(_TOP if scope == SERVICE else ()), *ratios, *curves]


def _is_part(rule: Rule) -> bool:
    """Whether it means little without what it is divided by."""
    return rule.name.endswith("_time_us")


def _curve(rule: Rule, prefix: str) -> Widget:
    unit, divisor = rule.shown
    metric = f"{prefix}{rule.name}"
    scaled = f"/{divisor}" if divisor != 1 else ""
    expression = _percentiles(rule, metric, scaled) if rule.is_percentile else f"{metric}{scaled}"
    return Widget(rule.name, _title(rule), unit, rule.of.description, expression)


def _percentiles(rule: Rule, metric: str, scaled: str) -> str:
    """All of them, or the last alone where two more labels would make too many curves."""
    if len(rule.labels) > 2:
        return f"{metric}{{p='{PERCENTILES[-1]}'}}{scaled}"
    return f"relabels({metric}{{p='{_ALL}'}}{scaled},p='{_ALL}',percentile='{_NAMES}')"


def _title(rule: Rule) -> str:
    words = [_SPELT.get(word, word) for word in rule.name.removesuffix("_us").split("_")]
    title = " ".join(words)
    return title[0].upper() + title[1:]
