# SPDX-License-Identifier: Apache-2.0
"""The tolerance when page counts are compared with the kernel's own."""

import pytest


def near(expected):
    """Within half a percent, or four pages: inodes and maps of blocks are pages, too, and others may read the file."""
    return pytest.approx(expected, rel=0.005, abs=4)
