# SPDX-License-Identifier: Apache-2.0
"""What the doctor reports about each hook."""

from ebpf_sidecar.pipeline.checks import FindingVerdict
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.receivers.ebpf.doctor.hook_findings import _fix as fix
from ebpf_sidecar.receivers.ebpf.loading.plan import Choice
from ebpf_sidecar.receivers.ebpf.loading.request import HookRequest
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.probe.model import AttachPoint

REMOVE = ("hook", "page_cache::page_remove")
EVENT = "filemap:mm_filemap_delete_from_page_cache"
FOLDER = f"sys/kernel/tracing/events/{EVENT.replace(':', '/')}"


def probe(name):
    """A packaged probe."""
    return read_probe(find_probes(Plugins().probe_folders())[name])


def test_each_hook_of_each_probe_has_a_line(host):
    """And each says which way it takes."""
    names = ["page_cache", "block_io"]
    found = [each for each in host.examine(probes=names).examination.findings if each.area == "hook"]
    expected = {f"{name}::{hook.name}" for name in names for hook in probe(name).hooks}

    assert expected == {each.subject for each in found}
    assert f"tracepoint {EVENT}" == next(each.found for each in found if each.subject == REMOVE[1])


def test_a_hook_that_this_kernel_lacks_names_the_metrics_that_are_absent(host):
    """A note: all others continue."""
    seen = host.remove(FOLDER).examine()

    assert FindingVerdict.NOTE == seen[REMOVE].verdict
    assert f"this kernel has no tracepoint {EVENT}" in seen[REMOVE].found
    assert "absent: " in seen[REMOVE].found
    assert "ebpf.page_cache.removes" in seen[REMOVE].found
    assert set() == seen.problems


def test_a_missing_hook_is_a_problem_with_strict(host):
    """The receiver does not start with strict then."""
    seen = host.remove(FOLDER).examine(strict=True)

    assert {" ".join(REMOVE)} == seen.problems
    assert seen[REMOVE].fix.endswith("or leave the probe out")


def test_the_kernel_that_is_advised_is_later_than_this_one():
    """Where a later one would not help, the option that this one lacks is named."""
    choice = choice_of("5.8", "6.12", "7.1", reason="this kernel has no kprobes (CONFIG_KPROBES)")

    assert "use kernel 6.12 or later" == fix(choice, (6, 1), grave=False)
    assert "use kernel 7.1 or later, or leave the probe out" == fix(choice, (6, 18), grave=True)
    assert "use a kernel built with CONFIG_KPROBES=y" == fix(choice, (7, 2), grave=False)
    assert "use another kernel" == fix(choice_of("5.8", reason="no such field"), (7, 2), grave=False)


def choice_of(*since, reason):
    """A hook without a usable attach point."""
    return Choice(
        HookRequest("p", "h", tuple(AttachPoint("kprobe", "f", "f", since=each) for each in since)), (), reason
    )


def test_a_probe_without_any_hook_is_a_problem(host):
    """Nothing would be measured by it."""
    seen = host.remove("sys/kernel/tracing/events/block").examine()

    assert {f"hook block_io::{hook.name}" for hook in probe("block_io").hooks} <= seen.problems


def test_only_configured_probes_are_examined(host):
    """The others' hooks do not matter."""
    names = ("page_cache", "block_io", "syscalls")
    found = {name: host.examine(probes=[name]).examination.findings for name in names}
    examined = {name: {each.subject.partition(":")[0] for each in found[name] if each.area == "hook"} for name in names}

    assert {name: {name} for name in names} == examined


FILE_TYPE = ("attribute", "syscalls::file.type")


def test_an_attribute_missing_from_the_kernels_types_is_reported_as_absent(host):
    """A note: its metrics are there without it."""
    seen = host.remove("sys/kernel/btf/vmlinux").examine(probes=["syscalls"])

    assert FindingVerdict.NOTE == seen[FILE_TYPE].verdict
    assert seen[FILE_TYPE].found.startswith("absent: no BTF; everything is still counted (ebpf.syscall.calls, ")
    assert "use a kernel built with CONFIG_DEBUG_INFO_BTF=y" == seen[FILE_TYPE].fix
    assert set() == seen.problems


def test_an_attribute_that_lacks_a_field_names_it(host):
    """Another kernel may have moved it."""
    fields = next(each.btf for each in probe("syscalls").metrics[0].attributes if each.name == "file.type")
    known = host.types(fields).examine(probes=["syscalls"])
    unknown = host.types(each for each in fields if each != "super_block.s_magic").examine(probes=["syscalls"])

    assert FindingVerdict.OK == known[FILE_TYPE].verdict
    assert "no field super_block.s_magic; everything is still counted" in unknown[FILE_TYPE].found
