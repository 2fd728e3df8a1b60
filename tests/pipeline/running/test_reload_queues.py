# SPDX-License-Identifier: Apache-2.0
"""A processor that outlives a reload reaches the queues of the exporters that run now."""

from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.config.load import InlineSource, load
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.running.service import Service

FILE = """\
receivers: {{replay: {{collection_interval: 1h}}}}
processors: {{memory_limiter: {{limit_mib: 100000, shed: [exporters/otlphttp]}}}}
exporters: {{otlphttp: {{endpoint: "http://127.0.0.1:1", timeout: {timeout}}}}}
service:
  shutdown_timeout: 1s
  pipelines:
    metrics: {{receivers: [replay], processors: [memory_limiter], exporters: [otlphttp]}}
"""
AWAY = ComponentId.parse(ComponentKind.EXPORTER, "otlphttp")


def configured(timeout):
    """The configuration with another exporter for each timeout."""
    return load([InlineSource(FILE.format(timeout=timeout).encode(), "f")], [], Plugins(), {})


def test_a_limiter_that_lives_on_gives_up_the_queue_of_the_new_exporter():
    """The limiter is the same, the queue is not."""
    service = Service(configured("1s"))
    service.start()
    try:
        [limiter], [before] = (
            [node.processor for node in service.graph.pipelines[0].processors],
            limiter_queues(service),
        )
        service.reload(configured("2s"))
        [lives_on], [after] = (
            [node.processor for node in service.graph.pipelines[0].processors],
            limiter_queues(service),
        )
        current = service.graph.exporters[AWAY]
    finally:
        service.shutdown()

    assert limiter is lives_on
    assert before is not after
    assert after is current


def limiter_queues(service):
    """What the limiter would give up."""
    return service.graph.pipelines[0].processors[0].processor._queues()
