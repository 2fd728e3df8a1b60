# SPDX-License-Identifier: Apache-2.0
"""What users see of the canary."""

HOOKS_OF_CALLS = [{"probe": "syscalls", "hook": hook} for hook in ("call_enter", "call_return", "thread_end")]


def test_hooks_that_fire_are_shown_as_live(serve):
    """From the first reading on; none is dead, and none is shown that is not attached."""
    page = serve(probes="[syscalls, page_cache]").settled()
    live, attached = page.rows("ebpf_probe_live"), page.rows("ebpf_probe_attached")

    assert {1.0} == set(live.values())
    assert all(1 == page.sum("ebpf_probe_live", **labels) for labels in HOOKS_OF_CALLS)
    assert len(live) <= sum(attached.values())
