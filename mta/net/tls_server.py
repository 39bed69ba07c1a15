"""The TLS of a listener."""

import ssl
from typing import Protocol

from mta.errors import TransportError

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


class TlsListener(Protocol):
    """What of a listener decides its TLS."""

    @property
    def tls_certificate(self) -> str: ...
    @property
    def tls_password(self) -> str: ...
    @property
    def tls_versions(self) -> tuple[str, ...]: ...
    @property
    def tls_ciphers(self) -> str: ...
    @property
    def tls_ca_file(self) -> str: ...


def server_context(listener: TlsListener) -> ssl.SSLContext | None:
    """The context of a listener; None without a certificate. TransportError if it is bad."""
    if not listener.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(listener.tls_certificate, password=listener.tls_password or None)
        if listener.tls_ciphers:
            context.set_ciphers(listener.tls_ciphers)
    except (OSError, ssl.SSLError) as error:
        raise TransportError(
            f"the certificate {listener.tls_certificate} cannot be used: {error}; it has to be a "
            "PEM file with the certificate and its key"
        ) from error
    if listener.tls_ca_file:
        try:
            context.load_verify_locations(listener.tls_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise TransportError(f"tls-ca-file {listener.tls_ca_file}: {error}") from error
        # A client without a certificate is welcome; one with a bad one is not.
        context.verify_mode = ssl.CERT_OPTIONAL
    versions = [_VERSIONS[name] for name in listener.tls_versions]
    if versions:
        context.minimum_version, context.maximum_version = min(versions), max(versions)
    return context
