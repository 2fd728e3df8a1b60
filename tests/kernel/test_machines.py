# SPDX-License-Identifier: Apache-2.0
"""All programs, with all ways into a kernel, compile for each architecture, whichever this one is."""

from pathlib import Path

import pytest
from architecture_compiler import compiled_for
from mounts import WITH_TRACEFS, in_mounts

from ebpf_sidecar.receivers.ebpf.kernel.btf import Btf
from ebpf_sidecar.receivers.ebpf.kernel.tracefs import find_tracefs
from ebpf_sidecar.receivers.ebpf.loader.c_source import assemble
from ebpf_sidecar.receivers.ebpf.loading.build_request import request_for
from ebpf_sidecar.receivers.ebpf.loading.plan import make_plan
from ebpf_sidecar.receivers.ebpf.loading.targets import TargetSettings, kernel_targets
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe

BPF = Path(__file__).parents[2] / "bpf"

pytestmark = pytest.mark.parallel


class EveryFunction:
    """The tracepoints of this kernel, and all functions that any kernel has."""

    def __init__(self, tracefs):
        found = find_tracefs((tracefs,))
        self.has, self.fields = found.has, found.fields

    def why_no_kprobes(self):
        """They are compiled all the same."""
        return ""

    def why_not_function(self, name):
        """Never: this one may have it under another name."""
        return ""


TARGETS = {"all": {}, "some": {"executables": ["x"], "cgroups": ["/x"], "pid_namespaces": [1]}}
EACH_PAIR = [("arm64", "5.10", "all"), ("x86_64", "5.10", "some"), ("x86_64", "6.12", "all"), ("arm64", "6.12", "some")]
"""Of architecture, kernel and targets: what breaks one of them, or two together, breaks one of these."""
OTHERS = [("x86_64", "5.10", "all"), ("arm64", "5.10", "some"), ("arm64", "6.12", "all"), ("x86_64", "6.12", "some")]


@pytest.mark.parametrize(
    ("architecture", "release", "targets"),
    [*EACH_PAIR, *(pytest.param(*each, marks=pytest.mark.full_length) for each in OTHERS)],
)
def test_all_programs_compile_for_each_architecture(architecture, release, targets, tracefs):
    """With the register names and the stack that programs have there. What is loaded here is only the maps."""
    probes = [read_probe(path) for path in find_probes([BPF]).values()]
    request = request_for(probes, targets=kernel_targets(TargetSettings(**TARGETS[targets]), Path("/proc")))
    plan = make_plan(request, EveryFunction(tracefs), Btf.of_kernel(), tuple(map(int, release.split("."))))
    programs = {way.program for choice in plan.choices for way in choice.usable}
    flags = [f"-D{name}={value}" for name, value in plan.macros.items()]

    compiled = compiled_for(
        architecture,
        assemble(Path(file) for file in request.files),
        flags,
        programs,
        lambda line: in_mounts(WITH_TRACEFS, line),  # BCC looks tracepoints up where they belong
    )

    assert {"call_enters", "call_returns", "lookup_function", "add_tracepoint"} <= programs == set(compiled)
    assert all(compiled.values())
