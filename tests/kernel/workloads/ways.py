# SPDX-License-Identifier: Apache-2.0
"""More ways into the page cache, some of them odd: ways.py ACTION PATH BYTES STEP. Facts are in pages."""

import mmap
import os
import resource
import socket
import threading

import window

PAGE = mmap.PAGESIZE
TIMES = 23
MAP_HUGETLB = 0x40000


def spanned(places, length):
    """Pages that reads of so many bytes at these places touch."""
    return sum((place + length - 1) // PAGE - place // PAGE + 1 for place in places)


def at_once(action, number):
    """Run an action in so many threads, each given its number."""
    threads = [threading.Thread(target=action, args=(each,)) for each in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def to_socket(path, size, step):
    """From file to socket with sendfile, as web servers do."""
    source, (near, far) = os.open(path, os.O_RDONLY), socket.socketpair()

    def drain(_):
        room = bytearray(1 << 20)
        while far.recv_into(room):
            pass

    drained = threading.Thread(target=drain, args=(0,))
    drained.start()
    for place in range(0, size, step):
        os.sendfile(near.fileno(), source, place, step)
    near.close()
    drained.join()
    return {"pages": size // PAGE}


def to_pipe(path, size, step):
    """From file to pipe with splice, and away."""
    source, (reading, writing) = os.open(path, os.O_RDONLY), os.pipe()
    nowhere = os.open("/dev/null", os.O_WRONLY)
    while waiting := os.splice(source, writing, step):
        while waiting:
            waiting -= os.splice(reading, nowhere, waiting)
    return {"pages": size // PAGE}


def vectored(path, size, step):
    """With preadv2 into three pieces."""
    source = os.open(path, os.O_RDONLY)
    for place in range(0, size, step):
        os.preadv(source, [bytearray(100), bytearray(PAGE), bytearray(step - PAGE - 100)], place, os.RWF_HIPRI)
    return {"pages": size // PAGE}


def unwilling(path, size, step):
    """With RWF_NOWAIT; how many pages were there and how often the kernel would have had to wait."""
    source, found, waits = os.open(path, os.O_RDONLY), 0, 0
    for place in range(0, size, step):
        try:
            found += os.preadv(source, [bytearray(step)], place, os.RWF_NOWAIT) // PAGE
        except BlockingIOError:
            waits += 1
    return {"pages": found, "waits": waits}


def in_pieces(path, size, step):
    """Pieces of 100 bytes, most of them in a page that was just looked up."""
    source = os.open(path, os.O_RDONLY)
    for place in range(0, size, 100):
        os.pread(source, 100, place)
    return {"pages": spanned(range(0, size - 100, 100), 100) + 1}


def in_blocks(path, size, step):
    """A page of each block of 16 KiB, so many bytes from its start, by each call that reads in turn."""
    source, places = os.open(path, os.O_RDONLY), range(step, size - PAGE + 1, 4 * PAGE)
    reading, writing = os.pipe()

    def there(place):
        os.lseek(source, place, os.SEEK_SET)
        return source

    calls = [
        lambda place: os.pread(source, PAGE, place),
        lambda place: os.read(there(place), PAGE),
        lambda place: os.readv(there(place), [bytearray(100), bytearray(PAGE - 100)]),
        lambda place: os.preadv(source, [bytearray(PAGE)], place, os.RWF_HIPRI),
        lambda place: os.read(reading, os.sendfile(writing, source, place, PAGE)),
        lambda place: os.read(reading, os.sendfile(writing, there(place), None, PAGE)),
        lambda place: os.read(reading, os.splice(source, writing, PAGE, offset_src=place)),
        lambda place: os.read(reading, os.splice(there(place), writing, PAGE)),
    ]
    for number, place in enumerate(places):
        calls[number % len(calls)](place)
    return {"pages": spanned(places, PAGE)}


def willneed(path, size, step):
    """Brought in by fadvise, not looked up."""
    source = os.open(path, os.O_RDONLY)
    for place in range(0, size, step):
        os.posix_fadvise(source, place, step, os.POSIX_FADV_WILLNEED)
    return {"pages": 0}


def direct(path, size, step):
    """Past the page cache."""
    source, room = os.open(path, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, step, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON)
    for place in range(0, size, step):
        os.preadv(source, [room], place)
    return {"pages": 0}


def allocated(path, size, step):
    """Blocks for a new file, without contents."""
    os.posix_fallocate(os.open(f"{path}.target", os.O_RDWR | os.O_CREAT, 0o600), 0, size)
    return {"pages": 0}


def shared(path, size, step):
    """Eight threads read the whole file at once."""
    source = os.open(path, os.O_RDONLY)

    def read(_):
        for place in range(0, size, step):
            os.pread(source, step, place)

    at_once(read, 8)
    return {"pages": 8 * size // PAGE}


def from_pipe(path, size, step):
    """From pipe to a new file with splice."""
    target, (reading, writing) = os.open(path, os.O_RDWR | os.O_CREAT, 0o600), os.pipe()
    for _ in range(0, size, step):
        waiting = os.write(writing, b"x" * step)
        while waiting:
            waiting -= os.splice(reading, target, waiting)
    return {"pages": size // PAGE}


def unwritten(path, size, step):
    """A new file that stays dirty for a while."""
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for _ in range(0, size, step):
        os.write(target, b"x" * step)
    return {"pages": size // PAGE}


def faulted(path, size, step):
    """Touch every page of a mapping; the major faults of it."""
    source = os.open(path, os.O_RDONLY)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    with mmap.mmap(source, size, prot=mmap.PROT_READ) as view:
        touched = sum(view[place] >= 0 for place in range(0, size, PAGE))
    return {"pages": touched, "major": resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before}


def huge(path, size, step):
    """Touch shared memory of huge pages."""
    with mmap.mmap(-1, size, flags=mmap.MAP_SHARED | mmap.MAP_ANON | MAP_HUGETLB) as view:
        view[0] = view[size - 1] = 1
    return {"pages": size // PAGE}


def truncated(path, size, step):
    """Four threads read what a fifth one cuts off and lets grow again; what they got."""
    target, over, got = os.open(path, os.O_RDWR), threading.Event(), [0] * 4

    def read(number):
        source, room = os.open(path, os.O_RDONLY), bytearray(step)
        while not over.is_set():
            got[number] += sum(-(-os.preadv(source, [room], place) // PAGE) for place in range(0, size, step))

    def cut(_):
        number = 0
        while number < 200 or sum(got) < 2000:  # readers may get no turn for a while
            os.ftruncate(target, size * (number % 8) // 8)
            os.ftruncate(target, size)
            number += 1
        over.set()

    at_once(lambda number: read(number) if number < 4 else cut(number), 5)
    return {"pages": sum(got)}


def ends(path, size, step):
    """The last page again and again, asking for far more."""
    source = os.open(path, os.O_RDONLY)
    for _ in range(TIMES):
        os.pread(source, step, size - PAGE)
    return {"pages": TIMES}


window.main({
    each.__name__: each
    for each in (to_socket, to_pipe, vectored, unwilling, in_pieces, in_blocks, willneed, direct, allocated, shared,
                 from_pipe, unwritten, faulted, huge, truncated, ends)
})  # fmt: skip
