# SPDX-License-Identifier: Apache-2.0
"""Privileges are dropped permanently, for every thread, as configured."""

import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from ebpf_sidecar.pipeline.component import ComponentKind, Factory
from ebpf_sidecar.pipeline.config.privilege_settings import PrivilegeSettings
from ebpf_sidecar.pipeline.privileged import RequiredPrivileges
from ebpf_sidecar.pipeline.process.capabilities import NAMES

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="not root")
BEGIN = """
import sys, os
sys.path[:] = sys.argv.pop(1).split(os.pathsep)
from pathlib import Path
from ebpf_sidecar.pipeline.process.capabilities import *
here = Path("/proc/thread-self")
"""


def run(code, *arguments):
    """The output of a Python process that drops its privileges."""
    line = [sys.executable, "-c", BEGIN + code, os.pathsep.join(sys.path), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


def test_there_is_a_name_for_each_capability():
    """By number; the last is CAP_CHECKPOINT_RESTORE, 40."""
    assert (0, 10, 21, 39, 40) == tuple(
        map(NAMES.index, ("CHOWN", "NET_BIND_SERVICE", "SYS_ADMIN", "BPF", "CHECKPOINT_RESTORE"))
    )


@ROOT_ONLY
@pytest.mark.parametrize("kept", ["", "NET_BIND_SERVICE", "BPF,SYS_PTRACE"])
def test_what_is_not_kept_is_gone_and_does_not_come_back(kept):
    """Not by asking, not by executing a file as root."""
    code = """
limit_capabilities(sys.argv[1].split(","))
forbid_new_privileges()
try:
    limit_capabilities(["SYS_ADMIN"] + sys.argv[1].split(","))
finally:
    os.execv("/bin/sh", ["sh", "-c", "grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status"])
"""
    mask = sum(1 << NAMES.index(name) for name in kept.split(",") if name)

    assert {f"{mask:016x}"} == {line.split()[1] for line in run(code, kept).splitlines()}


@ROOT_ONLY
def test_capabilities_can_be_disabled_temporarily():
    """Trying what a process without rights may do."""
    code = """
before = capability_sets(here)
with without_capabilities():
    assert capability_sets(here)["CapEff"] == frozenset() and capability_sets(here)["CapPrm"] == before["CapPrm"]
print(capability_sets(here) == before)
"""
    assert "True" == run(code)


def test_giving_up_what_is_not_there_is_no_error():
    """As for a user without rights; asking to keep what one has not does not give it."""
    assert "[]" == run(
        "limit_capabilities([])\nlimit_capabilities(['BPF'], inheritable=True)\nprint([*permitted_capabilities()])"
    )


def test_without_libseccomp_it_is_an_error_that_can_be_caught():
    """The service then continues without it."""
    code = """
from ebpf_sidecar.pipeline.process.seccomp import refuse_system_calls
try:
    refuse_system_calls("libmissing.so.9")
except OSError as error:
    print(error)
"""
    assert "libmissing.so.9" in run(code)


@pytest.mark.parametrize("text", ["net_bind_service", "CAP_NET_BIND_SERVICE", "NET_BIND_SERVICE"])
def test_capabilities_are_accepted_in_every_usual_spelling(text):
    """As Docker, Kubernetes and the kernel do."""
    assert ("NET_BIND_SERVICE",) == PrivilegeSettings(keep=[text]).keep


def test_an_unknown_capability_is_named():
    """With what was probably meant."""
    with pytest.raises(ValidationError, match='"NET_BIND_SERVIC" is not a capability; did you mean "NET_BIND_SERVICE"'):
        PrivilegeSettings(keep=["NET_BIND_SERVIC"])


def test_a_component_needs_no_capabilities_unless_declared():
    """So that a plugin works as it did, with no broker for its sake."""
    factory = Factory(ComponentKind.EXPORTER, "x", lambda *_: None)

    assert RequiredPrivileges() == factory.privileges
    assert ((), (), ()) == (factory.privileges.modules, factory.privileges.capabilities, factory.privileges.keep())
