# SPDX-License-Identifier: Apache-2.0
"""Names of programs, and a kernel that reports them; shared by several test files."""

from ebpf_sidecar.receivers.ebpf.owners.new_names import NewName
from ebpf_sidecar.receivers.ebpf.owners.program_names import ProgramNames

COMM = b"postgres_export"
MAIN, BACKUP = b"postgres_exporter_main", b"postgres_exporter_backup"
HERE, THERE = ("/here",), ("/there",)


class ReportedNames:
    """What the kernel reports, once each."""

    def __init__(self):
        self.waiting, self.lost = [], 0
        self.names = ProgramNames(self.take, lambda: self.lost)

    def start(self, name, place=1, pid=0, comm=COMM):
        self.waiting.append(NewName(place, pid, comm, name, started=True, count=1))

    def take_name(self, more=1, place=1, comm=COMM):
        self.waiting.append(NewName(place, 0, comm, b"", started=False, count=more))

    def take(self):
        reported, self.waiting = self.waiting, []
        return reported

    def full(self, place=HERE, comm=COMM):
        self.names.notice(lambda new: {1: HERE, 2: THERE}[new.cgroup])
        return self.names.full(place, comm)
