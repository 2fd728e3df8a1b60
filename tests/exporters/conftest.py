# SPDX-License-Identifier: Apache-2.0
"""What several files of tests share."""

import pytest
from served_exporter import ServedExporter


@pytest.fixture
def served():
    """An exporter with default settings."""
    return ServedExporter()
