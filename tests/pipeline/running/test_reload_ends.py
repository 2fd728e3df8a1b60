# SPDX-License-Identifier: Apache-2.0
"""What a reload ends: components that are replaced or removed, and the reload itself when something cannot start."""

import gc
import threading

import pytest
from reloaded import EXTENSION, ONE, Part, Sending, World, changed, picture, retired
from waiting import until

from ebpf_sidecar.pipeline.component import ComponentId
from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.host import Response
from ebpf_sidecar.pipeline.running.replacement import NotRestoredError


@pytest.mark.parametrize("failing", ["e=1", "q=0"], ids=["exporter", "receiver"])
def test_what_cannot_start_changes_nothing(failing):
    """The old configuration runs on, and what had started of the new one is shut down."""
    world = World()
    service = world.service(ONE)
    world.failing.add(failing)
    before, old = picture(service), world.parts["e"]
    with pytest.raises(SidecarError, match="no luck"):
        changed(world, service, {"": ("r q", "p", "e f")}, e={"value": 1})
    world.push("r", 1)

    assert before == picture(service)
    assert [1] == old.values
    assert [] == [each for each in world.events if each.startswith("shutdown") and each[9:] in ("r=0", "p=0", "e=0")]
    assert {"exporter e": 0.0, "processor p": 0.0, "receiver r": 0.0} == world.count(service, "held")
    service.shutdown()


def test_what_cannot_be_created_changes_nothing():
    """An extension that is missing, for example."""
    world = World()
    service = world.service(ONE)
    with pytest.raises(SidecarError, match='extension "y" is not in use'):
        changed(world, service, {"": ("r", "p", "e f")}, f={"uses": "y"})

    assert ["e", "p", "r"] == sorted(str(key.id) for key in service.graph.made)
    service.shutdown()


def test_what_made_room_in_vain_is_created_again():
    """Two that need the same port cannot be tried side by side."""
    world = World()
    service = world.service(ONE, e={"port": 1})
    world.failing.add("e=1")
    with pytest.raises(SidecarError, match="no luck"):
        changed(world, service, e={"port": 1, "value": 1})
    world.push("r", 1)

    assert ["shutdown e=0", "start e=0"] == world.events[3:4] + world.events[-1:]
    assert [1] == world.parts["e"].values
    assert 0 == world.parts["e"].settings.value
    changed(world, service, e={"port": 1, "value": 2})
    assert "start e=2" == world.events[-1]
    service.shutdown()


def test_what_cannot_even_be_started_again_is_said():
    """The service must not seem whole."""
    world = World()
    service = world.service(ONE, e={"port": 1})
    world.failing |= {"e=1", "e=0"}
    with pytest.raises(NotRestoredError, match=r"no luck.*; and what ran before cannot be started again: e: .*no luck"):
        changed(world, service, e={"port": 1, "value": 1})
    service.shutdown()


@pytest.mark.parametrize(
    ("port", "order"),
    [
        (0, ["start x=1", "shutdown e=0", "start e=0", "shutdown x=0"]),
        (1, ["shutdown e=0", "shutdown x=0", "start x=1", "start e=0"]),
    ],
    ids=["side by side", "one after the other"],
)
def test_an_extension_that_changes_takes_along_what_uses_it(port, order):
    """Users end before it and start after it; others live on."""
    world, pipelines = World(), {"": ("r", "", "e f")}
    written = {"e": {"uses": "x"}, "f": {"uses": "y"}}
    service = world.service(pipelines, "x y", x={"port": port}, **written)
    before = len(world.events)
    changed(world, service, pipelines, "x y", x={"value": 1, "port": port}, **written)

    assert order == world.events[before:]
    assert world.parts["e"].extension is service.graph.extensions[ComponentId(EXTENSION, "x")]
    service.shutdown()


def test_a_removed_sender_drains_while_the_others_work():
    """Nothing is lost, and until then the ledger shows what it holds."""
    world = World()
    service = world.service({"": ("r", "", "send e")})
    world.gate.clear()
    for value in (1, 2, 3):
        world.push("r", value)
    sender = world.parts["send"]
    service.reload(world.config({"": ("r", "", "e")}))
    world.push("r", 4)
    held = world.count(service, "ebpf_sidecar.exporter.queued_metric_points")
    world.gate.set()
    retired(service)

    assert {"send": 3} == held
    assert ["m 1", "m 2", "m 3"] == sender.delivered
    assert [1, 2, 3, 4] == world.parts["e"].values
    assert {"send": 3, "e": 4} == world.count(service, "ebpf_sidecar.exporter.sent_metric_points")
    assert {} == world.count(service, "ebpf_sidecar.exporter.queued_metric_points")
    service.shutdown()


def test_a_changed_sender_works_beside_its_predecessor():
    """Both queues count until the old one is empty; the ledger closes at any moment."""
    world = World()
    service = world.service({"": ("r", "", "send")})
    world.gate.clear()
    world.push("r", 1, 2)
    service.reload(world.config({"": ("r", "", "send")}, send={"value": 1}))
    world.push("r", 3)
    held = world.count(service, "ebpf_sidecar.exporter.queued_metric_points")
    world.gate.set()
    retired(service)
    service.shutdown()

    assert {"send": 3} == held
    assert {"send": 4} == world.count(service, "ebpf_sidecar.exporter.sent_metric_points")  # with the last reading
    assert {"r": 4} == world.count(service, "ebpf_sidecar.receiver.accepted_metric_points")


def test_a_batch_that_is_held_up_is_waited_for():
    """It began with the old exporter, and is still in a processor."""
    world, release = World(), threading.Event()
    service = world.service(ONE)
    old = world.parts["e"]
    world.parts["p"].process = lambda frames: (release.wait(10), frames)[1]
    pushing = threading.Thread(target=world.push, args=("r", 1))
    pushing.start()
    service.reload(world.config(ONE, e={"value": 1}))
    release.set()
    retired(service)
    pushing.join()

    assert [1] == old.values
    assert {"e": 1} == world.count(service, "ebpf_sidecar.exporter.sent_metric_points")
    service.shutdown()


def test_what_was_shown_of_a_component_goes_with_it():
    """Gauges, heartbeat and pages; what was counted stays."""
    world = World()
    service = world.service({"": ("r q", "", "e")})
    for name in "rq":
        context = world.parts[name].context
        context.heartbeat.expect(1.0)
        context.routes.add("127.0.0.1:0", f"/{name}", lambda _: Response(b""))
    world.push("q", 1)
    changed(world, service, {"": ("r", "", "e")})
    handlers = [path for _, paths in service.routes._paths.items() for path in paths]

    assert ["receiver r: has not delivered data yet"] == service.health.unready()
    assert ["/r"] == handlers
    assert {"exporter e", "receiver r"} == world.count(service, "held").keys()
    assert 2 == world.count(service, "ebpf_sidecar.receiver.accepted_metric_points")["q"]
    service.shutdown()


def test_a_changed_component_shows_its_own_gauges():
    """Those of its predecessor do not hide them, and are gone."""
    world = World()
    service = world.service(ONE, e={"value": 1})
    changed(world, service, e={"value": 2})

    assert 2.0 == world.count(service, "held")["exporter e"]
    service.shutdown()


def test_a_predecessor_that_hangs_cannot_remove_the_pages_of_its_successor():
    """It gives up its own, and comes too late for those of others."""
    world = World()
    service = world.service(ONE, e={"port": 1})
    old = world.parts["e"].context.routes
    old.add("127.0.0.1:0", "/e", lambda _: Response(b"old"))
    changed(world, service, e={"port": 1, "value": 1})
    world.parts["e"].context.routes.add("127.0.0.1:0", "/e", lambda _: Response(b"new"))
    old.remove("127.0.0.1:0", "/e")

    assert {"127.0.0.1:0": {"/e"}} == service.routes._paths
    service.shutdown()


def test_reloads_leave_no_threads_and_no_objects_behind(full_length):
    """However often; each ends what the one before has begun."""
    world = World()
    service = world.service(ONE)
    before = threading.active_count()
    for number in range(200 if full_length else 30):
        changed(world, service, {"": ("r", "p", "e send")} if number % 2 else ONE, e={"value": number})

    assert until(lambda: threading.active_count() <= before + 1, 5)
    assert 3 + 1 == len(service.graph.made)
    assert 3 + 1 == len(service.health._present())
    world.made.clear()
    gc.collect()
    assert 3 + 1 == len([each for each in gc.get_objects() if isinstance(each, Part | Sending)])
    service.shutdown()
