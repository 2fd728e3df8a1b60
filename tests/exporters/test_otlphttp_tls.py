# SPDX-License-Identifier: Apache-2.0
"""The exporter ``otlphttp`` and certificates."""

import ssl

import pytest
from otlp_senders import send, sender
from otlp_servers import http_server, make_certificates, metrics_of

from ebpf_sidecar.pipeline import ComponentKind, SendError, SidecarError
from ebpf_sidecar.pipeline.plugins import Plugins
from ebpf_sidecar.pipeline.testing import fake_context, frame


def server_context(certificates, *, mutual=False):
    """What a server with these certificates needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.file("server.pem"), certificates.file("server.key"))
    if mutual:
        context.load_verify_locations(certificates.file("ca.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mtls"])
def test_requests_are_encrypted(certificates, mutual):
    """And the server may ask who we are."""
    tls = certificates.client() if mutual else {"ca_file": certificates.file("ca.pem")}
    with (
        http_server(context=server_context(certificates, mutual=mutual)) as server,
        sender("otlphttp", endpoint=f"https://localhost:{server.port}", tls=tls) as made,
    ):
        send(made, frame("work", [1]))

    assert 1 == len(server.requests)


def test_a_server_whose_certificate_nobody_knows_gets_nothing(certificates):
    """It stays a failure that may pass: certificates are replaced while we run."""
    with (
        http_server(context=server_context(certificates)) as server,
        sender("otlphttp", endpoint=f"https://localhost:{server.port}") as made,
        pytest.raises(SendError, match="CERTIFICATE_VERIFY_FAILED") as raised,
    ):
        send(made, frame("work", [1]))

    assert [] == server.requests
    assert raised.value.retry


def test_the_name_in_the_certificate_may_be_another_one(certificates):
    """Behind a tunnel or an address without a name."""
    files = {"ca_file": certificates.file("ca.pem")}
    with http_server(context=server_context(certificates)) as server:
        with (
            sender("otlphttp", endpoint=f"https://127.0.0.2:{server.port}", tls=files) as made,
            pytest.raises(SendError),
        ):
            send(made, frame("work", [1]))
        named = {**files, "server_name_override": "localhost"}
        with sender("otlphttp", endpoint=f"https://127.0.0.1:{server.port}", tls=named) as made:
            send(made, frame("work", [2]))

    assert [("work", [2])] == metrics_of(server.requests)


def test_new_certificates_are_used_without_a_restart(certificates, tmp_path):
    """Those in use go on to be used while the new ones are half written."""
    authority = tmp_path / "ca.pem"
    authority.write_bytes(certificates.read("ca.pem"))
    with (
        http_server(context=server_context(certificates)) as server,
        sender("otlphttp", endpoint=f"https://localhost:{server.port}", tls={"ca_file": str(authority)}) as made,
    ):
        clock = made._client.clock
        authority.write_text("-----BEGIN CERTIFICATE-----\nhalf")
        clock.advance(61)
        send(made, frame("work", [1]))
        authority.write_bytes(make_certificates(tmp_path / "other").read("ca.pem"))
        clock.advance(61)
        with pytest.raises(SendError, match="CERTIFICATE_VERIFY_FAILED"):
            send(made, frame("work", [2]))
        authority.write_bytes(certificates.read("ca.pem"))
        clock.advance(61)
        send(made, frame("work", [3]))

    assert [("work", [1]), ("work", [3])] == metrics_of(server.requests)


def test_a_certificate_that_is_none_keeps_the_service_from_starting(tmp_path):
    """With what is wrong with it."""
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    with (
        pytest.raises(SidecarError, match="tls: a certificate or key cannot be used"),
        sender("otlphttp", endpoint="https://localhost:4318", tls={"ca_file": str(path)}),
    ):
        pass


def test_what_could_not_start_can_be_shut_down(tmp_path):
    """Certificates that are missing are no reason to fail once more."""
    tls = {"ca_file": str(tmp_path / "ca.pem")}
    factory = Plugins().factory(ComponentKind.EXPORTER, "otlphttp")
    settings = factory.settings(endpoint="https://localhost:4318", tls=tls)
    made = factory.create(settings, fake_context(factory.kind, "otlphttp"))
    with pytest.raises(SidecarError):
        made.start()

    made.shutdown()
