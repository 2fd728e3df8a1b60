# SPDX-License-Identifier: Apache-2.0
import pytest

from ebpf_sidecar.receivers.ebpf.frames.decoders import Decoders, errno_name
from ebpf_sidecar.receivers.ebpf.kernel.syscall_table import known_syscalls, syscall_table
from ebpf_sidecar.receivers.ebpf.probe.model import Attribute


@pytest.fixture
def decoders(tmp_path):
    """A machine of x86-64 with one disk."""
    (tmp_path / "dev" / "block").mkdir(parents=True)
    (tmp_path / "dev" / "block" / "254:0").symlink_to("../../devices/virtio0/block/vda")
    return Decoders(syscall_table("x86_64"), tmp_path)


@pytest.mark.parametrize(
    ("machine", "name", "number"),
    [("x86_64", "fadvise64", 221), ("aarch64", "fadvise64", 223), ("arm64", "openat", 56), ("amd64", "openat", 257)],
)
def test_a_system_call_has_a_number_of_its_own_on_each_machine(machine, name, number):
    """And back."""
    table = syscall_table(machine)

    assert number == table.numbers[name]
    assert name == table.names[number]


def test_a_machine_without_a_table_is_refused():
    """Rather than given another one's numbers."""
    with pytest.raises(KeyError, match="sparc"):
        syscall_table("sparc")


def test_calls_of_other_machines_are_known_by_name():
    """arm64 has no rename: it is no typing mistake there."""
    assert "rename" not in syscall_table("aarch64").numbers
    assert "rename" in known_syscalls()


@pytest.mark.parametrize(
    ("decode", "value", "word"),
    [
        ("syscall", 0, "read"),
        ("syscall", 9999, "9999"),
        ("errno", 2, "ENOENT"),
        ("errno", 95, "ENOTSUP"),
        ("errno", 4000, "4000"),
        ("device", 254 << 20, "vda"),
        ("device", 8 << 20 | 17, "8:17"),
        ({0: "read", 1: "write"}, 1, "write"),
        ({0: "read", 1: "write"}, 2, None),
        ({0: "read", "else": "other"}, 2, "other"),
    ],
)
def test_a_number_becomes_a_word(decoders, decode, value, word):
    """Unknown numbers stay numbers; a value that a table leaves out has no part in the metric."""
    assert word == decoders.of(Attribute("name", "field", decode))(value)


def test_errno_names_are_the_usual_ones():
    """As in the manual."""
    assert ["EPERM", "EIO", "EAGAIN"] == [errno_name(number) for number in (1, 5, 11)]
