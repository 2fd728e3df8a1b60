# SPDX-License-Identifier: Apache-2.0
"""Which way in is taken, on kernels that are dictionaries."""

from dataclasses import dataclass, field, replace

import pytest

from ebpf_sidecar.receivers.ebpf.loading.plan import make_plan
from ebpf_sidecar.receivers.ebpf.loading.request import HookRequest, LoadRequest
from ebpf_sidecar.receivers.ebpf.probe.model import AttachPoint

NEW, OLD = (6, 18), (5, 10)


@dataclass
class FakeEvents:
    events: dict
    functions: tuple = ()
    kprobes: bool = True

    def why_no_kprobes(self):
        return "" if self.kprobes else "no kprobes"

    def has(self, event):
        return event in self.events

    def why_not_function(self, name):
        return "" if name in self.functions else f"no {name}"

    def fields(self, event):
        return self.events[event]


@dataclass
class FakeTypes:
    offsets: dict = field(default_factory=dict)
    arguments: dict = field(default_factory=dict)
    enumerators: dict = field(default_factory=dict)

    def offset(self, struct_name, member):
        return self.offsets.get(f"{struct_name}.{member}")

    def tracepoint_arguments(self, event):
        return self.arguments.get(event)

    def enumerator(self, name):
        return self.enumerators.get(name)


RAW = AttachPoint("raw_tracepoint", "block:rq_done", "done_raw", "5.10", btf=("request.data",))
CLASSIC = AttachPoint("tracepoint", "block:rq_done", "done_classic")
REQUEST = LoadRequest(
    probes=("block_io",),
    files=(),
    headers="",
    hooks=(HookRequest("block_io", "done", (RAW, CLASSIC)),),
    maps=(),
    macros={"SLOTS": 29},
    btf=(),
    calls={0: {"follow": 1}},
    drop_reasons=("rows", "requests"),
)
EVENTS = FakeEvents({"block:rq_done": ("dev", "error")})
TYPES = FakeTypes({"request.data": 44}, {"rq_done": ("request", "blk_status_t", "")})


def test_usable_ways_come_in_order_with_their_macros():
    """Both are compiled in, so that the second can be tried when the kernel refuses the first."""
    plan = make_plan(REQUEST, EVENTS, TYPES, NEW)

    assert (RAW, CLASSIC) == plan.choices[0].usable
    assert {
        "RELEASE": str(100 * NEW[0] + NEW[1]),
        "HAVE_DONE_RAW": "1",
        "HAVE_DONE_CLASSIC": "1",
        "OFFSET_REQUEST_DATA": "44",
        "ARG_RQ_DONE_REQUEST": "0",
        "ARG_RQ_DONE_BLK_STATUS_T": "1",
        "FIELD_RQ_DONE_DEV": "1",
        "FIELD_RQ_DONE_ERROR": "1",
        "SLOTS": "29",
        "PROBE_BLOCK_IO": "1",
        "DROPPED_ROWS": "0",
        "DROPPED_REQUESTS": "1",
        "DROP_REASONS": "2",
        "MAP_FLAGS": "1",
        "HAVE_TASK_PT_REGS": "1",
    } == plan.macros


def test_without_type_information_only_what_needs_none_is_left():
    """And the reason is kept for the case that the rest fails, too."""
    choice = make_plan(REQUEST, EVENTS, None, NEW).choices[0]

    assert (CLASSIC,) == choice.usable
    assert "CONFIG_DEBUG_INFO_BTF" in choice.reason


@pytest.mark.parametrize(
    ("events", "types", "reason", "brief"),
    [
        (
            FakeEvents({}),
            TYPES,
            "this kernel has no tracepoint block:rq_done (it came with 5.10)",
            "no tracepoint block:rq_done",
        ),
        (
            EVENTS,
            FakeTypes(),
            "this kernel has no field request.data, needed at block:rq_done",
            "no field request.data",
        ),
    ],
)
def test_what_the_kernel_lacks_is_named(events, types, reason, brief):
    """The event, or the field; in a few words for labels."""
    request = replace(REQUEST, hooks=(HookRequest("block_io", "done", (RAW,)),))

    choice = make_plan(request, events, types, NEW).choices[0]

    assert () == choice.usable
    assert (reason, brief) == (choice.reason, choice.brief)


def test_maps_are_filled_on_demand_only_where_that_is_safe():
    """Before 6.1 the kernel warned about it in tracing programs."""
    assert "0" == make_plan(REQUEST, EVENTS, TYPES, OLD).macros["MAP_FLAGS"]


CGROUP_TYPES = FakeTypes(
    {
        "task_struct.cgroups": 8,
        "css_set.subsys": 0,
        "cgroup_subsys_state.cgroup": 16,
        "cgroup.kn": 24,
        "kernfs_node.id": 32,
    },
    {},
    {"memory_cgrp_id": 4, "io_cgrp_id": 3},
)


@pytest.mark.parametrize(("hierarchy", "subsystem"), [("memory", "4"), ("blkio", "3")])
def test_a_v1_hierarchy_is_found_by_its_controller(hierarchy, subsystem):
    """Its number in the kernel, and where its directory's id is."""
    plan = make_plan(replace(REQUEST, cgroup_hierarchy=hierarchy), EVENTS, CGROUP_TYPES, NEW)

    assert hierarchy == plan.cgroup_hierarchy
    assert subsystem == plan.macros["CGROUP_SUBSYSTEM"]
    assert "32" == plan.macros["OFFSET_KERNFS_NODE_ID"]


@pytest.mark.parametrize(("hierarchy", "types"), [("v2", CGROUP_TYPES), ("memory", None), ("pids", CGROUP_TYPES)])
def test_otherwise_ids_are_those_of_v2(hierarchy, types):
    """And the plan says so, because directories must then be looked up there."""
    plan = make_plan(replace(REQUEST, cgroup_hierarchy=hierarchy), EVENTS, types, NEW)

    assert "v2" == plan.cgroup_hierarchy
    assert "CGROUP_SUBSYSTEM" not in plan.macros


def test_keys_by_process_are_made_on_request():
    """They cost an entry per process."""
    assert "1" == make_plan(replace(REQUEST, by_process=True), EVENTS, TYPES, NEW).macros["KEY_BY_PROCESS"]


FUNCTION = AttachPoint("kprobe", "finish_request", "done_function")


def test_a_function_is_taken_where_it_can_be_probed():
    """It has no fields and no named arguments."""
    request = replace(REQUEST, hooks=(HookRequest("block_io", "done", (FUNCTION,)),))

    there = make_plan(request, FakeEvents({}, ("finish_request",)), TYPES, NEW)
    missing = make_plan(request, FakeEvents({}), TYPES, NEW)

    assert ((FUNCTION,), "1") == (there.choices[0].usable, there.macros["HAVE_DONE_FUNCTION"])
    assert ((), "no finish_request") == (missing.choices[0].usable, missing.choices[0].reason)


def test_a_raw_tracepoint_must_pass_what_its_program_reads():
    """What it passes differs between kernels."""
    point = replace(RAW, arguments=("task_struct",))
    request = replace(REQUEST, hooks=(HookRequest("block_io", "done", (point, CLASSIC)),))

    choice = make_plan(request, EVENTS, TYPES, NEW).choices[0]

    assert ((CLASSIC,), "block:rq_done passes no task_struct on this kernel") == (choice.usable, choice.reason)


def test_saved_registers_are_found_on_the_stack_where_no_helper_finds_them():
    """Without type information it is unknown where the stack is."""
    types = FakeTypes({"task_struct.stack": 24})

    old, new, blind = (make_plan(REQUEST, EVENTS, *at).macros for at in ((types, OLD), (types, NEW), (None, OLD)))

    assert ("24", None) == (old["OFFSET_TASK_STRUCT_STACK"], old.get("HAVE_TASK_PT_REGS"))
    assert ("1", None) == (new["HAVE_TASK_PT_REGS"], new.get("OFFSET_TASK_STRUCT_STACK"))
    assert not {"OFFSET_TASK_STRUCT_STACK", "HAVE_TASK_PT_REGS"} & set(blind)


def test_constants_of_enums_are_macros_too():
    """Their names are written without a struct; a missing one is named."""
    point = replace(RAW, btf=("PG_head",))
    request = replace(REQUEST, hooks=(HookRequest("block_io", "done", (point,)),))

    there = make_plan(request, EVENTS, FakeTypes(enumerators={"PG_head": 6}), NEW)
    missing = make_plan(request, EVENTS, FakeTypes(), NEW)

    assert "6" == there.macros["ENUM_PG_HEAD"]
    assert "this kernel has no field PG_head, needed at block:rq_done" == missing.choices[0].reason


def chosen(*points, events=EVENTS, types=TYPES, release=NEW):
    """The choice for a hook with these alternatives."""
    request = replace(REQUEST, hooks=(HookRequest("block_io", "done", points),))
    return make_plan(request, events, types, release).choices[0]


@pytest.mark.parametrize(("release", "points"), [((6, 19), (RAW, CLASSIC)), ((7, 0), (CLASSIC,)), ((7, 3), (CLASSIC,))])
def test_a_way_is_left_from_a_release_on(release, points):
    """It is there and loses events, so the next one is better."""
    choice = chosen(replace(RAW, until="7.0"), CLASSIC, release=release)

    assert [point.program for point in points] == [point.program for point in choice.usable]


def test_the_same_way_can_be_last_without_a_limit():
    """Losing a few events is better than having none."""
    choice = chosen(replace(RAW, until="7.0"), FUNCTION, RAW, release=(7, 3))

    assert (RAW,) == choice.usable
    assert "raw_tracepoint block:rq_done loses events from 7.0 on; no finish_request" == choice.reason


@pytest.mark.parametrize(
    ("attach", "types", "kprobes", "reason"),
    [
        ("kprobe", None, True, ""),
        ("kprobe", TYPES, False, "no kprobes"),
        ("kretprobe", TYPES, False, "no kprobes"),
        ("fentry", TYPES, False, ""),
        ("fexit", TYPES, False, ""),
        ("fentry", None, True, "finish_request needs the kernel's type information (CONFIG_DEBUG_INFO_BTF), which this "
                               "kernel lacks"),
    ],
)  # fmt: skip
def test_what_hooking_a_function_needs(attach, types, kprobes, reason):
    """A breakpoint needs kprobes; a trampoline needs the function's types, and no kprobes."""
    point = AttachPoint(attach, "finish_request", "kfunc__finish_request")

    choice = chosen(point, events=FakeEvents({}, ("finish_request",), kprobes), types=types)

    assert (reason, () if reason else (point,)) == (choice.reason, choice.usable)


def test_software_events_are_on_every_kernel():
    """They need neither tracefs nor types."""
    point = AttachPoint("perf_event", "page_faults_maj", "major")

    assert ((point,), "") == ((choice := chosen(point, events=FakeEvents({}), types=None)).usable, choice.reason)
