# SPDX-License-Identifier: Apache-2.0
"""The command ``stats`` on a page that the service would serve."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ebpf_sidecar.pipeline.balance import Balance
from ebpf_sidecar.pipeline.cli import stats
from ebpf_sidecar.pipeline.cli.commands import exit_code
from ebpf_sidecar.pipeline.component import ComponentId, ComponentKind
from ebpf_sidecar.pipeline.host import Request
from ebpf_sidecar.pipeline.http.status_pages import StatusPages
from ebpf_sidecar.pipeline.telemetry.component import ComponentTelemetry
from ebpf_sidecar.pipeline.telemetry.health import Health
from ebpf_sidecar.pipeline.telemetry.ledger import DROPPED, INCOMING, OUTGOING, RECEIVED, Ledger, Published
from ebpf_sidecar.pipeline.testing import FakeClock

GOLDEN = Path(__file__).parents[2] / "data"
PROMETHEUS = Balance(1200, 0, 1190, 0, 0, {"page limit": 10})
OTLP = Balance(1200, 30, 700, 400, 20, {"queue_full": 50, "start_unknown": 10}, {"empty": 50})
PIPELINES = [
    {"id": "metrics", "exporters": ["prometheus", "otlp/central"]},
    {"id": "metrics/raw", "exporters": ["otlp/central"]},
]


def page(otlp=OTLP):
    """What the service answers."""
    ledger, clock = Ledger(), FakeClock()
    for name, balance in (("prometheus", PROMETHEUS), ("otlp/central", otlp)):
        Published(ledger).account((("exporter", name),), lambda balance=balance: balance)
    for name, taken, passed in (("container", 1000, 1000), ("rate", 1000, 1200), ("cardinality", 1220, 1200)):
        attributes = (("processor", name), ("pipeline", "metrics"))
        ledger.add_together({INCOMING: taken, OUTGOING: passed}, attributes)
    ledger.add(DROPPED, 7, (("component", "processor cardinality"), ("reason", "processing_failed")))
    ledger.add(RECEIVED, 1000, (("receiver", "ebpf"),))
    ebpf = ComponentTelemetry(ComponentId(ComponentKind.RECEIVER, "ebpf"), ledger, None)
    for reason, events in (("completions", 3), ("cache", 0), ("missed_runs", 2), ("forgotten_rows", 0)):
        ebpf.lost(reason, lambda events=events: events)
    pages = StatusPages(Health(clock), ledger, clock, "1.0", lambda: PIPELINES, 0.0)
    return pages.stats(Request("GET", stats.PATH, {})).body


@contextmanager
def served(body, status=200):
    """The address of a server that answers with this."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == stats.PATH else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_the_table_closes(golden, capsys):
    """Each term of each exporter, what is behind it, and no word about bugs."""
    with served(page()) as address:
        code = exit_code(["stats", "--endpoint", address])
    printed = capsys.readouterr()

    assert (0, "") == (code, printed.err)
    golden(GOLDEN / "stats.table", printed.out)


def test_the_section_is_what_the_table_is_made_of(golden, capsys):
    """For programs; the numbers are the same."""
    with served(page()) as address:
        code = exit_code(["stats", "--endpoint", address, "--json"])
    printed = capsys.readouterr().out

    assert (0, True) == (code, json.loads(printed)["closes"])
    golden(GOLDEN / "stats.json", printed)


def test_what_does_not_close_is_marked_and_the_exit_code_says_so(capsys):
    """In the table, and on standard error."""
    with served(page(Balance(100, delivered=97))) as address:
        code = exit_code(["stats", "--endpoint", address])
    printed = capsys.readouterr()

    assert 1 == code
    assert "3 does not close" in printed.out
    assert "exporter otlp/central: 3 points are unaccounted for, which is a bug; please report it\n" == printed.err


@pytest.mark.parametrize(("body", "status"), [(b"not found", 404), (b"{}", 200), (b"[]", 200), (b'{"ledger": 1}', 200)])
def test_another_server_is_told_from_the_service(capsys, body, status):
    """Whatever it answers; what to do is said."""
    with served(body, status) as address:
        code = exit_code(["stats", "--endpoint", address])

    assert 1 == code
    assert f'"{address}": /api/v1/stats has no ledger (HTTP status {status}); name an' in capsys.readouterr().err


def test_nobody_there_and_no_endpoint_are_explained(capsys, tmp_path):
    """A wrong word is a mistake on the command line."""
    with served(b"") as address:
        pass
    nobody = exit_code(["stats", "--endpoint", address])
    first = capsys.readouterr().err
    wrong = exit_code(["stats", "--endpoint", "here"])

    assert (1, 2) == (nobody, wrong)
    assert f'"{address}": [Errno 111] Connection refused; start the service, or name' in first
    assert 'Invalid value for --endpoint: "here" is not an endpoint; write "host:port"' in capsys.readouterr().err


CONFIG = """
receivers: {{replay: }}
exporters: {{prometheus: {{endpoint: "{0}"}}, debug: }}
extensions: {{health_check: {{endpoint: "{1}"}}}}
service: {{extensions: [{2}], pipelines: {{metrics: {{receivers: [replay], exporters: [{3}]}}}}}}
"""


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ((":18080", ":13133", "", "prometheus"), ":18080"),
        (("[::]:1", "10.0.0.1:2", "health_check", "prometheus"), "10.0.0.1:2"),
        (("[::]:1", ":0", "health_check", "prometheus, debug"), "[::]:1"),
    ],
)
def test_the_endpoint_is_the_configurations(tmp_path, written, found):
    """The extension's first; a port that is chosen at the start is not known."""
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG.format(*written))

    assert found == str(stats.configured_address([str(config)], []))


def test_a_configuration_that_opens_nothing_is_explained(tmp_path, capsys):
    """The remedy is in the message."""
    (tmp_path / "c.yaml").write_text(CONFIG.format(":1", ":2", "", "debug"))

    assert 1 == exit_code(["stats", "--config", str(tmp_path / "c.yaml")])
    assert "opens an HTTP endpoint; add the extension health_check, or name an endpoint with" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "reached"), [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("a", "a")])
def test_all_addresses_are_reached_by_the_loopback(host, reached):
    """What listens everywhere listens there."""
    assert reached == stats._reachable(host)
