# SPDX-License-Identifier: Apache-2.0
"""Disks as the kernel counts them, in small trees of our own."""

import pytest

from ebpf_sidecar.receivers.ebpf.disks import names_of_disks, read_disks, scheduler_of

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


@pytest.mark.parametrize(
    ("text", "name"), [("none [mq-deadline] bfq\n", "mq-deadline"), ("[none] bfq", "none"), ("none", "none")]
)
def test_the_scheduler_is_the_word_in_brackets(tmp_path, text, name):
    """Or none at all."""
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "scheduler").write_text(text)

    assert name == scheduler_of(tmp_path)
    assert "none" == scheduler_of(tmp_path / "missing")
