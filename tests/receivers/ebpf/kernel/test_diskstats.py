# SPDX-License-Identifier: Apache-2.0
"""Disks as the kernel counts them, in small trees of our own."""

import os

import pytest

from ebpf_sidecar.receivers.ebpf.kernel.diskstats import disk_of, names_of_disks, read_disk, read_disks, scheduler_of

LINES = """\
 254       0 vda 100 0 800 5 200 0 3200 9 0 7 14 0 0 0 0
 254       1 vda1 99 0 790 5 199 0 3190 9 0 7 14 0 0 0 0
   7       0 loop0 40 0 400 1 0 0 0 0 0 1 1 0 0 0 0
 259       0 cciss/c0d0 1 0 8 0 2 0 16 0 0 0 0 0 0 0 0
"""


@pytest.fixture
def tree(tmp_path):
    """A disk, a partition, a loop device, and a disk whose name has a slash."""
    (tmp_path / "diskstats").write_text(LINES)
    for name in ("vda", "cciss!c0d0"):
        (tmp_path / "block" / name / "device").mkdir(parents=True)
    (tmp_path / "block" / "loop0").mkdir()
    return tmp_path


def test_requests_and_bytes_of_whole_disks_are_added_up(tree):
    """Each request once: not again for its partition, nor for the device that is built upon the disk."""
    disks = read_disks(tree, tree)

    assert {"reads": 101, "writes": 202} == disks.operations
    assert {"reads": 808 * 512, "writes": 3216 * 512} == disks.sizes
    assert {"vda", "cciss!c0d0"} == set(names_of_disks(tree))


def test_one_disk_can_be_read_alone(tree):
    """What others do is no evidence about it."""
    assert {"reads": 100, "writes": 200} == read_disk(tree / "block" / "vda", tree).operations
    assert {"reads": 1, "writes": 2} == read_disk(tree / "block" / "cciss!c0d0", tree).operations


@pytest.mark.parametrize("partition", [True, False])
def test_the_disk_of_a_folder_is_the_whole_one(tmp_path, partition):
    """Whether its file system is on a partition or on all of it."""
    device = device_below(tmp_path, "sda/sda1" if partition else "sda")
    (tmp_path / "devices" / "sda" / "device").mkdir()
    if partition:
        (device / "partition").write_text("1\n")

    assert tmp_path / "devices" / "sda" == disk_of(tmp_path, tmp_path)


def test_a_folder_that_is_not_directly_on_a_disk_has_none(tmp_path):
    """Overlay and btrfs have device numbers that nothing else knows; LVM has a device without hardware of its own."""
    assert disk_of(tmp_path, tmp_path) is None

    device_below(tmp_path, "dm-0")
    assert disk_of(tmp_path, tmp_path) is None


def device_below(sys, path):
    """Let what holds the folder ``sys`` be the block device ``path``."""
    number, device = sys.stat().st_dev, sys / "devices" / path
    device.mkdir(parents=True)
    link = sys / "dev" / "block" / f"{os.major(number)}:{os.minor(number)}"
    link.parent.mkdir(parents=True)
    link.symlink_to(device)
    return device


@pytest.mark.parametrize(
    ("text", "name"), [("none [mq-deadline] bfq\n", "mq-deadline"), ("[none] bfq", "none"), ("none", "none")]
)
def test_the_scheduler_is_the_word_in_brackets(tmp_path, text, name):
    """Or none at all."""
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "scheduler").write_text(text)

    assert name == scheduler_of(tmp_path)
    assert "none" == scheduler_of(tmp_path / "missing")
