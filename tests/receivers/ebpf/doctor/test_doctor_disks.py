# SPDX-License-Identifier: Apache-2.0
"""What the doctor reports about devices that have no rows."""

import pytest

from ebpf_sidecar.pipeline.checks import FindingVerdict

ROWS = ("disks", "rows")
SWAPS = "Filename\tType\tSize\tUsed\tPriority\n"


def device(host, name, number, *files):
    """A device in sysfs, by its number and its name."""
    folder = host.root / "sys/devices/virtual/block" / name
    for file in ("queue/nr_requests", *files):
        host.write(f"sys/devices/virtual/block/{name}/{file}", "")
    links = [("sys/dev/block", number), ("sys/class/block", name.rpartition("/")[2])]
    for place, link in links:
        (host.root / place).mkdir(parents=True, exist_ok=True)
        (host.root / place / link).symlink_to(folder)
    return folder


def mounted(host, *lines):
    """In order: number, mount point, type and source."""
    text = "".join(f"30 1 {number} / {point} rw - {type_} {source} rw\n" for number, point, type_, source in lines)
    return host.write("proc/self/mountinfo", text)


def test_disks_that_make_requests_have_rows(host):
    """So have their partitions; files in memory are on no device."""
    device(host, "sda", "8:0", "mq/0/cpu_list")
    device(host, "sda/sda1", "8:1", "partition")
    mounted(host, ("8:1", "/", "ext4", "/dev/sda1"), ("0:22", "/tmp", "tmpfs", "tmpfs"))

    assert (FindingVerdict.OK, "") == (host.examine()[ROWS].verdict, host.examine()[ROWS].fix)


def test_devices_that_take_bios_are_named_with_their_use_and_what_is_below(host):
    """A logical volume by the name that its owner knows, a file system with a number of its own by its source."""
    (device(host, "dm-0", "253:0", "slaves/sda2") / "dm").mkdir()
    host.write("sys/devices/virtual/block/dm-0/dm/name", "vg-root\n")
    device(host, "md0", "9:0", "slaves/sdb", "slaves/sdc")
    device(host, "zram0", "252:0")
    (host.root / "dev/mapper").mkdir(parents=True)
    (host.root / "dev/mapper/vg-root").symlink_to("../dm-0")
    mounted(
        host,
        ("0:30", "/", "btrfs", "/dev/mapper/vg-root"),
        ("0:30", r"/my\040home", "btrfs", "/dev/mapper/vg-root"),
        ("9:0", "/data", "xfs", "/dev/md0"),
    )
    host.write("proc/swaps", f"{SWAPS}/dev/zram0\tpartition\t1024\t0\t100\n/swapfile\tfile\t1024\t0\t-2\n")

    seen = host.examine()[ROWS]

    assert FindingVerdict.NOTE is seen.verdict
    assert seen.found.endswith("dm-0 (vg-root) for / and /my home, md0 for /data, zram0 for swap")
    assert seen.fix.startswith("read the rows of the devices below them (sda2, sdb, sdc); ")


def test_the_hosts_mounts_are_read_where_they_are_visible(host):
    """With the host's process ids, from a container."""
    device(host, "dm-0", "253:0")
    host.write("proc/1/mountinfo", "30 1 253:0 / / rw - ext4 /dev/mapper/root rw\n")
    mounted(host, ("0:40", "/", "overlay", "overlay"))

    assert host.examine()[ROWS].found.endswith("dm-0 for /")


@pytest.mark.parametrize("probes", [["syscalls"], ["page_cache"]])
def test_without_block_io_nothing_is_reported_about_disks(host, probes):
    """The line is about rows of block_io."""
    device(host, "zram0", "252:0")
    host.write("proc/swaps", f"{SWAPS}/dev/zram0\tpartition\t1024\t0\t100\n")

    assert "disks" not in {each.area for each in host.examine(probes=probes).examination.findings}
