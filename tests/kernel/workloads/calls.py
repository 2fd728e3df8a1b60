# SPDX-License-Identifier: Apache-2.0
"""Known system calls: python3 -S -E calls.py ACTION [ARGUMENT ...]; prints its process id and what it did, as JSON."""

import ctypes
import json
import os
import signal
import sys
import threading
import time

TIMES = 23
libc = ctypes.CDLL(None, use_errno=True)


def failing(*numbers):
    """Each call TIMES times with arguments that it must refuse; the errno that each gave."""
    bad = ctypes.c_long(-1)
    errors = {}
    for number in numbers:
        for _ in range(TIMES):
            libc.syscall(ctypes.c_long(int(number)), bad, bad, bad, bad, bad, bad)
            errors[number] = ctypes.get_errno()
    return errors


def advice(path):
    """Each advice a different number of times, and some that fail."""
    descriptor = os.open(path, os.O_RDONLY)
    for which in range(6):
        for _ in range(which + 1):
            os.posix_fadvise(descriptor, 0, 0, which)
    for _ in range(TIMES):
        libc.posix_fadvise(-1, 0, 0, 0)


def moved(path):
    """Known bytes in and out."""
    descriptor = os.open(path, os.O_RDWR)
    for _ in range(TIMES):
        os.pwrite(descriptor, b"x" * 1000, 0)
        os.pread(descriptor, 700, 0)
    os.preadv(descriptor, [bytearray(300), bytearray(100)], 0)
    os.pread(descriptor, 700, 1 << 30)  # after the end: 0 bytes


def _interrupt(restart):
    """A read of an empty pipe that a handled signal interrupts twice; data comes 0.3 s after its start."""
    reading, writing = os.pipe()
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda _: None)
    _interrupt.kept = handler
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.signal(signal.SIGUSR1, ctypes.cast(handler, ctypes.c_void_p))
    libc.siginterrupt(signal.SIGUSR1, 0 if restart else 1)
    main_thread = threading.main_thread().ident

    def disturb():
        for _ in range(2):
            time.sleep(0.1)
            signal.pthread_kill(main_thread, signal.SIGUSR1)
        time.sleep(0.1)
        os.write(writing, b"x" * 100)

    other = threading.Thread(target=disturb)
    other.start()
    room = ctypes.create_string_buffer(100)
    results = []
    while not results or results[-1] < 0:
        results.append(libc.readv(reading, _vector(room), 1))
    other.join()
    return results


def _vector(room):
    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    return ctypes.byref(Vector(ctypes.addressof(room), len(room)))


def restarted():
    """With SA_RESTART."""
    return _interrupt(restart=True)


def interrupted():
    """Without SA_RESTART."""
    return _interrupt(restart=False)


def _stop_and_continue_parent():
    """From a child, after 0.1 s each."""
    for number in (signal.SIGSTOP, signal.SIGCONT):
        time.sleep(0.1)
        os.kill(os.getppid(), number)


def stopped():
    """A read that SIGSTOP and SIGCONT interrupt: no handler, so the kernel restarts it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _stop_and_continue_parent()
        time.sleep(0.1)
        os.write(writing, b"x" * 100)
        os._exit(0)
    room = ctypes.create_string_buffer(100)
    return [libc.readv(reading, _vector(room), 1)]


def paused(name, number):
    """A wait of 0.3 s that SIGSTOP and SIGCONT interrupt: poll of nothing, or clock_nanosleep."""
    child = os.fork()
    if child == 0:
        _stop_and_continue_parent()
        os._exit(0)
    seconds = (ctypes.c_long * 2)(0, 300_000_000)
    words = {"poll": (0, 0, 300), "clock_nanosleep": (0, 0, ctypes.byref(seconds), 0)}
    return libc.syscall(ctypes.c_long(int(number)), *words[name])


def killed():
    """Threads of a child die inside a read."""
    reading, _ = os.pipe()
    child = os.fork()
    if child == 0:
        for _ in range(TIMES):
            threading.Thread(target=os.read, args=(reading, 1)).start()
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    return child


def main():
    """Do what the first argument says."""
    result = globals()[sys.argv[1]](*sys.argv[2:])
    sys.stdout.write(json.dumps({"pid": os.getpid(), "result": result}))


main()
