# SPDX-License-Identifier: Apache-2.0
"""The command ``stats``: the ledger of a running service, as a table that closes."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import click

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.config.load import Config, load
from ebpf_sidecar.pipeline.config.locations import config_sources
from ebpf_sidecar.pipeline.endpoint import Address, Listening
from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.text_table import aligned

from .options import print_json, print_stderr

PATH = "/api/v1/stats"
_TIMEOUT_SECONDS = 10.0
_TERMS = (
    ("offered", "offered"),
    ("+ restored", "restored"),
    ("- delivered", "delivered"),
    ("- queued", "queued"),
    ("- in flight", "in_flight"),
)


def stats(files: Sequence[str], overrides: Sequence[str], endpoint: str | None, *, as_json: bool) -> int:
    """Print the ledger of the service at ``endpoint``, by default the one that the configuration opens.

    Returns the exit code: 1 if the ledger does not close. Raises `SidecarError`, and click's error for a wrong
    endpoint.
    """
    ledger = _ledger(_address(endpoint) if endpoint else configured_address(files, overrides))
    if as_json:
        print_json(ledger)
    else:
        click.echo("\n".join(table(ledger)))
    for exporter in ledger["exporters"]:
        if exporter["difference"]:
            message = f"{exporter['difference']} points are unaccounted for, which is a bug; please report it"
            print_stderr(f"exporter {exporter['id']}: ", message, colour="red")
    return 0 if ledger["closes"] else 1


def _address(endpoint: str) -> Address:
    try:
        return Address.parse(endpoint)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--endpoint") from error


def configured_address(files: Sequence[str], overrides: Sequence[str]) -> Address:
    """The first HTTP endpoint that an extension or exporter of a configuration opens. Raises `ConfigError`, and
    `SidecarError` if there is none."""
    for listening in _listening(load(config_sources(files), overrides, Plugins(), os.environ)):
        address = Address.parse(listening.endpoint)
        if listening.path and address.port:
            return address
    raise SidecarError(
        "no extension or exporter of the configuration opens an HTTP endpoint; add the extension health_check, or name "
        "an endpoint with --endpoint"
    )


def _listening(config: Config) -> Iterator[Listening]:
    """What used extensions and exporters listen on."""
    for kind in (ComponentKind.EXTENSION, ComponentKind.EXPORTER):  # those of receivers may ask for certificates
        for id_, configured in getattr(config, kind.section).items():
            if id_ in config.service.used(kind):
                claims = configured.factory.claims(configured.settings)
                yield from (claim for claim in claims if isinstance(claim, Listening))


def _ledger(address: Address) -> dict[str, Any]:
    """The ledger of the service at ``address``. Raises `SidecarError` if none answers there."""
    connection = http.client.HTTPConnection(_reachable(address.host), address.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", PATH)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as cause:
        reason = str(cause) or type(cause).__name__
        raise SidecarError(f'"{address}": {reason}; start the service, or name its endpoint with --endpoint') from cause
    finally:
        connection.close()
    return _section(address, answer.status, body)


def _section(address: Address, status: int, body: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(body)["ledger"]
        if found["closes"] in (True, False) and status == 200:
            return found
    except (ValueError, LookupError, TypeError):
        pass
    raise SidecarError(
        f'"{address}": {PATH} has no ledger (HTTP status {status}); name an endpoint of ebpf-sidecar, such as that of '
        "its exporter prometheus"
    )


def _reachable(host: str) -> str:
    """Where to connect to what listens on ``host``: all addresses include the loopback."""
    try:
        everywhere = not host or ip_address(host).is_unspecified
    except ValueError:
        return host
    return ("::1" if ":" in host else "127.0.0.1") if everywhere else host


def table(ledger: Mapping[str, Any]) -> Iterator[str]:
    """The lines: an account for each exporter, then processors and receivers, then what never became a point."""
    yield from aligned(_accounts(ledger["exporters"]), right=range(1, len(ledger["exporters"]) + 1))
    yield ""
    columns = ("incoming", "outgoing", "made", "removed")
    rows = [
        (each["id"], each["pipeline"], *(each[name] for name in columns), _reasons(each["dropped"]))
        for each in ledger["processors"]
    ]
    if rows:
        yield from aligned([("PROCESSOR", "PIPELINE", *map(str.upper, columns), "DROPPED"), *rows], right=range(2, 6))
        yield ""
    received = [(each["id"], each["accepted"], each["refused"]) for each in ledger["receivers"]]
    yield from aligned([("RECEIVER", "ACCEPTED", "REFUSED"), *received], right=(1, 2))
    yield ""
    yield from aligned(_lost(ledger["lost_in_the_kernel"]))


def _accounts(exporters: Sequence[Mapping[str, Any]]) -> Iterator[list[object]]:
    """A column for each exporter, a line for each term, and the difference."""
    yield ["EXPORTER", *(each["id"] for each in exporters)]
    yield ["pipelines", *(", ".join(each["pipelines"]) for each in exporters)]
    for label, term in _TERMS:
        yield [label, *(each[term] for each in exporters)]
    for outcome in ("dropped", "filtered"):
        for reason in sorted({reason for each in exporters for reason in each[outcome]}):
            yield [f"- {outcome}: {reason}", *(each[outcome].get(reason, 0) for each in exporters)]
    yield ["= difference", *(_difference(each["difference"]) for each in exporters)]


def _difference(points: int) -> str:
    return f"{points} does not close" if points else "0"


def _lost(losses: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, str, int, str]]:
    if not losses:
        yield "lost in the kernel", "", 0, ""
    for receiver, reasons in losses.items():
        yield "lost in the kernel", receiver, sum(reasons.values()), _reasons(reasons)


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)
