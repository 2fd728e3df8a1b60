# SPDX-License-Identifier: Apache-2.0
"""From C text to the reader's arrays: sources, layouts, tracepoint formats, descriptors."""

import os
import socket
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from ebpf_sidecar.receivers.ebpf.kernel.fd_passing import close_all, receive_message, send_message
from ebpf_sidecar.receivers.ebpf.kernel.tracefs import Tracefs, find_tracefs
from ebpf_sidecar.receivers.ebpf.loader.c_source import assemble
from ebpf_sidecar.receivers.ebpf.maps.layout import key_dtype, value_fields

OWNER = ["owner", [["cgroup", "unsigned long long"], ["tgid", "unsigned int"], ["comm", "char", [4]]], "struct"]
FORMAT = """name: done
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:dev_t dev;\toffset:8;\tsize:4;\tsigned:0;
\tfield:char rwbs[10];\toffset:34;\tsize:10;\tsigned:0;
\tfield:__data_loc char[] cmd;\toffset:44;\tsize:4;\tsigned:0;

print fmt: "%d", REC->dev
"""


def test_headers_are_put_in_place_once_and_lines_keep_their_numbers(tmp_path):
    """Also after tracepoint programs, before which BCC inserts lines."""
    (tmp_path / "owner.h").write_text("struct owner;\n")
    (tmp_path / "a.c").write_text('#include <asm/ptrace.h>\n#include "owner.h"\nint a;\n')
    (tmp_path / "b.c").write_text('#include "owner.h"\nint b(struct tracepoint__x__y *args)\n{\n    return 0;\n}\n')

    lines = assemble([tmp_path / "a.c", tmp_path / "b.c", tmp_path / "a.c"]).splitlines()

    assert [
        "#define BPF_LICENSE Dual BSD/GPL",
        '#line 1 "a.c"',
        "#include <asm/ptrace.h>",
        '#line 1 "owner.h"',
        "struct owner;",
        '#line 3 "a.c"',
        "int a;",
        '#line 1 "b.c"',
        '#line 2 "b.c"',
        "int b(struct tracepoint__x__y *args)",
        "{",
        '#line 4 "b.c"',
        "    return 0;",
        "}",
    ] == lines


def test_headers_that_are_not_beside_a_file_come_with_the_product(tmp_path):
    """A third party's probe has its own folder; headers next to it take precedence, with or without a comment after the
    include."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
        (folder / "both.h").write_text(f"int {folder.name};\n")
    (ours / "owner.h").write_text('#include "both.h"\n')
    (theirs / "a.c").write_text('#include "both.h" // near\n#include "owner.h" /* far */\n')

    lines = [line for line in assemble([theirs / "a.c"], ours).splitlines() if not line.startswith("#")]

    assert ["int theirs;", "int ours;"] == lines


def test_a_keys_fields_are_flat_and_names_are_text():
    """The owner's fields are next to the key's own."""
    dtype = key_dtype(["key", [["owner", OWNER], ["syscall", "unsigned int"]], "struct"], 20)

    keys = np.frombuffer(b"\7" + bytes(7) + b"\1\0\0\0" + b"fio\0" + b"\2\0\0\0", dtype)
    assert ("cgroup", "tgid", "comm", "syscall") == dtype.names
    assert [(7, 1, b"fio", 2)] == keys.tolist()


def test_a_simple_key_is_one_field():
    """An array's index."""
    assert ("key",) == key_dtype("unsigned int", 4).names


def test_padding_in_a_key_is_refused():
    """Its bytes would be part of the key."""
    with pytest.raises(ValueError, match="fields take 16 bytes, the map has 24: keys must not have padding"):
        key_dtype(OWNER, 24)


def test_a_value_is_columns_of_u64():
    """An array takes several."""
    members = [["lookups", "unsigned long long"], ["adds", "unsigned long long", [4]]]

    assert {"lookups": slice(0, 1), "adds": slice(1, 5)} == value_fields(["value", members, "struct"], 40)
    assert {"value": slice(0, 1)} == value_fields("unsigned long long", 8)


def test_other_values_are_refused():
    """Batch reads of smaller ones are garbled on some kernels."""
    with pytest.raises(ValueError, match='field "count" is not a u64'):
        value_fields(["value", [["count", "unsigned int"]], "struct"], 4)


def test_a_tracepoints_fields_are_its_own(tmp_path):
    """Without those that all have; arrays by their name."""
    (tmp_path / "events" / "block" / "done").mkdir(parents=True)
    (tmp_path / "events" / "block" / "done" / "format").write_text(FORMAT)
    tracefs = find_tracefs((tmp_path / "nowhere", tmp_path))

    assert Tracefs(tmp_path) == tracefs
    assert ("dev", "rwbs", "cmd") == tracefs.fields("block:done")
    assert tracefs.has("block:done")
    assert not tracefs.has("block:undone")


def test_without_a_mounted_tracefs_there_is_none(tmp_path):
    """So that it can be mounted, or the command reported."""
    assert find_tracefs((tmp_path,)) is None


def test_more_descriptors_than_one_message_takes_arrive_in_order():
    """The kernel takes 253 per message."""
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryDirectory() as folder:
        sent = [os.open(Path(folder) / str(i), os.O_CREAT | os.O_RDWR) for i in range(300)]
        inodes = [os.fstat(each).st_ino for each in sent]
        sender = threading.Thread(target=send_message, args=(theirs, {"hooks": ["ä" * 100_000]}, sent))
        sender.start()
        message, received = receive_message(ours)
        sender.join()

        assert {"hooks": ["ä" * 100_000]} == message
        assert inodes == [os.fstat(each).st_ino for each in received]
        assert not any(os.get_inheritable(each) for each in received)
        close_all([*sent, *received])


def test_a_sender_that_goes_away_is_an_end_of_file():
    """Not a message."""
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()

        with pytest.raises(EOFError):
            receive_message(ours)


def test_functions_are_known_by_their_whole_name(tmp_path):
    """A cold part can be probed and is never reached; modules' functions count as well."""
    (tmp_path / "available_filter_functions").write_text("filemap_read.cold\nfilemap_read_folio\next4_read [ext4]\n")
    with_kprobes, without = Tracefs(tmp_path, tmp_path), Tracefs(tmp_path, tmp_path / "no")

    assert "this kernel has no function filemap_read that can be probed" == with_kprobes.why_not_function(
        "filemap_read"
    )
    assert "" == with_kprobes.why_not_function("ext4_read")
    assert ("", "this kernel has no kprobes (CONFIG_KPROBES)") == (
        with_kprobes.why_no_kprobes(),
        without.why_no_kprobes(),
    )


def test_without_the_list_of_functions_the_kernels_symbols_are_taken(tmp_path, monkeypatch):
    """Data of that name is no function."""
    symbols = tmp_path / "kallsyms"
    symbols.write_text("0 T filemap_read\n0 t ext4_read\t[ext4]\n0 D jiffies\n0 t filemap_read.cold\n")
    monkeypatch.setattr("ebpf_sidecar.receivers.ebpf.kernel.tracefs._KALLSYMS", symbols)
    tracefs = Tracefs(tmp_path)

    known = [not tracefs.why_not_function(name) for name in ("filemap_read", "ext4_read", "jiffies", "read")]

    assert [True, True, False, False] == known


def test_perf_events_have_the_kernels_numbers(tmp_path):
    """A tracepoint's is in tracefs, those of functions are where the kernel lists its event sources."""
    event = tmp_path / "events" / "filemap" / "mm_filemap_fault"
    event.mkdir(parents=True)
    (event / "id").write_text("513\n")
    (event / "format").write_text("name: mm_filemap_fault\n")
    (tmp_path / "format").mkdir()
    (tmp_path / "format/retprobe").write_text("config:0\n")
    (tmp_path / "type").write_text("8\n")
    tracefs = Tracefs(tmp_path, tmp_path)

    assert (513, 8, 1) == (tracefs.number("filemap:mm_filemap_fault"), tracefs.kprobe_type(), tracefs.kretprobe_bit())
    assert ["name: mm_filemap_fault\n", ""] == [tracefs.format(f"filemap:{n}") for n in ("mm_filemap_fault", "none")]
