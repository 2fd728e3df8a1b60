# SPDX-License-Identifier: Apache-2.0
"""Reads and writes through io_uring(7), without its library: rings.py ACTION PATH BYTES STEP. Facts are in pages."""

import ctypes
import mmap
import os
import struct

import window

SETUP, ENTER = 425, 426  # on all architectures
GETEVENTS, WAKEUP, NEEDS_WAKEUP = 1, 2, 1
KERNEL_POLLS = 2
READ, WRITE, ASYNC = 22, 23, 1 << 4
PAGE = mmap.PAGESIZE
BATCH = 16
libc = ctypes.CDLL(None, use_errno=True)


class Ring:
    """A ring of 64 requests. Its two queues are in one mapping, at the offsets that the kernel gives."""

    def __init__(self, flags=0):
        reported = ctypes.create_string_buffer(struct.pack("5I", 0, 0, flags, 0, 50), 120)
        self.descriptor = libc.syscall(SETUP, 64, reported)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "io_uring_setup")
        sent, done = struct.unpack_from("2I", reported, 0)
        self.head, self.tail, self.mask, _, self.flags, _, self.order = struct.unpack_from("7I", reported, 40)
        self.done_head, self.done_tail, self.done_mask, _, _, self.results = struct.unpack_from("6I", reported, 80)
        size = max(self.order + 4 * sent, self.results + 16 * done)
        self.queues = mmap.mmap(self.descriptor, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        # written whole: struct would put zeros there first, which the kernel might see
        self.words = (ctypes.c_uint32 * (size // 4)).from_buffer(self.queues)
        self.requests = mmap.mmap(self.descriptor, 64 * sent, flags=mmap.MAP_SHARED, offset=0x10000000)

    def _get(self, place):
        return self.words[place // 4]

    def _set(self, place, value):
        self.words[place // 4] = value

    def ask(self, *, operation, flags, descriptor, address, length, offset):
        """Put a request into the queue."""
        tail = self._get(self.tail)
        place = tail & self._get(self.mask)
        request = struct.pack("BBHiQQI36x", operation, flags, 0, descriptor, offset, address, length)
        self.requests[64 * place : 64 * place + 64] = request
        self._set(self.order + 4 * place, place)
        self._set(self.tail, tail + 1)

    def enter(self, number, wait):
        """Hand requests over; wait for so many results."""
        wakeup = WAKEUP if self._get(self.flags) & NEEDS_WAKEUP else 0
        taken = libc.syscall(ENTER, self.descriptor, number, wait, wakeup | (GETEVENTS if wait else 0), None, 0)
        if taken != number:
            raise OSError(ctypes.get_errno(), f"io_uring_enter took {taken} of {number}")

    def take(self):
        """The results that are there."""
        head, tail, mask = map(self._get, (self.done_head, self.done_tail, self.done_mask))
        self._set(self.done_head, tail)
        return [struct.unpack_from("Qi", self.queues, self.results + 16 * (n & mask))[1] for n in range(head, tail)]


class Use:
    """How a ring is used: ``spin``: look for results without entering the kernel; ``same``: one place for all;
    ``ahead``: the kernel may read ahead.
    """

    def __init__(self, *, batch=BATCH, flags=0, ring=0, operation=READ, same=False, spin=False, ahead=True):
        self.asked = {"operation": operation, "flags": flags}
        self.batch, self.same, self.spin, self.ahead = batch, same, spin, ahead
        self.ring = Ring(ring)

    def _finish(self, number):
        self.ring.enter(number, 0 if self.spin else number)
        results = self.ring.take()
        while len(results) < number:
            if not self.spin:
                self.ring.enter(0, number - len(results))
            results += self.ring.take()
        return results

    def run(self, path, size, step):
        """The whole file, some requests at a time."""
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not self.ahead:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        room = mmap.mmap(-1, step * self.batch, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON)
        address, moved = ctypes.addressof(ctypes.c_char.from_buffer(room)), 0
        for begin in range(0, size, step * self.batch):
            places = range(begin, min(begin + step * self.batch, size), step)
            for number, place in enumerate(reversed(places)):
                room_of_it, offset = address + number * step, 0 if self.same else place
                self.ring.ask(**self.asked, descriptor=file, address=room_of_it, length=step, offset=offset)
            results = self._finish(len(places))
            if set(results) != {step}:
                raise OSError(-min(results), "a request failed")
            moved += sum(results)
        return {"pages": moved // PAGE}


USES = {
    "one": {"batch": 1},
    "many": {},
    "same": {"same": True},
    "workers": {"flags": ASYNC},
    "workers_one_by_one": {"flags": ASYNC, "ahead": False},
    "kernel_polls": {"ring": KERNEL_POLLS},
    "user_polls": {"spin": True},
    "written": {"operation": WRITE},
    "written_by_workers": {"operation": WRITE, "flags": ASYNC},
}
window.main({name: lambda path, size, step, use=use: Use(**use).run(path, size, step) for name, use in USES.items()})
