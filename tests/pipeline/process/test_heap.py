# SPDX-License-Identifier: Apache-2.0
"""Free memory of the heap is given back, and threads share one heap."""

import json
import subprocess
import sys

FRAGMENTED = """
import json
from pathlib import Path
from ebpf_sidecar.pipeline.process.heap import release_free_memory
def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith("RssAnon")][0]
pieces = [bytes([i % 256]) * 50_000 for i in range(400)]
del pieces[:-1]
before = resident()
release_free_memory()
print(json.dumps([before, resident(), pieces[0] == bytes([399 % 256]) * 50_000]))
"""


def test_free_memory_below_what_is_still_used_is_given_back():
    """20 MB of which only the last piece lives: the heap keeps all of it until it is trimmed."""
    done = subprocess.run([sys.executable, "-c", FRAGMENTED], stdout=subprocess.PIPE, check=True)
    before, after, intact = json.loads(done.stdout)

    assert before - after > 15_000
    assert intact


THREADS = """
import sys, threading
from pathlib import Path
from ebpf_sidecar.pipeline.process.heap import use_one_heap
if sys.argv[1:]:
    use_one_heap()
kept = []
def work():
    kept.append(bytearray(100_000))
    done.wait()
done = threading.Event()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
while len(kept) < 8: pass
# each heap of its own begins at a multiple of its greatest size, 64 MiB
maps = Path("/proc/self/maps").read_text().splitlines()
print(sum(int(line.split("-")[0], 16) % (64 << 20) == 0 for line in maps if line.endswith(" 0 ")))
done.set()
"""


def test_threads_share_one_heap_once_configured():
    """By default each of several threads opens a heap of its own."""
    heaps = [
        int(subprocess.run([sys.executable, "-c", THREADS, *words], stdout=subprocess.PIPE, check=True).stdout)
        for words in ([], ["configured"])
    ]

    assert heaps[0] >= 4
    assert heaps[1] == 0
