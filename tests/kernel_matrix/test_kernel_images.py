# SPDX-License-Identifier: Apache-2.0
"""Kernels in the cache, and what a guest starts with."""

import gzip
import lzma
import subprocess
from pathlib import Path

import pytest
from kernels import images
from kernels.deadline import Deadline
from kernels.guest import emulator_command, initramfs
from kernels.images import Image, Images, module_files, read_image
from kernels.programs import Unavailable, output

SHOWN = """\
insmod /lib/virtio.ko.xz
builtin virtio_pci
insmod /lib/crc32c-intel.ko
insmod /lib/virtio.ko.xz
insmod /lib/ext4.ko param=1
"""


@pytest.fixture
def soon():
    """A deadline that is not yet over."""
    return Deadline(60)


def fill(folder: Path, release="6.1.0-56-amd64"):
    """A cached kernel with two modules."""
    folder.mkdir(parents=True)
    for name, text in (
        ("vmlinuz", "kernel"),
        ("01-ext4.ko", "b"),
        ("00-virtio.ko", "a"),
        ("later-00-sd_mod.ko", "c"),
        ("wanted", images.STAMP),
        ("release", release),
    ):
        (folder / name).write_text(text)


def test_each_module_is_loaded_once_after_those_it_needs():
    """What is built in needs no file, and a module that some processors refuse is left out."""
    assert [Path("/lib/virtio.ko.xz"), Path("/lib/ext4.ko")] == module_files(SHOWN)


def test_modules_are_loaded_in_the_order_of_their_numbers(tmp_path):
    """The folder's own order is that of its file system."""
    fill(tmp_path / "6.1")

    image = read_image(tmp_path / "6.1")

    assert ["00-virtio.ko", "01-ext4.ko"] == [path.name for path in image.modules]
    assert ["later-00-sd_mod.ko"] == [path.name for path in image.later]
    assert "6.1.0-56-amd64" == image.release


def test_a_kernel_that_was_cached_for_other_modules_is_not_used(tmp_path):
    """Otherwise a guest would lack modules that are needed now."""
    fill(tmp_path / "6.1")
    (tmp_path / "6.1/wanted").write_text("ext4")

    assert read_image(tmp_path / "6.1") is None


def test_a_half_written_kernel_is_not_used(tmp_path):
    """The release is written last."""
    fill(tmp_path / "6.1")
    (tmp_path / "6.1/release").unlink()

    assert read_image(tmp_path / "6.1") is None


def test_compressed_modules_are_kept_uncompressed(tmp_path):
    """Busybox's insmod takes nothing else."""
    (tmp_path / "a.ko").write_bytes(b"plain")
    (tmp_path / "b.ko.xz").write_bytes(lzma.compress(b"packed"))

    assert [b"plain", b"packed"] == [images.decompressed(tmp_path / name) for name in ("a.ko", "b.ko.xz")]


def test_a_compression_that_is_not_known_is_named(tmp_path):
    """A row of the table reports it, and the others continue."""
    with pytest.raises(Unavailable, match=r'"ext4\.ko\.zst"'):
        images.decompressed(tmp_path / "ext4.ko.zst")


@pytest.fixture
def modprobe(tmp_path, monkeypatch):
    """A stand-in that knows each module but the named one."""

    def modprobe(missing):
        (tmp_path / "bin").mkdir()
        for name, text in (
            ("depmod", "exit 0"),
            ("modprobe", f'[ "$6" = {missing} ] && exit 1; echo "insmod {tmp_path}/ko/$6.ko"'),
        ):
            (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / "bin" / name).chmod(0o755)
        monkeypatch.setattr("kernels.programs.SEARCHED", f"{tmp_path}/bin:/bin:/usr/bin")
        for folder in ("ko", "unpacked/lib/modules/r", "unpacked/boot"):
            (tmp_path / folder).mkdir(parents=True)
        for name in ("unpacked/boot/vmlinuz", *(f"ko/{module}.ko" for module in (*images.MODULES, *images.LATER))):
            (tmp_path / name).write_text("x")

    return modprobe


def test_a_module_for_a_few_tests_may_be_missing(tmp_path, soon, modprobe):
    """Debian builds no scsi_debug for arm64; its tests say that they are skipped."""
    modprobe("scsi_debug")

    image = images.keep_image(tmp_path / "unpacked", "r", tmp_path / "kept", soon)

    assert ["later-00-sd_mod.ko"] == [path.name for path in image.later]
    assert len(images.MODULES) == len(image.modules)


def test_a_module_that_every_guest_needs_may_not_be_missing(tmp_path, soon, modprobe):
    """A guest without its disk would be no use."""
    modprobe("virtio_blk")

    with pytest.raises(Unavailable, match="virtio_blk"):
        images.keep_image(tmp_path / "unpacked", "r", tmp_path / "kept", soon)


def test_packages_without_a_kernel_are_named(tmp_path, soon):
    """Debian has moved the kernel from one package to another before."""
    with pytest.raises(Unavailable, match=r"the packages of 7\.3\.4 hold no kernel"):
        images.keep_image(tmp_path, "7.3.4", tmp_path / "kept", soon)


def test_a_kernel_cached_this_week_is_not_looked_up_again(tmp_path, soon):
    """No mirror is asked: there is none in an empty environment."""
    fill(tmp_path / "images/6.1")
    written = (tmp_path / "images/6.1/release").stat().st_mtime

    assert "6.1.0-56-amd64" == Images(tmp_path, soon, now=lambda: written + 6 * 24 * 3600).get("6.1").release


def test_an_old_kernel_is_used_when_no_newer_one_is_available(tmp_path):
    """A table of last month's kernel is better than none. No time is left to ask a mirror here."""
    fill(tmp_path / "images/6.1")
    written = (tmp_path / "images/6.1/release").stat().st_mtime

    assert "6.1.0-56-amd64" == Images(tmp_path, Deadline(0), now=lambda: written + 8 * 24 * 3600).get("6.1").release


def test_a_kernel_neither_cached_nor_available_has_the_reason(tmp_path):
    """A row of the table reports it."""
    with pytest.raises(Unavailable, match=r"no time left for apt-get|not installed"):
        Images(tmp_path, Deadline(0)).get("6.1")


def test_the_initial_files_are_busybox_init_and_the_modules(tmp_path, monkeypatch):
    """Read back with the machine's own busybox, or a stand-in that lists what it was given."""
    fill(tmp_path / "6.1")
    (tmp_path / "bin").mkdir()
    busybox = tmp_path / "bin/busybox"
    busybox.write_text('#!/bin/sh\necho "$@"\nexec cat\n')
    busybox.chmod(0o755)
    monkeypatch.setattr("kernels.programs.SEARCHED", f"{busybox.parent}:/bin:/usr/bin")

    packed = gzip.decompress(initramfs(read_image(tmp_path / "6.1"), tmp_path / "scratch").read_bytes())

    assert [
        "cpio -o -H newc",
        "bin",
        "bin/busybox",
        "dev",
        "init",
        "later",
        "later/later-00-sd_mod.ko",
        "modules",
        "modules/00-virtio.ko",
        "modules/01-ext4.ko",
    ] == packed.decode().split("\n")


def test_the_first_script_is_shell():
    """A mistake in it would only show as a guest that dies."""
    done = subprocess.run(["sh", "-n", Path(images.__file__).with_name("init")], check=False, capture_output=True)

    assert (0, b"") == (done.returncode, done.stderr)


def test_guests_cannot_write_to_this_machine(monkeypatch):
    """The root is exported read-only, and KVM is never requested."""
    monkeypatch.setattr("kernels.guest.present", lambda name: f"/bin/{name}")
    words = " ".join(emulator_command(Image("r", Path("/k"), ()), Path("/i"), Path("/d"), Path("/r")))

    assert "path=/,security_model=none,readonly=on" in words
    assert "kvm" not in words


def test_a_program_that_is_missing_is_named(soon):
    """With the way to get it."""
    with pytest.raises(Unavailable, match='"no-such-program" is not installed; run make kernel-matrix as root'):
        output(["no-such-program"], soon)


def test_a_program_that_fails_is_quoted(soon):
    """Its last line has the reason."""
    with pytest.raises(Unavailable, match=r"sh .*: the reason$"):
        output(["sh", "-c", "echo first >&2; echo the reason >&2; exit 3"], soon)


def test_a_deadline_is_never_negative():
    """Programs would take a negative timeout for no timeout."""
    times = iter([100.0, 103.0, 111.0])
    deadline = Deadline(10, now=lambda: next(times))

    assert [5.0, 0.0] == [deadline.left(at_most=5), deadline.left()]
