# SPDX-License-Identifier: Apache-2.0
"""Where temporary files may go."""

import os
import re

import pytest

from ebpf_sidecar.receivers.ebpf.kernel import disk_folder
from ebpf_sidecar.receivers.ebpf.kernel.disk_folder import find_any_folder, find_disk_folder


def mounts(*points):
    """The text of mountinfo for (mount point, type)."""
    return "".join(
        f"{i} 1 0:{i} / {point} rw,relatime shared:1 - {kind} dev rw\n" for i, (point, kind) in enumerate(points)
    )


@pytest.mark.parametrize("kind", ["tmpfs", "9p", "nfs4", "fuse.sshfs", "virtiofs", "ramfs", "zfs"])
def test_what_is_not_on_a_disk_is_passed_over(tmp_path, kind):
    """The next candidate that is on one is taken."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()

    found = find_disk_folder(mounts(("/", "ext4"), (first, kind)), [first, second])

    assert (second, "ext4") == (found.path, found.file_system)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "overlay", "f2fs"])
def test_disks_and_layers_upon_them_will_do(tmp_path, kind):
    """By the longest mount point above the folder."""
    assert kind == find_disk_folder(mounts(("/", "tmpfs"), (tmp_path, kind)), [tmp_path]).file_system


def test_what_is_mounted_over_something_hides_it(tmp_path):
    """The later line is the upper one."""
    assert find_disk_folder(mounts(("/", "tmpfs"), (tmp_path, "ext4"), (tmp_path, "tmpfs")), [tmp_path]) is None


@pytest.mark.parametrize("name", ["a b", "größer als\tdas", "データ", "\\040"])
def test_mount_points_with_blanks_and_letters_of_any_language_are_understood(tmp_path, name):
    """The kernel writes blanks, tabs and backslashes in octal, and everything else unchanged."""
    folder = tmp_path / name
    folder.mkdir()
    text = mounts(("/", "tmpfs"), (re.sub(r"[ \t\\]", lambda found: f"\\{ord(found[0]):03o}", str(folder)), "xfs"))

    assert "xfs" == find_disk_folder(text, [folder]).file_system


def test_a_folder_that_cannot_be_written_to_is_no_place(tmp_path):
    """Nor one that is not there; a root user may write everywhere."""
    closed = tmp_path / "closed"
    closed.mkdir(0o500)
    found = find_disk_folder(mounts(("/", "ext4")), [tmp_path / "missing", closed])

    assert (found is None) == (os.geteuid() != 0)


def test_neither_home_nor_a_folder_for_temporary_files_need_exist(monkeypatch, tmp_path):
    """A user without an entry in /etc/passwd in an empty container."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setattr(disk_folder, "_CANDIDATES", (str(tmp_path / "neither"),))
    monkeypatch.setattr(disk_folder, "_IN_MEMORY", ())

    assert None is find_disk_folder(mounts(("/", "ext4")))
    assert None is find_any_folder()


def test_where_it_need_not_be_a_disk_memory_will_do(monkeypatch, tmp_path):
    """What the user chose comes first."""
    shared, chosen = tmp_path / "shm", tmp_path / "chosen"
    shared.mkdir()
    monkeypatch.setenv("TMPDIR", str(chosen))
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(disk_folder, "_CANDIDATES", ())
    monkeypatch.setattr(disk_folder, "_IN_MEMORY", (str(shared),))

    assert shared == find_any_folder()
    chosen.mkdir()
    assert chosen == find_any_folder()
