"""TLS towards other servers: opportunistic, so certificates are not verified (RFC 7435)."""

import ssl
from functools import lru_cache
from typing import Protocol


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


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for STARTTLS; ssl.SSLError if the cipher string is none."""
    allowed = (
        settings.smtp_tls_allow_tlsv1,
        settings.smtp_tls_allow_tlsv1_1,
        settings.smtp_tls_allow_tlsv1_2,
        settings.smtp_tls_allow_tlsv1_3,
    )
    return _context(allowed, settings.smtp_tls_ciphers)


_VERSIONS = (
    ssl.TLSVersion.TLSv1_2,  # older ones are below what the TLS library speaks by default
    ssl.TLSVersion.TLSv1_2,
    ssl.TLSVersion.TLSv1_2,
    ssl.TLSVersion.TLSv1_3,
)


@lru_cache(256)
def _context(allowed: tuple[bool, ...], ciphers: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    versions = [
        version for version, is_allowed in zip(_VERSIONS, allowed, strict=True) if is_allowed
    ]
    if versions:
        context.minimum_version, context.maximum_version = min(versions), max(versions)
    if ciphers:
        context.set_ciphers(ciphers)
    return context
