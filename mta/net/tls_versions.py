"""Which versions of TLS, and which ciphers, a context may use."""

import ssl
import warnings
from collections.abc import Collection
from typing import Final, NamedTuple


class _Version(NamedTuple):
    version: ssl.TLSVersion
    off: ssl.Options
    """What forbids it where a lower and a higher one are allowed."""


VERSIONS: Final = {
    "TLSv1": _Version(ssl.TLSVersion.TLSv1, ssl.OP_NO_TLSv1),
    "TLSv1.1": _Version(ssl.TLSVersion.TLSv1_1, ssl.OP_NO_TLSv1_1),
    "TLSv1.2": _Version(ssl.TLSVersion.TLSv1_2, ssl.OP_NO_TLSv1_2),
    "TLSv1.3": _Version(ssl.TLSVersion.TLSv1_3, ssl.OP_NO_TLSv1_3),
}
"""By name, from the oldest."""


def restrict(context: ssl.SSLContext, allowed: Collection[str], ciphers: str) -> None:
    """Allow these versions alone, and ciphers unless empty; ssl.SSLError, ValueError."""
    versions = [one.version for name, one in VERSIONS.items() if name in allowed]
    if not versions:
        raise ValueError("every version of TLS is forbidden (…tls-allow-…)")
    lowest, highest = min(versions), max(versions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # an operator asked for the old ones
        context.minimum_version, context.maximum_version = lowest, highest
        for one in VERSIONS.values():
            if lowest < one.version < highest and one.version not in versions:
                context.options |= one.off
    if lowest < ssl.TLSVersion.TLSv1_2:
        # OpenSSL speaks the old versions only at the lowest level of security.
        ciphers = f"{ciphers or 'DEFAULT'}:@SECLEVEL=0"
    if ciphers:
        context.set_ciphers(ciphers)
