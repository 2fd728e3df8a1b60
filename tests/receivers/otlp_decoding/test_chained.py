# SPDX-License-Identifier: Apache-2.0
"""What our own exporters send to our own receiver: agents can be chained."""

from dataclasses import replace

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from otlp_receiving import PATH, running
from otlp_requests import identity_of, metrics_of, rows_of
from otlp_senders import send, sender

from ebpf_sidecar.exporters.otlp_encoding.encoder import Encoder
from ebpf_sidecar.exporters.otlp_encoding.request import RequestLimits
from ebpf_sidecar.pipeline import ExponentialBuckets, Kind
from ebpf_sidecar.pipeline.bucket_merging import merged
from ebpf_sidecar.pipeline.recording.file import Recording
from ebpf_sidecar.pipeline.testing import FakeClock
from ebpf_sidecar.receivers.otlp_decoding.number_points import read_at_once
from ebpf_sidecar.receivers.otlp_decoding.regular_histograms import regular_groups
from ebpf_sidecar.receivers.otlp_decoding.request_decoder import RequestDecoder
from ebpf_sidecar.receivers.replay import PACKAGED


def recorded():
    """A batch of real kernel data, with explicit buckets: exponential ones lose those at the ends that are empty."""
    frames = [frame for frame in next(Recording(PACKAGED).batches(print)).frames if len(frame)]
    return [merged(each, each.bounds[1:]) if isinstance(each.buckets, ExponentialBuckets) else each for each in frames]


def known(frames):
    """All that is known of frames, by their identity."""
    return sorted((repr(identity_of(frame)), rows_of(frame)) for frame in frames)


def encoded(frames):
    """The request that our exporters make of frames."""
    [(body, _)] = Encoder(RequestLimits(1 << 30)).requests(frames)
    return body


def test_what_our_encoder_wrote_is_what_the_frames_were():
    """All kinds of real kernel data; the second time, the rows are those of the first."""
    decoder, body = RequestDecoder(FakeClock()), encoded(recorded())
    first, second = decoder.decode(body), decoder.decode(body)

    assert known(recorded()) == known(first.frames) == known(second.frames)
    assert all(one.rows is other.rows for one, other in zip(first.frames, second.frames, strict=True))


def test_what_our_exporters_send_is_read_at_once():
    """Their points are laid out alike, and like those of the official encoders."""
    request = ExportMetricsServiceRequest.FromString(encoded(recorded()))
    one_by_one = []
    for metric in metrics_of(request):
        kind = metric.WhichOneof("data")
        points = [point.SerializeToString() for point in getattr(metric, kind).data_points]
        if (regular_groups(points) if kind == "histogram" else read_at_once(points)) is None:
            one_by_one.append(metric.name)

    # rows without attributes, of which there is one per metric
    without = {frame.name for frame in recorded() if not all(frame.rows.records())}
    empty = {frame.name for frame in recorded() if frame.kind is Kind.HISTOGRAM and not frame.values.any(axis=1).all()}
    assert set(one_by_one) <= without | empty


@pytest.mark.parametrize("type_", ["otlp", "otlphttp"])
def test_what_one_agent_sends_another_one_receives(type_):
    """Over both protocols."""
    frames = [frame for frame in recorded() if frame.kind is not Kind.HISTOGRAM or frame.values.any(axis=1).all()]
    with running() as receiver:
        if type_ == "otlp":
            settings = {"endpoint": f"127.0.0.1:{receiver.receiver.grpc.port}", "tls": {"insecure": True}}
        else:
            settings = {"metrics_endpoint": "http://{}:{}{}".format(*receiver.servers.bound("127.0.0.1:0"), PATH)}
        with sender(type_, histogram_bounds="full", **settings) as made:
            send(made, *frames)

        assert {} == {reason: number for reason, number in receiver.telemetry.drops.items() if number}
        assert known(frames) == known(receiver.sink.frames)


def test_the_resource_that_an_exporter_made_of_columns_arrives_as_a_resource():
    """One frame for each."""
    [frame] = [frame for frame in recorded() if frame.name == "ebpf.cache.read_attempts"]
    column = next(iter(frame.rows.columns))
    [(body, _)] = Encoder(RequestLimits(1 << 30), [column]).requests([replace(frame, resource={"host.name": "h"})])
    frames = RequestDecoder(FakeClock()).decode(body).frames

    assert len({frame.resource for frame in frames}) == len(frames) > 1
    assert sum(map(len, frames)) == len(frame)
    assert all({"host.name": "h"}.items() <= each.resource.items() for each in frames)
