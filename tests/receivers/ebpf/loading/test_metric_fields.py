# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest

from ebpf_sidecar.receivers.ebpf.loading.metric_fields import why_not_made
from ebpf_sidecar.receivers.ebpf.probe.model import Attribute, Distinct, Metric, Slots, Spread, Sum

MAP = SimpleNamespace(
    name="stats",
    key_dtype=np.dtype([("cgroup", "u8"), ("device", "u4")]),
    value_fields={"count": slice(0, 1), "slots": slice(1, 4)},
)


def metric(value, *fields):
    """A metric of that value with attributes from those fields of the key."""
    attributes = tuple(Attribute(field, field, "number") for field in fields)
    return Metric("m", "counter", "1", "", "", "stats", ("hook",), value, attributes)


GOOD = [
    metric(Sum(("count",), ("slots[2]",)), "device"),
    metric(Slots("slots", "count", 8, 1.0, (8, 9))),
    metric(Distinct("count")),
    metric(Spread("slots", "cause", ("a", "b", "c"))),
]
BAD = {
    'its value has no field "cuont"; did you mean "count"?': metric(Sum(("cuont",))),
    '"slots[3]" is out of range: the array has 3 elements': metric(Sum(("slots[3]",))),
    'its value has no field "sum"': metric(Slots("slots", "sum", 8, 1.0)),
    'no bound of "slots" has the exponent 10; name none above 9 in default_exponents': metric(
        Slots("slots", "count", 8, 1.0, (8, 10))
    ),
    '"slots" has 3 elements for 2 values; name each once': metric(Spread("slots", "cause", ("a", "b"))),
    'its key has no field "devise"; did you mean "device"?': metric(Sum(("count",)), "devise"),
}


@pytest.mark.parametrize("good", GOOD, ids=range(len(GOOD)))
def test_a_metric_whose_fields_are_there_can_be_made(good):
    """Whole fields and elements of arrays, of values and keys."""
    assert not why_not_made(good, MAP)


@pytest.mark.parametrize("reported", BAD)
def test_the_missing_fields_of_a_metric_are_named(reported):
    """Instead of failing at each reading, or of showing another column."""
    assert f'map "stats": {reported}' in why_not_made(BAD[reported], MAP)
