# SPDX-License-Identifier: Apache-2.0
"""Asks the kernel's own histogram_slot: slots.py BPF_FOLDER LOWEST SLOTS VALUE ...; prints slots as JSON."""

import ctypes
import json
import os
import sys
from pathlib import Path

PROGRAM = """
BPF_ARRAY(question, u64, 1);
BPF_ARRAY(answer, u64, 1);

int think(struct bpf_raw_tracepoint_args *ctx)
{
    u32 first = 0;
    u64 *value = question.lookup(&first), *slot = answer.lookup(&first);

    if (value && slot)
        *slot = histogram_slot(*value, LOWEST, SLOTS);
    return 0;
}
"""


def main():
    """One question at a time; any system call makes the kernel answer."""
    folder, lowest, slots, *values = sys.argv[1], *map(int, sys.argv[2:])
    os.environ["BCC_KERNEL_SOURCE"] = folder
    from bcc import BPF  # noqa: PLC0415 # reads the environment when imported

    text = (Path(folder) / "histogram.h").read_text() + PROGRAM
    bpf = BPF(text=text, cflags=["-Wno-everything", f"-DLOWEST={lowest}", f"-DSLOTS={slots}"])
    bpf.attach_raw_tracepoint(b"sys_enter", b"think")
    answers = []
    for value in values:
        bpf["question"][ctypes.c_int(0)] = ctypes.c_uint64(value)
        os.getppid()
        answers.append(bpf["answer"][ctypes.c_int(0)].value)
    sys.stdout.write(json.dumps(answers))
    sys.stdout.flush()
    os._exit(0)


main()
