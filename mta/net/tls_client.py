"""TLS towards other servers (RFC 3207).

Without `smtp-tls-ca-file` it is opportunistic, so certificates are not verified (RFC 7435);
with it the peer's certificate must lead there and be for the host's name.
"""

import ssl
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from mta.net.tls_versions import VERSIONS, restrict

CONTEXTS_MAX = 256
"""Contexts kept, each for one set of directives: a configuration has a handful."""


class TlsSettings(Protocol):
    """What TLS depends on among the rules of a queue."""

    @property
    def smtp_tls_allow_tlsv1(self) -> bool: ...
    @property
    def smtp_tls_allow_tlsv1_1(self) -> bool: ...
    @property
    def smtp_tls_allow_tlsv1_2(self) -> bool: ...
    @property
    def smtp_tls_allow_tlsv1_3(self) -> bool: ...
    @property
    def smtp_tls_ciphers(self) -> str: ...
    @property
    def smtp_tls_ca_file(self) -> str: ...
    @property
    def smtp_client_certificate(self) -> tuple[str, str]: ...


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for STARTTLS; OSError, ssl.SSLError or ValueError if a directive is of no use."""
    wanted = (
        settings.smtp_tls_allow_tlsv1,
        settings.smtp_tls_allow_tlsv1_1,
        settings.smtp_tls_allow_tlsv1_2,
        settings.smtp_tls_allow_tlsv1_3,
    )
    allowed = tuple(name for name, is_on in zip(VERSIONS, wanted, strict=True) if is_on)
    certificate, password = settings.smtp_client_certificate
    ca_file = settings.smtp_tls_ca_file
    changes = tuple(Path(file).stat().st_mtime_ns if file else 0 for file in (ca_file, certificate))
    return _context(allowed, settings.smtp_tls_ciphers, ca_file, certificate, password, changes)


@lru_cache(CONTEXTS_MAX)
def _context(
    allowed: tuple[str, ...],
    ciphers: str,
    ca_file: str,
    certificate: str,
    password: str,
    _changes: tuple[int, ...],
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        # With None OpenSSL would ask for a password at the terminal.
        context.load_cert_chain(certificate, password=password)
    restrict(context, allowed, ciphers)
    return context
