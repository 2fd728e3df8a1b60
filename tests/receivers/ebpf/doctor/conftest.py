# SPDX-License-Identifier: Apache-2.0
"""Small trees that look like machines: /proc, /sys and /boot of a host, of a container, of an old kernel."""

import errno
import gzip
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.checks import FindingVerdict
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.receivers.ebpf.doctor.examination import examine_host
from ebpf_sidecar.receivers.ebpf.doctor.host_facts import read_host_facts
from ebpf_sidecar.receivers.ebpf.doctor.kernel_config import NEEDED, USEFUL
from ebpf_sidecar.receivers.ebpf.doctor.system import Bcc, System
from ebpf_sidecar.receivers.ebpf.probe.file import find_probes, read_probe
from ebpf_sidecar.receivers.ebpf.settings import EbpfSettings

CAPABILITIES = {"DAC_READ_SEARCH": 2, "SYS_ADMIN": 21, "SYS_RESOURCE": 24, "PERFMON": 38, "BPF": 39}
ALL = ("ALL",)
HOST_NAMESPACES = {"cgroup": 4026531835, "pid": 4026531836, "user": 4026531837}
OWN = {"cgroup": 4026532201, "pid": 4026532202, "user": 4026531837}
HOST = System(
    "6.18.44-amd64",
    "x86_64",
    memlock=8 << 20,
    answers={"bpf": errno.EINVAL, "perf_event_open": errno.EFAULT},
    bcc=Bcc("0.26.0"),
)
STRUCT = 4


def probes():
    """The packaged default probes."""
    files = find_probes(Plugins().probe_folders())
    return [read_probe(files[name]) for name in EbpfSettings().probes]


def ways():
    """Every way into the kernel that they know."""
    return [way for probe in probes() for hook in probe.hooks for way in hook.alternatives]


def attribute_fields():
    """What their attributes need of the kernel's types."""
    return [field for probe in probes() for metric in probe.metrics for each in metric.attributes for field in each.btf]


def btf(fields):
    """Type information with these fields (``struct.field``), one after the other."""
    types, strings, known = b"", b"\0", {}
    structs = {}
    for field in fields:
        name, _, member = field.partition(".")
        structs.setdefault(name, []).append(member)
    for name, members in structs.items():
        places = []
        for text in (name, *members):
            places.append(known.setdefault(text, len(strings)))  # each text stands there once
            strings += text.encode() + b"\0" if places[-1] == len(strings) else b""
        types += struct.pack("<III", places[0], STRUCT << 24 | len(members), 64)
        types += b"".join(struct.pack("<III", place, 0, 64 * i) for i, place in enumerate(places[1:]))
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


@dataclass(frozen=True)
class Tree:
    """A machine as files below ``root``; each method changes one thing and returns the tree."""

    root: Path
    system: System = HOST

    def types(self, fields):
        """The kernel has these fields of its types."""
        return self.write("sys/kernel/btf/vmlinux", btf(fields))

    def write(self, path, content):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self

    def remove(self, path):
        file = self.root / path
        if file.is_dir():
            for inner in file.iterdir():
                self.remove(inner.relative_to(self.root))
            file.rmdir()
        else:
            file.unlink()
        return self

    def process(self, capabilities=ALL, seccomp=0):
        everything = "ALL" in capabilities
        mask = (1 << 41) - 1 if everything else sum(1 << CAPABILITIES[name] for name in capabilities)
        return self.write("proc/self/status", f"Name:\tpython\nUid:\t0\t0\nCapEff:\t{mask:016x}\nSeccomp:\t{seccomp}\n")

    def namespaces(self, numbers):
        for name, number in numbers.items():
            link = self.root / "proc/self/ns" / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(f"{name}:[{number}]")
        return self

    def events(self, names):
        for name in names:
            self.write(f"sys/kernel/tracing/events/{name.replace(':', '/')}/format", "field:u64 order;\n")
        return self

    def functions(self, names):
        self.write("sys/bus/event_source/devices/kprobe/type", "8\n")
        return self.write("sys/kernel/tracing/available_filter_functions", "".join(f"{name}\n" for name in names))

    def v2(self, *, whole=True):
        self.write("sys/fs/cgroup/cgroup.controllers", "memory io").write("sys/fs/cgroup/cgroup.procs", "1\n")
        return self if whole else self.write("sys/fs/cgroup/cgroup.type", "domain\n")

    def v1(self, *, whole=True, hybrid=False):
        self.remove("sys/fs/cgroup").write("sys/fs/cgroup/memory/cgroup.procs", "1\n")
        if whole:
            self.write("sys/fs/cgroup/memory/release_agent", "")
        return self.write("sys/fs/cgroup/unified/cgroup.procs", "") if hybrid else self

    def on(self, **changed):
        return replace(self, system=replace(self.system, **changed))

    def machine(self):
        return read_host_facts(self.system, self.root)

    def examine(self, **settings):
        return Seen(examine_host(EbpfSettings(**settings), self.machine()))


@dataclass(frozen=True)
class Seen:
    """What the doctor reported."""

    examination: object

    def __getitem__(self, key):
        """The finding of (area, subject)."""
        (found,) = [each for each in self.examination.findings if (each.area, each.subject) == key]
        return found

    @property
    def problems(self):
        return {
            f"{each.area} {each.subject}"
            for each in self.examination.findings
            if each.verdict is FindingVerdict.PROBLEM
        }

    def advice(self, name):
        (found,) = [each for each in self.examination.advice if each.name == name]
        return found.text


@pytest.fixture
def host(tmp_path):
    """Root on a host with a new kernel: nothing is wrong."""
    tree = Tree(tmp_path)
    config = "".join(f"{name}=y\n" for name in (*NEEDED, *USEFUL)) + "# CONFIG_SMACK is not set\n"
    fields = dict.fromkeys([field for way in ways() for field in way.btf] + attribute_fields())
    tree.process().namespaces(HOST_NAMESPACES).v2()
    tree.events(dict.fromkeys(way.event for way in ways() if ":" in way.event))
    tree.functions(dict.fromkeys(way.event for way in ways() if ":" not in way.event))
    tree.write("proc/config.gz", gzip.compress(config.encode()))
    tree.write("proc/self/mounts", "tracefs /sys/kernel/tracing tracefs rw,relatime 0 0\n")
    tree.write("proc/sys/kernel/perf_event_paranoid", "2\n")
    tree.write("proc/sys/kernel/unprivileged_bpf_disabled", "2\n")
    tree.write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
    return tree.types(fields)


@pytest.fixture
def without_tracefs(host):
    """The same with tracefs not mounted."""
    host.write("proc/self/mounts", "")
    return host.remove("sys/kernel/tracing/events")


@pytest.fixture
def container(without_tracefs):
    """The same seen from a container with Docker's defaults: few rights, a filter, namespaces, no tracefs."""
    refused = {"bpf": errno.EPERM, "perf_event_open": errno.EPERM}
    without_tracefs.process((), seccomp=2).namespaces(OWN).v2(whole=False).remove("sys/kernel/security")
    return without_tracefs.on(answers=refused)
