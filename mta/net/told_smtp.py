"""The negotiation with a peer, told line by line: greeting, EHLO, STARTTLS, AUTH.

What is said to log in is not told.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import aiosmtplib
from cryptography import x509

from mta.net.dump import HIDDEN, DumpedProtocol

if TYPE_CHECKING:
    from cryptography.x509 import Name

    from mta.net.dump import Dump


SPOKEN = frozenset({b"EHLO", b"HELO", b"QUIT", b"STARTTLS"})
"""Commands that are told in full; all others of a negotiation belong to AUTH."""


class Trace:
    """Takes what is told of one connection: lines, and its octets where a dump is wanted."""

    def __init__(self, say: Callable[[str], None], dump: "Dump | None" = None) -> None:
        self._say = say
        self.dump = dump

    def __call__(self, line: str) -> None:
        self._say(line)


class ToldSMTP(aiosmtplib.SMTP):
    """aiosmtplib's negotiator, with a line for everything said."""

    def __init__(self, *, trace: Trace, **options: Any) -> None:  # noqa: ANN401 - as aiosmtplib takes them
        super().__init__(**options)
        self._trace = trace

    async def execute_command(self, *args: bytes, **options: Any) -> aiosmtplib.SMTPResponse:  # noqa: ANN401
        """As aiosmtplib's."""
        is_secret = args[0].upper() not in SPOKEN
        line = b" ".join(args)
        said = HIDDEN if is_secret else line.decode("ascii", "backslashreplace")
        self._trace(f"<<< {said}")
        dump = self._trace.dump
        if dump is not None:
            dump.is_secret = is_secret
            dump.sent(line + b"\r\n")
        response = await super().execute_command(*args, **options)
        tell_reply(self._trace, response)
        return response

    def dump_what_comes(self) -> None:
        """Dump it from now on, where that is wanted: to be said of each new transport."""
        dump, protocol = self._trace.dump, self.protocol
        if dump is not None and protocol is not None:
            transport = cast("asyncio.Transport", self.transport)
            transport.set_protocol(DumpedProtocol(cast("asyncio.Protocol", protocol), dump))


def tell_greeting(trace: Trace, response: aiosmtplib.SMTPResponse) -> None:
    """The first reply. Its octets are gone; but for blanks at line ends they were these."""
    tell_reply(trace, response)
    if trace.dump is not None:
        *first, last = response.message.split("\n")
        lines = [*(f"{response.code}-{line}" for line in first), f"{response.code} {last}"]
        octets = "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")
        trace.dump.is_secret = False  # as it was left by a host before
        trace.dump.received(octets)


def tell_reply(trace: Trace, response: aiosmtplib.SMTPResponse) -> None:
    """Each line of a reply, as it came."""
    *first, last = response.message.split("\n")
    for line in first:
        trace(f">>> {response.code}-{line}")
    trace(f">>> {response.code} {last}")


def tell_tls(trace: Trace, transport: asyncio.BaseTransport | None, *, is_verified: bool) -> None:
    """Version and cipher, and whose certificate the peer showed."""
    assert transport is not None
    secured = cast("ssl.SSLObject", transport.get_extra_info("ssl_object"))
    trace(tls_line(secured))
    shown = secured.getpeercert(binary_form=True)
    if shown:
        verified = "yes" if is_verified else "no"
        trace(f"tls:Cert: {_names(shown)}; verified={verified}")


def tls_line(secured: ssl.SSLObject) -> str:
    """Such as `tls:TLSv1.3 connected with 256-bit TLS_AES_256_GCM_SHA384`."""
    name, _, bits = secured.cipher() or ("?", "", 0)
    return f"tls:{secured.version()} connected with {bits}-bit {name}"


def _names(certificate: bytes) -> str:
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        return f"{_slashed(parsed.subject)}; issuer={_slashed(parsed.issuer)}"
    except ValueError as error:
        return f"unreadable ({error})"


def _slashed(name: "Name") -> str:
    """As OpenSSL writes names in one line: `/C=US/O=Example`."""
    return "".join(f"/{part.rfc4514_string()}" for part in name.rdns)
