# SPDX-License-Identifier: Apache-2.0
"""What a user may write for the queue in front of an exporter."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ebpf_sidecar.pipeline.sending import QueueSettings


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            {"initial_retry_interval": "1h"},
            'initial_retry_interval "1h" is above max_retry_interval "30s"; lower it, or raise max_retry_interval',
        ),
        ({"max_retry_interval": "500ms"}, 'initial_retry_interval "1s" is above max_retry_interval "500ms"'),
        ({"queue_size": 10**9}, "less than or equal to 1000000"),
    ],
)
def test_a_queue_that_makes_no_sense_is_refused(written, message):
    """The first wait is not longer than the longest; and a thousand million batches fit nowhere."""
    with pytest.raises(ValidationError, match=message):
        QueueSettings(**written)
