"""What of TLS towards other servers cannot be used: files and ciphers of `<domain>`.

Found here and not with the first connection. Nothing of it is an error: mail flows on, in
clear text where TLS is not required. So is what keeps a listener from starting, and private
keys that others may read.
"""

import os
import ssl
import stat
from pathlib import Path
from typing import Final

from mta.config.block import Block
from mta.config.configuration import Configuration
from mta.config.place import Diagnostic, Diagnostics, Place
from mta.errors import TransportError
from mta.net.tls_server import server_context

HINT: Final = "until it can be used mail goes in clear text, or waits where TLS is required"

FILE_OCTETS_MAX: Final = 256 << 10
"""A key with a long chain of certificates is a tenth of that."""


def check_tls(configuration: Configuration) -> tuple[Diagnostic, ...]:
    """A warning for each directive that OpenSSL does not take, at its line."""
    diagnostics = Diagnostics()
    parts = configuration.parts
    for index in (parts.domains, *parts.pool_domains.values(), *parts.vmta_domains.values()):
        for block in index:
            _block(block, diagnostics)
    for listener in configuration.listeners:
        try:
            server_context(listener)
        except TransportError as error:
            diagnostics.warning(listener.place, str(error), hint="the daemon does not start so")
        if not listener.tls_password:
            _check_key(listener.tls_certificate, listener.place, diagnostics)
    return diagnostics.in_order()


def _block(block: Block, diagnostics: Diagnostics) -> None:
    values = block.values
    for attribute in ("smtp_tls_ca_file", "smtp_client_certificate", "smtp_tls_ciphers"):
        value = values.get(attribute)
        problem = _problem(attribute, value) if value else ""
        if problem:
            diagnostics.warning(
                block.place_of(attribute) or block.place,
                f"{attribute.replace('_', '-')} {problem}",
                hint=HINT,
            )
    path, password = values.get("smtp_client_certificate", ("", ""))
    if not password:
        place = block.place_of("smtp_client_certificate") or block.place
        _check_key(path, place, diagnostics)


def _check_key(path: str, place: Place, diagnostics: Diagnostics) -> None:
    """A warning if a file with a key in clear is for everybody to read."""
    if not path:
        return
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            octets = file.read(FILE_OCTETS_MAX)
    except OSError:
        return
    is_in_clear = b"PRIVATE KEY-----" in octets and b"ENCRYPTED" not in octets
    if is_in_clear and mode & (stat.S_IRWXG | stat.S_IRWXO):
        diagnostics.warning(
            place,
            f"{path} holds a private key, and others than its owner may read it",
            hint=f"chmod 600 {path}",
        )


def _problem(attribute: str, value: str | tuple[str, str]) -> str:
    """Why OpenSSL does not take a value; empty if it does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    shown = value if isinstance(value, str) else value[0]
    try:
        if isinstance(value, tuple):
            path, password = value
            if not path:
                return ""
            with Path(path).open("rb"):  # OpenSSL does not say which file is not there
                context.load_cert_chain(path, password=password)
        elif attribute == "smtp_tls_ca_file":
            with Path(value).open("rb"):
                context.load_verify_locations(value)
        else:
            context.set_ciphers(value)
    except ssl.SSLError as error:
        return f"{shown} cannot be used: {_reason(error, attribute)}"
    except OSError as error:
        return f"{shown} cannot be read: {error.strerror}"
    return ""


def _reason(error: ssl.SSLError, attribute: str) -> str:
    if attribute == "smtp_tls_ciphers":
        return "no cipher has that name"
    what = "certificate" if attribute == "smtp_tls_ca_file" else "certificate and its key"
    return f"it holds no {what} ({(error.reason or 'unknown format').lower().replace('_', ' ')})"
