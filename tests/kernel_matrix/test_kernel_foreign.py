# SPDX-License-Identifier: Apache-2.0
"""Guests of another architecture: which kernels they get, what they run on, and that they cannot harm this machine."""

import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from kernels.deadline import Deadline
from kernels.foreign import FLAVOURS, PACKAGES, ForeignRoot, complete
from kernels.guest import emulator_command, guest_script
from kernels.images import Image
from kernels.machine import X86_64, arm64
from kernels.mirror import Mirror
from kernels.programs import Unavailable
from kernels.series import kernel_packages

LISTED = [
    "linux-image-6.12.117+deb13-amd64",
    "linux-image-6.12.117+deb13-arm64",
    "linux-image-6.12.117+deb13-arm64-16k",
    "linux-image-6.12.117+deb13-arm64-unsigned",
    "linux-image-6.12.117+deb13-cloud-arm64",
    "linux-image-6.12.117+deb13-rt-arm64",
]
IMAGE = Image("r", Path("/k"), ())


@pytest.fixture
def made(tmp_path):
    """A tree of ours, a root folder that was made for it, and what tells where it is."""
    tree = tmp_path / "tree"
    (tmp_path / "arm64/root").mkdir(parents=True)
    tree.mkdir()
    (tree / "constraints.txt").write_text("a==1\n")
    (tree / "pyproject.toml").write_text("[project]\n")
    asked = hashlib.sha256(b"a==1\n[project]\n").hexdigest()
    (tmp_path / "arm64/root/made_of").write_text(f"{' '.join(PACKAGES)} {asked}")

    def root(**more):
        return ForeignRoot(tmp_path / "arm64", tree, Mirror(tmp_path / "apt", Deadline(0)), Deadline(0), **more)

    return root


@pytest.mark.parametrize("flavour", ["amd64", *FLAVOURS])
def test_kernels_of_one_architecture_and_page_size_are_kept_apart(flavour):
    """One name is a prefix of the other."""
    found = kernel_packages(LISTED, flavour)

    assert [f"6.12.117+deb13-{flavour}"] == [package.release for package in found]


def test_a_root_folder_is_made_once(made, tmp_path):
    """No mirror is asked here: no time is left for it."""
    assert tmp_path / "arm64/root" == made(python=(3, 11)).machine().root


def test_a_root_folder_for_other_versions_is_made_anew(made, tmp_path):
    """Otherwise the guest would run what constraints.txt no longer says."""
    (tmp_path / "tree/constraints.txt").write_text("a==2\n")

    with pytest.raises(Unavailable, match=r"no time left for apt-get|not installed"):
        made(python=(3, 11)).machine()


def test_another_python_than_that_of_the_packages_is_named(made):
    """A row of the table reports it."""
    with pytest.raises(Unavailable, match=r"have Python 3\.11; run make kernel-matrix with that one"):
        made(python=(3, 12)).machine()


def test_a_root_folder_gets_what_installation_would_make(tmp_path):
    """Nothing is ever run in it on this machine."""
    complete(tmp_path)

    assert {"proc", "sys", "dev", "run", "tmp", "mnt"} <= {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "etc/passwd").read_text().startswith("root:x:0:0:")


def test_a_foreign_guest_sees_its_own_files_and_our_tree_and_can_write_neither(tmp_path, monkeypatch):
    """Its root is not this machine's."""
    monkeypatch.setattr("kernels.guest.present", lambda name: f"/bin/{name}")
    image = replace(IMAGE, machine=arm64(tmp_path, {}))

    words = " ".join(emulator_command(image, Path("/i"), Path("/d"), Path("/r")))

    assert "/bin/qemu-system-aarch64 -M virt" in words
    assert f"path={tmp_path},security_model=none,readonly=on" in words
    assert f"path={Path.cwd()},security_model=none,readonly=on" in words
    assert "path=/," not in words
    assert "kvm" not in words


def test_the_second_script_is_shell_on_each_machine(tmp_path):
    """A mistake in it would only show as a guest that dies."""
    for machine in (X86_64, arm64(tmp_path, {"PYTHONPATH": "/a b"})):
        script = guest_script(replace(IMAGE, machine=machine), ["true", "a b"])
        done = subprocess.run(["sh", "-n"], input=script.encode(), check=False, capture_output=True)

        assert (0, b"") == (done.returncode, done.stderr)


def test_only_a_machine_that_lacks_our_tree_mounts_it(tmp_path):
    """At the place that it has here, so that the environment's links hold."""
    foreign = guest_script(replace(IMAGE, machine=arm64(tmp_path, {"PYTHONPATH": "/w"})), ["true"])

    assert f"cache=loose tree {Path.cwd()}\n" in foreign
    assert "export PYTHONPATH=/w\n" in foreign
    assert "mount" not in guest_script(IMAGE, ["true"])
