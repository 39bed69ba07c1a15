"""The TLS of a listener."""

import asyncio
import ssl
from typing import TYPE_CHECKING, Protocol

from mta.errors import TransportError
from mta.net.tls_versions import restrict

if TYPE_CHECKING:
    from asyncio import BaseProtocol, BaseTransport, Transport

    from mta.net.reception import Session


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
    certificate, password = listener.tls_certificate, listener.tls_password
    try:
        # With None OpenSSL would ask for a password at the terminal.
        context.load_cert_chain(certificate, password=password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise TransportError(
            f"the certificate {certificate} cannot be used: {error}; it has to be a "
            "PEM file with the certificate and its key"
        ) from error
    try:
        restrict(context, listener.tls_versions, listener.tls_ciphers)
    except (ssl.SSLError, ValueError) as error:
        raise TransportError(
            f"the TLS of the listener with {certificate} cannot be used: {error}; see "
            "tls-ciphers and tls-allow-…"
        ) from error
    if listener.tls_ca_file:
        try:
            context.load_verify_locations(listener.tls_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise TransportError(f"tls-ca-file {listener.tls_ca_file}: {error}") from error
        # A client without a certificate is welcome; one with a bad one is not.
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def note_tls(session: "Session", transport: "BaseTransport") -> None:
    """Whether a connection is encrypted, and the certificate the client showed."""
    tls = transport.get_extra_info("ssl_object")
    session.is_tls = tls is not None
    session.certificate = (tls.getpeercert(binary_form=True) or b"") if tls is not None else b""


async def start_tls(
    transport: "Transport", protocol: "BaseProtocol", context: ssl.SSLContext
) -> "Transport":
    """The encrypted transport of a connection; ConnectionResetError if there will be none."""
    loop = asyncio.get_running_loop()
    try:
        secured = await loop.start_tls(transport, protocol, context, server_side=True)
    except (OSError, ssl.SSLError) as error:
        raise ConnectionResetError(str(error)) from error
    if secured is None:
        raise ConnectionResetError
    return secured
