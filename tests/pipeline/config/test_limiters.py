# SPDX-License-Identifier: Apache-2.0
"""Where a limiter stands in its pipelines; which queues it may name is in the files of wrong configurations."""

import pytest

from ebpf_sidecar.pipeline.config.load import InlineSource, load

FILE = """\
receivers: {{ebpf: }}
processors:
  container:
  rate:
  memory_limiter: {{limit_mib: 200, shed: [exporters/push, exporters/push/debug]}}
  memory_limiter/low: {{limit_mib: 100}}
exporters:
  push:
  push/debug:
service:
  pipelines:
    metrics: {{receivers: [ebpf], processors: [{processors}], exporters: [push, push/debug]}}
    metrics/2: {{receivers: [ebpf], processors: [rate, memory_limiter/low, memory_limiter], exporters: [push]}}
"""
SECOND = "service::pipelines::metrics/2::processors"
WARNINGS = [
    f'{SECOND}::1: "memory_limiter/low" refuses batches on which "rate" has already worked; list it first',
    f'{SECOND}::2: "memory_limiter" refuses batches on which "rate" has already worked; list it first',
]


@pytest.mark.parametrize(
    ("processors", "expected"),
    [
        ("memory_limiter, container", []),
        ("memory_limiter/low, memory_limiter, container", []),
        ("container", []),
        (
            "memory_limiter, container, memory_limiter/low",
            [
                "service::pipelines::metrics::processors::2: "
                '"memory_limiter/low" refuses batches on which "container" has already worked; list it first'
            ],
        ),
    ],
)
def test_a_limiter_that_is_not_first_is_a_warning(plugins, processors, expected):
    """It works, but for nothing: the batch is refused after others have worked on it."""
    config = load([InlineSource(FILE.format(processors=processors).encode(), "f")], [], plugins, {})

    assert [*expected, *WARNINGS] == [warning.rest for warning in config.warnings]
