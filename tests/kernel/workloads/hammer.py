# SPDX-License-Identifier: Apache-2.0
"""Reads one cached page as fast as it can for some seconds: python3 -S -E hammer.py SECONDS; prints how often."""

import os
import sys
import tempfile
import time


def main():
    """Count while reading."""
    until, count = time.monotonic() + float(sys.argv[1]), 0
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 4096)
        file.flush()
        descriptor = file.fileno()
        while time.monotonic() < until:
            for _ in range(1000):
                os.pread(descriptor, 512, 0)
            count += 1000
    sys.stdout.write(str(count))


main()
