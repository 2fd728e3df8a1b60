# SPDX-License-Identifier: Apache-2.0
"""A service that is reloaded: what is equal lives on, no batch is lost or doubled, and a failure changes nothing."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reloaded import ONE, RECEIVER, World, changed, picture, retired
from waiting import until

from ebpf_sidecar.pipeline.component import ComponentId, MapCleanup
from ebpf_sidecar.pipeline.testing import frame


def test_an_equal_configuration_leaves_every_component_alone():
    """None is created, started, shut down or connected anew."""
    world = World()
    service = world.service(ONE, "x")
    before, made = list(world.events), list(world.made)
    changed(world, service, ONE, "x")

    assert (before, made) == (world.events, world.made)
    service.shutdown()


def test_only_what_has_changed_is_replaced():
    """The new exporter starts before the old one ends; receiver and processor go on."""
    world = World()
    service = world.service(ONE)
    world.push("r", 1)
    old = world.parts["e"]
    changed(world, service, e={"value": 2})
    world.push("r", 2)

    assert ["start e=0", "start p=0", "start r=0", "start e=2", "shutdown e=0"] == world.events
    assert ([1], [2]) == (old.values, world.parts["e"].values)
    service.shutdown()


def test_an_unchanged_exporter_serves_a_new_receiver_and_pipeline():
    """It keeps what it has."""
    world = World()
    service = world.service(ONE)
    world.push("r", 1)
    changed(world, service, {"": ("r", "", "e"), "two": ("q", "p", "e")})
    world.push("r", 2)
    world.push("q", 3)

    assert [1, 2, 3] == world.parts["e"].values
    assert ["metrics", "metrics/two"] == [each["id"] for each in service._pipelines()]
    service.shutdown()


LISTS = st.lists(st.sampled_from("ab"), min_size=1, unique=True).map(" ".join)
WRITTEN = st.dictionaries(
    st.sampled_from("abx"), st.builds(dict, value=st.integers(0, 1), port=st.integers(0, 1)), max_size=3
).filter(lambda written: len([each for each in written.values() if each["port"]]) <= 1)


@st.composite
def configurations(draw):
    """Some pipelines of a few components; at most one needs the port, as ``check`` would demand."""
    pipelines = draw(st.dictionaries(st.sampled_from(["", "two"]), st.tuples(LISTS, LISTS, LISTS), min_size=1))
    written = draw(WRITTEN)
    return (
        {name: tuple(_of_kind(kind, part) for kind, part in zip("rpe", parts, strict=True))
         for name, parts in pipelines.items()},
        draw(st.sampled_from(["", "x"])),
        {(name if name == "x" else f"{draw(st.sampled_from('re'))}{name}"): each for name, each in written.items()},
    )  # fmt: skip


def _of_kind(kind, words):
    return " ".join(kind + word for word in words.split())


@settings(max_examples=60, deadline=None)
@given(configurations(), configurations())
def test_a_configuration_and_back_is_what_it_was(one, other):
    """Whatever lies between: the same components with the same settings, connected in the same way."""
    world = World()
    service = world.service(*one[:2], **one[2])
    before = picture(service)
    changed(world, service, *other[:2], **other[2])
    fresh = World().service(*other[:2], **other[2])
    between = picture(service), picture(fresh)
    changed(world, service, *one[:2], **one[2])
    after = picture(service)
    service.shutdown()
    fresh.shutdown()

    assert between[0] == between[1]
    assert before == after
    assert {} == world.ports


def stream(world, receiver, stop):
    """A receiver's thread: numbered batches until it is told to stop; how many there were."""
    number = 0
    while not stop.is_set():
        number += 1
        world.push(receiver, number)
    world.count_of = number


@pytest.mark.parametrize("port", [0, 1], ids=["side by side", "one after the other"])
def test_no_batch_is_lost_doubled_or_overtaken(port, full_length):
    """However the exporters change meanwhile; each batch goes one way."""
    world, stop = World(), threading.Event()
    service = world.service({"": ("r", "p", "e f")}, e={"port": port})
    feeding = threading.Thread(target=stream, args=(world, "r", stop))
    feeding.start()
    for value in range(1, 200 if full_length else 40):
        changed(world, service, {"": ("r", "p", "e f")}, e={"value": value, "port": port})
    stop.set()
    feeding.join()
    service.shutdown()
    arrived = [value for part in world.made if str(part.context.id) == "e" for value in part.values]

    assert list(range(1, world.count_of + 1)) == arrived[: world.count_of]
    assert arrived == world.parts["f"].values
    assert {"e": len(arrived), "f": len(arrived)} == world.count(service, "ebpf_sidecar.exporter.sent_metric_points")
    assert {"r": len(arrived)} == world.count(service, "ebpf_sidecar.receiver.accepted_metric_points")


def test_the_last_batch_of_a_receiver_comes_before_the_first_of_its_successor():
    """And where both number their rows from 0, what is behind them sees other rows of the same receiver."""
    world = World()
    service = world.service({"": ("r", "", "e")})
    world.push("r", 1)
    changed(world, service, {"": ("r", "", "e")}, r={"value": 7})
    world.push("r", 2)
    frames = [each for batch in world.parts["e"].batches for each in batch]

    assert [("m", 1), ("last", 0), ("m", 2)] == [(each.name, int(each.values[0])) for each in frames]
    assert 1 == len({each.source for each in frames})
    assert frames[0].rows.ids.tolist() == frames[1].rows.ids.tolist() != frames[2].rows.ids.tolist()
    service.shutdown()


def test_a_new_receivers_first_batch_waits_until_everything_has_started():
    """It may begin at once, in a thread of its own."""
    world = World()
    service = world.service(ONE)
    began = threading.Event()

    class Eager(type(world.parts["r"])):
        """One that does not wait."""

        def start(self, consumer=None):
            super().start(consumer)
            threading.Thread(target=lambda: (began.set(), consumer([frame("m", [5])]))).start()
            assert began.wait(5)

    config = world.config({"": ("q", "p", "e")})
    made = config.receivers[ComponentId(RECEIVER, "q")]
    object.__setattr__(made.factory, "create", lambda settings, context: Eager(world, settings, context))
    service.reload(config)
    assert until(lambda: len(world.parts["e"].batches) == 2, 5)

    assert [0, 5] == world.parts["e"].values
    retired(service).shutdown()


def test_a_receiver_that_stays_follows_the_cleanup_that_is_asked_for_now():
    """Another one, then the same again, then none."""
    world = World()
    service = world.service({"": ("r", "", "e")})
    for processors, clears in (("clean", 5.0), ("clean", 6.0), ("clean p", 6.0), ("", 0.0)):
        changed(world, service, {"": ("r", processors, "e")}, clean={"clears": clears})

    clear = [MapCleanup("clear_after_read", each) for each in (5.0, 6.0)]
    assert [*clear, MapCleanup()] == world.parts["r"].cleanups
    assert 1 == world.events.count("start r=0")
    service.shutdown()


def test_the_service_ends_when_all_that_is_left_has_finished():
    """A receiver that had finished stays so; one that replaced it has not."""
    world = World()
    service = world.service({"": ("r q", "", "e")})
    world.parts["r"].context.finished()
    changed(world, service, {"": ("r q", "", "e")}, r={"value": 1})
    world.parts["q"].context.finished(3)
    replaced = service.stop_request.asked.is_set()
    changed(world, service, {"": ("q", "", "e")})

    assert (False, True) == (replaced, service.stop_request.asked.is_set())
    service.shutdown()


def test_another_resource_makes_everything_anew():
    """Every component was told the old one."""
    world = World()
    service = world.service(ONE)
    config = world.config(ONE)
    telemetry = config.service.telemetry.model_copy(update={"resource": {"service.name": "storage"}})
    object.__setattr__(config.service, "telemetry", telemetry)
    service.reload(config)
    retired(service)

    assert {"storage"} == {made.context.resource["service.name"] for made in service.graph.made.values()}
    assert "start r=0" in world.events[3:]
    service.shutdown()
