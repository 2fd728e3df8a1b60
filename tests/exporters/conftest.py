# SPDX-License-Identifier: Apache-2.0
"""What several files of tests share."""

import pytest
from otlp_servers import make_certificates
from served_exporter import ServedExporter


@pytest.fixture
def served():
    """An exporter with default settings."""
    return ServedExporter()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, a server and a client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))
