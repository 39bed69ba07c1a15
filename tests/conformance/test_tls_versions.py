"""A listener and a queue speak the versions of TLS that their directives allow, and no other."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from mta.errors import TransportError
from mta.net.tls_client import client_context
from mta.net.tls_server import server_context
from mta.net.tls_versions import VERSIONS
from mta.sim.certificate import self_signed
from tests.texts import HEAD, configured, domain


def listener(*lines):
    text = "\n".join(lines)
    section = f"<smtp-listener 127.0.0.1:2525>\n{text}\n</smtp-listener>\n"
    return configured(HEAD + section).listeners[0]


def allowing(prefix, versions):
    return "\n".join(
        f"{prefix}tls-allow-{name.lower()} {'yes' if name in versions else 'no'}"
        for name in VERSIONS
    )


@pytest.fixture(scope="module")
def certificate():
    return self_signed("mx.sender.example").tls_certificate


def spoken(server, client):
    """The version two contexts agree on, or an empty string."""
    ways = [ssl.MemoryBIO() for _ in range(4)]
    ends = [
        (client.wrap_bio(ways[0], ways[1]), ways[1], ways[2]),
        (server.wrap_bio(ways[2], ways[3], server_side=True), ways[3], ways[0]),
    ]
    for _ in range(6):
        for end, out, to in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return ""
            to.write(out.read())
    return ends[0][0].version()


@pytest.mark.parametrize("only", VERSIONS)
@pytest.mark.parametrize(
    "allowed",
    [("TLSv1",), ("TLSv1", "TLSv1.3"), ("TLSv1.1", "TLSv1.2"), ("TLSv1.2", "TLSv1.3")],
)
def test_what_is_allowed_is_spoken_and_nothing_else(allowed, only, certificate):
    server = server_context(listener(f"tls-certificate {certificate}", allowing("", allowed)))
    text = f"<domain *>\n{allowing('smtp-', [only])}\n</domain>"
    assert spoken(server, client_context(domain(text, "x.example"))) == (
        only if only in allowed else ""
    )


def test_a_listener_whose_tls_cannot_be_had_is_no_listener(certificate, tmp_path):
    for lines in (
        [allowing("", [])],
        ["tls-ciphers NO-SUCH-CIPHER"],
        [f"tls-ca-file {tmp_path}/none.pem"],
    ):
        with pytest.raises(TransportError):
            server_context(listener(f"tls-certificate {certificate}", *lines))


def test_for_the_password_of_the_key_of_a_listener_nobody_is_asked(certificate, tmp_path):
    octets = Path(certificate).read_bytes()
    key = serialization.load_pem_private_key(octets, None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"right"),
        )
        + octets[octets.index(b"-----BEGIN CERT") :].partition(b"-----BEGIN PRIVATE")[0]
    )
    assert server_context(listener(f"tls-certificate {locked} right")) is not None
    for wrong in ("", "wrong", 2000 * "x"):
        with pytest.raises(TransportError):
            server_context(listener(f"tls-certificate {locked} {wrong}"))
