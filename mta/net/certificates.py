"""Whether a certificate that a peer showed proves its name, by the authorities of the system.

It is asked where TLS was opportunistic, so that the handshake verified nothing but that the
peer has the key. Where `smtp-tls-ca-file` is set the handshake has verified all, against that.
"""

import asyncio
import ssl
import sys
import warnings
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

CHAIN_MAX: Final = 10
"""Certificates looked at of those that a peer shows: what is real has three or four."""
TEXT_MAX: Final = 160


async def doubt(secured: ssl.SSLObject, name: str) -> str:
    """Why the peer's certificate does not prove that it is `name`; empty if it does."""
    if secured.context.verify_mode is ssl.CERT_REQUIRED and secured.context.check_hostname:
        return ""
    # To read all authorities takes twenty milliseconds.
    return await asyncio.to_thread(_doubt, _chain(secured), name)


def _doubt(chain: list[bytes], name: str) -> str:
    store = _authorities()
    if store is None:
        return "the system has no certificates of authorities"
    try:
        leaf, *others = [x509.load_der_x509_certificate(one) for one in chain]
        verifier = PolicyBuilder().store(store).build_server_verifier(_subject(name))
        verifier.verify(leaf, others)
    except (VerificationError, ValueError) as error:
        text = " ".join(str(error).partition(" (encountered")[0].split())
        return f"its certificate does not prove that it is {name}: {text[:TEXT_MAX]}"
    return ""


def _subject(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _chain(secured: ssl.SSLObject) -> list[bytes]:
    """The certificates shown, that of the peer first, as DER."""
    if sys.version_info >= (3, 13):
        return secured.get_unverified_chain()[:CHAIN_MAX]
    # The method is there as of 3.10, but its public name is not.
    shown = secured._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]  # noqa: SLF001
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in shown[:CHAIN_MAX]]


def _authorities() -> Store | None:
    """Those the system trusts, or SSL_CERT_FILE says; read anew when the file changes."""
    file = ssl.get_default_verify_paths().cafile
    return _read(file, Path(file).stat().st_mtime_ns if file else 0)


@lru_cache(1)
def _read(_file: str | None, _changed: int) -> Store | None:
    context = ssl.create_default_context()
    trusted = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for der in context.get_ca_certs(binary_form=True):
            try:
                trusted.append(x509.load_der_x509_certificate(der))
            except ValueError:  # An authority that nobody can read vouches for nobody.
                continue
    return Store(trusted) if trusted else None
