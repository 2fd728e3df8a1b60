# SPDX-License-Identifier: Apache-2.0
"""max_overhead on the running service: probes are turned off in the declared order, and log and page show it."""

import re
import subprocess
import sys

import pytest
from waiting import until

READS = "import os\ndescriptor = os.memfd_create('x')\nwhile True: os.pread(descriptor, 1, 0)"
ORDER = ["syscalls", "block_io"]

pytestmark = pytest.mark.parallel


@pytest.fixture
def _load():
    """A process that does nothing but system calls."""
    with subprocess.Popen([sys.executable, "-S", "-E", "-c", READS]) as child:
        yield
        child.kill()


@pytest.mark.usefixtures("_load")
def test_probes_are_turned_off_in_the_declared_order_and_reported(serve):
    """With a limit that nothing can meet: the named ones are turned off, the other is reported as too expensive."""
    service = serve(max_overhead="0.0001%", shed=f"[{', '.join(ORDER)}]")
    stuck = until(lambda: "and all probes in shed are off; add probes to shed" in service.log.read_text())
    page = service.settled()
    shed = {dict(labels)["probe"]: value for labels, value in page.rows("ebpf_probe_shed").items()}
    attached = page.rows("ebpf_probe_attached")
    reasons = {dict(labels)["probe"]: dict(labels).get("reason") for labels, up in attached.items() if not up}

    assert stuck, service.log.read_text()
    assert ORDER == re.findall(r'probe "(\w+)" was turned off', service.log.read_text())
    assert {"page_cache": 0, "syscalls": 1, "block_io": 1} == shed
    assert dict.fromkeys(ORDER, "max_overhead") == {name: reasons[name] for name in ORDER}
    assert {"page_cache"} == {dict(labels)["probe"] for labels, up in attached.items() if up}
    assert 0.000001 < page.sum("ebpf_probe_overhead_ratio") < 1
    assert 1 == service.log.read_text().count("and all probes in shed are off")


def test_by_default_what_other_tools_report_too_is_turned_off_first(serve):
    """System calls, then block I/O; what no other tool reports goes last."""
    service = serve(max_overhead="0.0001%")
    wanted = ["syscalls", "block_io", "page_cache"]

    assert until(lambda: wanted == re.findall(r'probe "(\w+)" was turned off', service.log.read_text()))


def test_below_the_limit_everything_stays(serve):
    """And the page shows how far below it is."""
    service = serve(max_overhead="20%")
    page = until(lambda: (seen := service.settled()).rows("ebpf_probe_overhead_ratio") and seen)

    assert {0} == set(page.rows("ebpf_probe_shed").values())
    assert 0 <= page.sum("ebpf_probe_overhead_ratio") < 1
    assert "turned off" not in service.log.read_text()
