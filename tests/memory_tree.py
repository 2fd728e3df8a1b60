# SPDX-License-Identifier: Apache-2.0
"""A small /proc and cgroup tree whose memory tests set; shared by several test files."""

import os
from dataclasses import dataclass
from pathlib import Path

from ebpf_sidecar.pipeline.host import Paths

MIB = 1 << 20
PAGES = MIB // os.sysconf("SC_PAGE_SIZE")


@dataclass
class MemoryTree:
    """Processes by pid, ``self`` first, and cgroups."""

    folder: Path

    @property
    def paths(self):
        return Paths(proc=self.folder / "proc", cgroup=self.folder / "cgroup")

    def process(self, pid="self", mib=0, children=()):
        """A process with that much resident memory; all but the first child are of a second thread."""
        threads = {"1": children[:1], "2": children[1:]}
        self.write(f"proc/{pid}/statm", f"{10 * mib * PAGES} {mib * PAGES} 7 1 0 9 0\n")
        for thread, pids in threads.items():
            self.write(f"proc/{pid}/task/{thread}/children", "".join(f"{each} " for each in pids))

    def machine(self, mib, cgroup="0::/\n"):
        """The machine's memory, and the cgroups of this process."""
        self.write("proc/meminfo", f"MemTotal:       {mib * 1024} kB\nMemFree: 1 kB\n")
        self.write("proc/self/cgroup", cgroup)

    def write(self, name, text):
        """A file of the tree."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
