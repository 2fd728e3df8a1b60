# SPDX-License-Identifier: Apache-2.0
"""Attribute values of every type as columns."""

import numpy as np
import pytest
from otlp_requests import add_point, one_metric

from ebpf_sidecar.pipeline.rows import Text
from ebpf_sidecar.pipeline.testing import FakeClock
from ebpf_sidecar.receivers.otlp_decoding.request_decoder import RequestDecoder


def received(*values, resource=None):
    """The frame with a row for each value of the attribute x, and what was left out."""
    request, data = one_metric(resource=resource)
    for number, value in enumerate(values):
        add_point(data, {"row": str(number), **({} if value is ... else {"x": value})}, as_double=1.0)
    decoding = RequestDecoder(FakeClock()).decode(request.SerializeToString())
    return decoding.frames[0], decoding


def column(*values):
    """The column of x."""
    return received(*values)[0].rows.columns["x"]


@pytest.mark.parametrize(
    ("values", "dtype"), [([1, -2, 2**62], np.int64), ([1.5, 2.0], np.float64), ([True, False], np.bool_)]
)
def test_numbers_of_one_type_are_columns_of_numbers(values, dtype):
    """So that a processor can calculate with them, and an exporter send what was received."""
    assert (dtype, values) == (column(*values).dtype, column(*values).tolist())


def test_absent_numbers_are_masked():
    """As in all row sets."""
    assert [1, None] == column(1, ...).tolist()


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (["a", 1, 1.5, True], ["a", "1", "1.5", "true"]),
        ([1, 1.5], ["1", "1.5"]),
        ([True, 1], ["true", "1"]),
        (["a", ...], ["a", ""]),
    ],
)
def test_values_of_several_types_are_text(values, texts):
    """In JSON's notation."""
    assert texts == column(*values).strings()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["a", 1, None, [True]], '["a",1,null,[true]]'),
        ({"k": 1.5, "é": {}}, '{"k":1.5,"é":{}}'),
        (b"\x00\xff", "AP8="),
        ([], "[]"),
    ],
)
def test_compound_values_are_json_text_and_bytes_are_base64(value, text):
    """As the Collector writes them where only text is possible."""
    assert [text] == column(value).strings()


def test_an_empty_text_means_absent_and_is_counted():
    """In a row set there is no difference; so is a value that is missing, and an attribute without a name."""
    frame, decoding = received("", None, "a")

    assert 2 == decoding.absent
    assert ["", "", "a"] == frame.rows.columns["x"].strings()
    assert isinstance(frame.rows.columns["x"], Text)


def test_a_resource_has_all_its_attributes_as_text():
    """Scopes have name and version."""
    frame, _ = received("a", resource={"host.name": "h", "n": 3, "on": True, "list": ["x"]})

    assert {"host.name": "h", "n": "3", "on": "true", "list": '["x"]'} == dict(frame.resource)
