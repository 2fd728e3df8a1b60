# SPDX-License-Identifier: Apache-2.0
"""What a user may write for a sender's queue and its retries."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ebpf_sidecar.pipeline.push_settings import PushSettings, QueueSettings, Sizer


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            {"retry_on_failure": {"initial_interval": "1h"}},
            'initial_interval "1h" is above max_interval "30s"; lower it, or raise max_interval',
        ),
        ({"retry_on_failure": {"max_interval": "500ms"}}, 'initial_interval "5s" is above max_interval "500ms"'),
        ({"retry_on_failure": {"multiplier": 0.5}}, "greater than or equal to 1"),
        ({"retry_on_failure": {"randomization_factor": 2}}, "less than or equal to 1"),
        ({"sending_queue": {"queue_size": 0}}, "greater than or equal to 1"),
        ({"sending_queue": {"num_consumers": 0}}, "greater than or equal to 1"),
        ({"sending_queue": {"sizer": "batches"}}, "'requests', 'items' or 'bytes'"),
        ({"timeout": "0s"}, "below 1ms"),
    ],
)
def test_what_makes_no_sense_is_refused(written, message):
    """The first wait is not longer than the longest, and nothing grows smaller from wait to wait."""
    with pytest.raises(ValidationError, match=message):
        PushSettings(**written)


@pytest.mark.parametrize(
    ("written", "sizer", "size"),
    [
        ({}, Sizer.BYTES, 16 << 20),
        ({"queue_size": "4MiB"}, Sizer.BYTES, 4 << 20),
        ({"queue_size": 1000}, Sizer.REQUESTS, 1000),
        ({"queue_size": 1000, "sizer": "items"}, Sizer.ITEMS, 1000),
        ({"queue_size": 1000, "sizer": "bytes"}, Sizer.BYTES, 1000),
        ({"sizer": "requests"}, Sizer.REQUESTS, 16 << 20),
    ],
)
def test_a_size_without_a_unit_counts_requests_as_in_the_collector(written, sizer, size):
    """A section that was copied from the Collector means here what it means there."""
    settings = QueueSettings(**written)

    assert (sizer, size) == (settings.sizer, settings.queue_size)
