"""TLS towards other servers (RFC 3207).

Without `smtp-tls-ca-file` it is opportunistic, so certificates are not verified (RFC 7435);
with it the peer's certificate must lead there and be for the host's name.
"""

import ssl
import warnings
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

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


class _Version(NamedTuple):
    version: ssl.TLSVersion
    off: ssl.Options
    """What forbids it where a lower and a higher one are allowed."""


_VERSIONS = (
    _Version(ssl.TLSVersion.TLSv1, ssl.OP_NO_TLSv1),
    _Version(ssl.TLSVersion.TLSv1_1, ssl.OP_NO_TLSv1_1),
    _Version(ssl.TLSVersion.TLSv1_2, ssl.OP_NO_TLSv1_2),
    _Version(ssl.TLSVersion.TLSv1_3, ssl.OP_NO_TLSv1_3),
)


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for STARTTLS; OSError, ssl.SSLError or ValueError if a directive is of no use."""
    allowed = (
        settings.smtp_tls_allow_tlsv1,
        settings.smtp_tls_allow_tlsv1_1,
        settings.smtp_tls_allow_tlsv1_2,
        settings.smtp_tls_allow_tlsv1_3,
    )
    certificate, password = settings.smtp_client_certificate
    ca_file = settings.smtp_tls_ca_file
    changes = tuple(Path(file).stat().st_mtime_ns if file else 0 for file in (ca_file, certificate))
    return _context(allowed, settings.smtp_tls_ciphers, ca_file, certificate, password, changes)


@lru_cache(CONTEXTS_MAX)
def _context(
    allowed: tuple[bool, ...],
    ciphers: str,
    ca_file: str,
    certificate: str,
    password: str,
    _changes: tuple[int, ...],
) -> ssl.SSLContext:
    versions = [one.version for one, is_on in zip(_VERSIONS, allowed, strict=True) if is_on]
    if not versions:
        raise ValueError("every version of TLS is forbidden (smtp-tls-allow-…)")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        # With None OpenSSL would ask for a password at the terminal.
        context.load_cert_chain(certificate, password=password)
    lowest, highest = min(versions), max(versions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # an operator asked for the old ones
        context.minimum_version, context.maximum_version = lowest, highest
        for one in _VERSIONS:
            if lowest < one.version < highest and one.version not in versions:
                context.options |= one.off
    if lowest < ssl.TLSVersion.TLSv1_2:
        # OpenSSL speaks the old versions only at the lowest level of security.
        ciphers = f"{ciphers or 'DEFAULT'}:@SECLEVEL=0"
    if ciphers:
        context.set_ciphers(ciphers)
    return context
