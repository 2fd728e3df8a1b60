# SPDX-License-Identifier: Apache-2.0
"""A resource is shared by all frames, so it is immutable."""

import copy
import gc
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_sidecar.pipeline import ComponentKind, FrameError
from ebpf_sidecar.pipeline.resource import Resource
from ebpf_sidecar.pipeline.testing import fake_context, frame

ATTRIBUTES = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4)


@given(ATTRIBUTES, st.randoms())
def test_equal_resources_are_one_object_in_whatever_order_they_were_written(attributes, random):
    """And a mapping like any other."""
    shuffled = list(attributes.items())
    random.shuffle(shuffled)
    resource = Resource(attributes)

    assert resource is Resource(dict(shuffled))
    assert attributes == dict(resource) == resource
    assert hash(resource) == hash(Resource(dict(shuffled)))


@given(ATTRIBUTES, ATTRIBUTES)
def test_equality_is_that_of_the_mappings(one, other):
    """Also with a plain mapping."""
    assert (one == other) is (Resource(one) == Resource(other)) is (Resource(one) == other)


def test_a_resource_cannot_be_changed():
    """Neither the mapping that it was made from nor the frame's own."""
    attributes = {"host.name": "a"}
    made = frame("c", [1], resource=attributes)
    attributes["host.name"] = "b"

    assert {"host.name": "a"} == made.resource
    with pytest.raises(TypeError):
        made.resource["host.name"] = "b"
    with pytest.raises(AttributeError, match="does not change"):
        made.resource._attributes = {}


def test_a_component_cannot_change_the_resource_of_all_others():
    """What the service passes to components is as fixed."""
    context = fake_context(ComponentKind.RECEIVER, "r", resource={"host.name": "a"})

    with pytest.raises(TypeError):
        context.resource["host.name"] = "b"


def test_values_are_text_and_anything_but_a_mapping_is_refused():
    """A number of a plugin is written as text."""
    assert {"process.pid": "12"} == Resource({"process.pid": 12})
    with pytest.raises(FrameError, match="resource: is a str; give a mapping of attributes"):
        frame("c", [1], resource="host")


def test_copies_are_the_same_object():
    """However they are made."""
    resource = Resource({"host.name": "a"})

    assert resource is copy.copy(resource) is copy.deepcopy(resource) is pickle.loads(pickle.dumps(resource))


def test_unused_resources_are_not_kept():
    """Senders come and go."""
    before = len(Resource._interned)
    kept = [Resource({"host.name": f"unused {number}"}) for number in range(20)]
    during = len(Resource._interned)
    del kept
    gc.collect()

    assert before + 20 == during
    assert before >= len(Resource._interned)
