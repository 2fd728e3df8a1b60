# SPDX-License-Identifier: Apache-2.0
"""What two components cannot both have is found before anything runs, with its place in the file."""

from __future__ import annotations

import socket
from itertools import permutations

import pytest

from ebpf_sidecar.pipeline.component import ComponentKind, Factory
from ebpf_sidecar.pipeline.config.load import InlineSource, load
from ebpf_sidecar.pipeline.endpoint import Address, Listening
from ebpf_sidecar.pipeline.errors import ConfigError, SidecarError
from ebpf_sidecar.pipeline.http.status_pages import PATHS
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.running.service import Service
from ebpf_sidecar.pipeline.settings import Settings
from ebpf_sidecar.pipeline.testing import check_contract

from ..conftest import Registers

INSTALLED = Plugins()
FILE = """\
receivers: {{replay: }}
processors:
  map_cleanup: {{cleanup_strategy: keep_recent}}
  map_cleanup/same: {{cleanup_strategy: keep_recent}}
  map_cleanup/other: {{cleanup_strategy: no_cleanup}}
exporters:
  prometheus: {{endpoint: "{first}"}}
  prometheus/b: {{endpoint: "{second}", path: {path}}}
extensions:
  health_check: {{endpoint: "{third}", grpc: {{endpoint: "{fourth}"}}}}
service:
  extensions: [health_check]
  pipelines:
    metrics: {{receivers: [replay], processors: [{processors}], exporters: [prometheus, prometheus/b]}}
"""
FREE = {
    "first": "127.0.0.1:1",
    "second": "127.0.0.1:1",
    "path": "/b",
    "third": "127.0.0.1:1",
    "fourth": "127.0.0.1:2",
    "processors": "map_cleanup, map_cleanup/same",
}


def mistakes(plugins=INSTALLED, text=FILE, **written):
    """What a file is refused with, but for unused components, which are only warnings."""
    try:
        load([InlineSource(text.format(**{**FREE, **written}).encode(), "f")], [], plugins, {})
    except ConfigError as error:
        return [str(mistake) for mistake in error.mistakes]
    return []


def test_components_may_share_a_port_and_request_the_same_cleanup():
    """Each has paths of its own."""
    assert [] == mistakes()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            {"path": "/metrics"},
            'f:8:18: exporters::prometheus/b::endpoint: "/metrics" on "127.0.0.1:1" is taken by exporter "prometheus"; '
            "choose another path or endpoint",
        ),
        (
            {"path": "/health"},
            'f:8:18: exporters::prometheus/b::endpoint: "/health" on "127.0.0.1:1" is taken by the status pages; '
            "choose another path",
        ),
        (
            {"second": "0.0.0.0:1"},
            'f:8:18: exporters::prometheus/b::endpoint: "0.0.0.0:1" and "127.0.0.1:1" of exporter "prometheus" share a '
            "port; write the same endpoint in both, or choose another port",
        ),
        (
            {"fourth": "127.0.0.1:1"},
            'f:10:50: extensions::health_check::grpc::endpoint: "127.0.0.1:1" is taken by exporter "prometheus" for '
            "another protocol; choose another port",
        ),
        (
            {"processors": "map_cleanup, map_cleanup/other"},
            'f:5:3: processors::map_cleanup/other: requests another map cleanup of receiver "replay" than '
            "processors::map_cleanup; use the same settings, or only one of them",
        ),
    ],
    ids=["path", "status page", "address", "protocol", "cleanup"],
)
def test_a_conflict_is_reported_at_the_later_of_two(written, expected):
    """And names the earlier one."""
    assert [expected] == mistakes(**written)


@pytest.mark.parametrize(
    ("endpoint", "path", "expected"),
    [
        ("127.0.0.1:1", "/b", []),
        (
            "127.0.0.1:2",
            "/b",
            [
                'f:11:52: service::reload::endpoint: "127.0.0.1:2" is taken by extension "health_check" for another '
                "protocol; choose another port"
            ],
        ),
        (
            "127.0.0.1:1",
            "/-/reload",
            [
                'f:11:52: service::reload::endpoint: "/-/reload" on "127.0.0.1:1" is taken by exporter "prometheus/b"; '
                "choose another path or endpoint"
            ],
        ),
    ],
    ids=["shared", "protocol", "path"],
)
def test_where_a_reload_is_posted_is_shared_with_http_only(endpoint, path, expected):
    """As two components would."""
    found = mistakes(
        text=FILE.replace("service:\n", f'service:\n  reload: {{{{endpoint: "{endpoint}"}}}}\n'), path=path
    )

    assert [each.split(": ", 1)[1] for each in expected] == [each.split(": ", 1)[1] for each in found]


def test_all_conflicts_are_reported_at_once_and_with_other_mistakes():
    """Each component that has to change is named once."""
    found = mistakes(path="/metrics", fourth="127.0.0.1:1", processors="map_cleanup/other, map_cleanup, nobody")

    assert ["exporters::prometheus/b", "extensions::health_check", "processors::map_cleanup", "service::pipelines"] == (
        sorted("::".join(each.split(": ")[1].split("::")[:2]) for each in found)
    )


def test_what_does_not_run_claims_nothing():
    """An alternative may have the same endpoint."""
    assert [] == mistakes(text=FILE.replace("[prometheus, prometheus/b]", "[prometheus]"), path="/metrics")


HOSTS = ["", "0.0.0.0", "127.0.0.1", "127.0.0.2", "localhost", "[::]", "[::1]", "[0::1]", "[::ffff:127.0.0.1]"]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_addresses_overlap_as_in_the_kernel():
    """Against real sockets; where the machine has IPv6."""
    pairs = list(permutations(HOSTS, 2))
    overlapping = [pair for pair in pairs if Address.parse(f"{pair[0]}:1").overlaps(Address.parse(f"{pair[1]}:1"))]

    assert [pair for pair in pairs if not can_both_listen(*pair)] == overlapping


def can_both_listen(one, other):
    """Whether sockets at both hosts can share a port."""
    with Address.parse(f"{one}:0").listen() as first:
        try:
            Address.parse(f"{other}:{first.getsockname()[1]}").listen().close()
        except SidecarError:
            return False
    return True


ANYWHERE = dict.fromkeys(["first", "second", "third", "fourth"], "127.0.0.1:0")


@pytest.mark.parametrize("path", ["/metrics", "/ready", "/", "/else"])
def test_check_and_the_service_agree(path, monkeypatch):
    """Refused configurations could not have been started, and accepted ones could."""
    refused = mistakes(**{**ANYWHERE, "path": path})
    monkeypatch.setattr("ebpf_sidecar.pipeline.config.load.conflicts", lambda *_: [])
    text = FILE.format(**{**FREE, **ANYWHERE, "path": path})
    service = Service(load([InlineSource(text.encode())], [], INSTALLED, {}))
    started = True
    try:
        service.start()
    except SidecarError:
        started = False
    service.shutdown()

    assert started == (not refused)


class Own(Settings):
    port: str = "127.0.0.1:5"


def exporter(claims):
    """The factory of an exporter with these claims."""
    return Factory(ComponentKind.EXPORTER, "mine", lambda settings, context: None, Own, claims=claims)


PLUGIN_FILE = """\
receivers: {{ebpf: }}
exporters: {{mine: , mine/b: {{port: "127.0.0.1:5"}}}}
service: {{pipelines: {{metrics: {{receivers: [ebpf], exporters: [mine, mine/b]}}}}}}
"""


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        (
            lambda settings: [Listening(settings.port, "", ("port",))],
            'f:2:30: exporters::mine/b::port: "127.0.0.1:5" is',
        ),
        (lambda settings: [Listening(settings.port, "/x", ("port",))], 'f:2:30: exporters::mine/b::port: "/x" on'),
        (lambda settings: [Listening("nonsense")], "f:2:13: exporters::mine: cannot be checked: ValueError: "),
        (lambda settings: {}[settings], "f:2:13: exporters::mine: cannot be checked: "),
    ],
)
def test_plugins_take_part(entries, install, claims, expected):
    """With their own names of settings; and a claim that raises is a mistake in the file's terms."""
    plugins = Plugins([*entries, install("exporter.mine", Registers(exporter(claims)))])
    found = mistakes(plugins, PLUGIN_FILE)

    assert found[0].startswith(expected)


class Page:
    """An exporter that serves a page."""

    def __init__(self, settings, context):
        self._routes = context.routes

    def start(self):
        self._routes.add("127.0.0.1:5", "/mine", lambda request: None)

    def export(self, frames):
        pass


def test_the_contract_requires_claims():
    """So that an author who forgets them notices."""
    page = Factory(ComponentKind.EXPORTER, "page", Page, description="Serves a page")
    with pytest.raises(AssertionError, match=r"\('127.0.0.1:5', '/mine'\).* not among the factory's claims"):
        check_contract(page, {})


def test_the_status_pages_are_those_that_no_component_can_have():
    """All that `RoutesWithStatusPages` adds."""
    service = Service(load([InlineSource(FILE.format(**FREE).encode())], [], INSTALLED, {}))

    assert set(PATHS) == set(service.routes.pages.handlers())
