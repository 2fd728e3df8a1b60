# SPDX-License-Identifier: Apache-2.0
"""A server's certificates: read, or refused with the reason before anything listens."""

import ssl

import pytest
from tls_files import CA, FOLDER, MUTUAL, SERVER

from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.tls_settings import ServerTls


def test_old_versions_of_tls_are_refused():
    """1.2 and 1.3 remain."""
    assert ssl.TLSVersion.TLSv1_2 == ServerTls(**SERVER).context().minimum_version


@pytest.mark.parametrize(("settings", "mode"), [(SERVER, ssl.CERT_NONE), (MUTUAL, ssl.CERT_REQUIRED)])
def test_clients_need_a_certificate_where_an_authority_is_given(settings, mode):
    """And nowhere else."""
    assert mode == ServerTls(**settings).context().verify_mode


def test_files_are_read_for_libraries_with_a_tls_of_their_own():
    """As PEM text."""
    read = ServerTls(**MUTUAL).certificates()

    assert (CA.read_bytes(), None) == (read.client_ca, ServerTls(**SERVER).certificates().client_ca)
    assert read.certificate.startswith(b"-----BEGIN CERTIFICATE")
    assert read.key.startswith(b"-----BEGIN PRIVATE KEY")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"cert_file": FOLDER / "missing.pem"}, "no such file or directory"),
        ({"key_file": FOLDER / "client.key"}, "key values mismatch"),
        ({"key_file": CA}, ""),
        ({"key_file": FOLDER / "encrypted.key"}, ""),
        ({"client_ca_file": FOLDER / "missing.pem"}, "no such file or directory"),
        ({"client_ca_file": FOLDER / "server.key"}, ""),
    ],
    ids=["no certificate", "another key", "no key", "encrypted key", "no authority", "authority is a key"],
)
def test_files_that_cannot_be_used_are_named_with_the_reason(settings, reason):
    """Nobody is asked for a passphrase."""
    tls = ServerTls(**{**SERVER, **settings})
    [file] = settings.values()

    for use in (tls.context, tls.certificates):
        with pytest.raises(SidecarError, match=rf'cannot use .*"{file}".*: \S.*; give PEM files') as raised:
            use()
        assert reason in str(raised.value)
