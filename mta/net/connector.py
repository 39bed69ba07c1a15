"""Opening connections to other servers: aiosmtplib negotiates, then our dialogue takes over."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

import aiosmtplib

from mta.errors import TransportError
from mta.model.attempt import Attempt
from mta.model.host import Host
from mta.model.outcome import Stage
from mta.model.reply import Reply
from mta.net.authentication import AuthSettings, AuthUnusableError, authenticate
from mta.net.dialogue import Dialogue, DialogueSettings
from mta.net.dump import DumpedTransport
from mta.net.tls_client import TlsSettings, client_context
from mta.net.told_smtp import ToldSMTP, Trace, tell_greeting, tell_reply, tell_tls
from mta.smtp.extensions import Extensions, ExtensionSettings, PeerLimits
from mta.smtp.reply_parser import TEXT_CHARACTERS_MAX

if TYPE_CHECKING:
    from aiosmtplib.response import SMTPResponse

HANDSHAKE_S = 60
"""How long a peer may take over STARTTLS before it counts as broken, at most."""
FAULT_CHARS_MAX = 200
"""What is shown of something that is no reply; a line of a web server may be long."""
PIX_ASTERISKS_MIN = 10
"""Guide: bounce-upon-pix-transfer-failure. A firewall that stars out a banner shows so many."""

Heeds = Callable[[Reply], bool]
"""Whether a rule of the queue has something to say about a reply."""

Connect = Callable[[Host, str, int], Awaitable[socket.socket]]
"""To a host from a source address within so many seconds; OSError, TimeoutError included."""


class ConnectSettings(AuthSettings, DialogueSettings, ExtensionSettings, TlsSettings, Protocol):
    """What opening a connection depends on among the rules of a queue."""

    @property
    def connect_timeout(self) -> int: ...
    @property
    def smtp_greeting_timeout(self) -> int: ...
    @property
    def use_starttls(self) -> bool: ...
    @property
    def require_starttls(self) -> bool: ...


class ConnectFailed(TransportError):  # noqa: N818 - an outcome rather than an error
    """A host that could not be used: where it failed, by which reply if by one.

    `fault` is what it said that is no reply.
    """

    def __init__(
        self, stage: Stage, reply: Reply | None, text: str, attempt: Attempt, *, fault: str = ""
    ) -> None:
        super().__init__(text)
        self.stage = stage
        self.reply = reply
        self.text = text
        self.attempt = attempt
        self.fault = fault


class _TlsBrokenError(Exception):
    """STARTTLS was offered and did not work; `reply` refused it, if one did."""

    def __init__(self, text: str, reply: Reply | None) -> None:
        super().__init__(text)
        self.reply = reply


async def open_dialogue(
    host: Host,
    source_ip: str,
    helo: str,
    settings: ConnectSettings,
    *,
    connect: Connect,
    trace: Trace | None = None,
    heeds: Heeds = lambda _: False,
) -> Dialogue:
    """Connect from source_ip (empty: any), greet, secure, log in; raises ConnectFailed.

    Where STARTTLS is offered but broken, a second connection goes without, unless
    `require-starttls` forbids, or the refusal is a reply that the queue heeds.
    """
    tls = None
    if settings.use_starttls:
        try:
            tls = client_context(settings)
        except (OSError, ValueError) as error:
            attempt = _attempt(host, source_ip, helo)
            text = f"TLS cannot be used: {error}"
            raise ConnectFailed(Stage.STARTTLS, None, text, attempt) from error
    try:
        return await _open(host, source_ip, helo, settings, connect, trace, tls)
    except _TlsBrokenError as error:
        reply = error.reply
        if settings.require_starttls or (reply is not None and heeds(reply)):
            attempt = _attempt(host, source_ip, helo)
            text = f"STARTTLS failed with {host}: {error}"
            raise ConnectFailed(Stage.STARTTLS, reply, text, attempt) from error
        if trace is not None:
            trace(f"STARTTLS failed with {host}: {error}; in clear text then")
    return await _open(host, source_ip, helo, settings, connect, trace, None)


async def _open(
    host: Host,
    source_ip: str,
    helo: str,
    settings: ConnectSettings,
    connect: Connect,
    trace: Trace | None,
    tls: ssl.SSLContext | None,
) -> Dialogue:
    attempt = _attempt(host, source_ip, helo)
    if trace is not None:
        trace(f"connecting from {helo} ({source_ip or 'any'}) to {host}")
    make = aiosmtplib.SMTP if trace is None else partial(ToldSMTP, trace=trace)
    smtp = make(
        hostname=host.ip,
        port=host.port,
        source_address=(source_ip, 0) if source_ip else None,
        local_hostname=helo,
        start_tls=False,
        timeout=settings.smtp_greeting_timeout,
    )
    stage = Stage.CONNECT
    try:
        sock = await connect(host, source_ip, settings.connect_timeout)
        stage = Stage.GREETING
        if trace is not None:
            local = sock.getsockname()
            trace(f"connected from [{local[0]}]:{local[1]}")
        banner = await smtp.connect(sock=sock, hostname=None, port=None, source_address=None)
        if trace is not None:
            tell_greeting(trace, banner)
        if isinstance(smtp, ToldSMTP):
            smtp.dump_what_comes()
        _drop_unasked(smtp, trace)
        stage = Stage.EHLO
        await _greet(smtp)
        _drop_unasked(smtp, trace)
        is_secure = tls is not None and smtp.supports_extension("starttls")
        if tls is not None and is_secure:
            stage = Stage.STARTTLS
            await _secure(smtp, host, settings, tls, trace)
            _drop_unasked(smtp, trace)
        elif settings.use_starttls and settings.require_starttls:
            text = f"{host} offers no STARTTLS, and require-starttls is set"
            raise ConnectFailed(Stage.STARTTLS, None, text, attempt)
        if settings.auth_username:
            stage = Stage.AUTH
            await authenticate(smtp, settings, is_secure=is_secure)
            if trace is not None:
                trace(f"authenticated as {settings.auth_username}")
    except BaseException as error:
        smtp.close()
        if isinstance(error, AuthUnusableError):
            text = f"cannot authenticate to {host}: {error}"
            raise ConnectFailed(stage, None, text, attempt) from error
        if isinstance(error, aiosmtplib.SMTPException | OSError):
            raise _failure(error, stage, host, attempt) from error
        raise
    is_pix = banner.message.count("*") >= PIX_ASTERISKS_MIN
    return _hand_over(smtp, host, attempt, settings, trace, is_pix=is_pix)


async def connect_over_tcp(host: Host, source_ip: str, within_s: int) -> socket.socket:
    """A connected socket; see `Connect`."""
    family = socket.AF_INET6 if ":" in host.ip else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source_ip:
            # The port is chosen at connect, so one address has all ports for each peer.
            sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT, ip(7)
            sock.bind((source_ip, 0))
        async with asyncio.timeout(within_s):
            await asyncio.get_running_loop().sock_connect(sock, (host.ip, host.port))
    except BaseException:
        sock.close()
        raise
    return sock


async def _greet(smtp: aiosmtplib.SMTP) -> None:
    try:
        await smtp.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if error.code < 500:
            raise
        await smtp.helo()  # RFC 5321 §3.2: an old server


def _drop_unasked(smtp: aiosmtplib.SMTP, trace: Trace | None) -> None:
    """Forget what came right behind a reply: the next command is not answered before it is said.

    aiosmtplib drops what comes between two commands, but not what came with a reply.
    """
    octets = smtp.protocol._buffer if smtp.protocol is not None else None  # noqa: SLF001
    if not octets:
        return
    if trace is not None:
        shown = octets[:FAULT_CHARS_MAX].decode("latin-1").rstrip()
        trace(f"passed over what nobody asked for: {shown!a}")
    del octets[:]


async def _secure(
    smtp: aiosmtplib.SMTP,
    host: Host,
    settings: ConnectSettings,
    tls: ssl.SSLContext,
    trace: Trace | None,
) -> None:
    try:
        if trace is not None:
            trace("<<< STARTTLS")
            if trace.dump is not None:
                trace.dump.sent(b"STARTTLS\r\n")
        response = await smtp.starttls(
            server_hostname=host.name.strip("[]"),
            tls_context=tls,
            timeout=min(settings.smtp_greeting_timeout, HANDSHAKE_S),
        )
        if trace is not None:
            tell_reply(trace, response)
            tell_tls(trace, smtp.transport, is_verified=tls.verify_mode is ssl.CERT_REQUIRED)
        if isinstance(smtp, ToldSMTP):
            smtp.dump_what_comes()
        await _greet(smtp)
    except (aiosmtplib.SMTPException, OSError) as error:
        reply = _reply(error) if isinstance(error, aiosmtplib.SMTPResponseException) else None
        raise _TlsBrokenError(str(reply or error), reply) from error


def _hand_over(
    smtp: aiosmtplib.SMTP,
    host: Host,
    attempt: Attempt,
    settings: ConnectSettings,
    trace: Trace | None,
    *,
    is_pix: bool,
) -> Dialogue:
    transport = cast("asyncio.Transport", smtp.transport)
    keywords = [name.upper() for name in smtp.esmtp_extensions]
    secured = transport.get_extra_info("ssl_object")
    cipher = secured.cipher() if secured is not None else None
    local = transport.get_extra_info("sockname")
    dialogue = Dialogue(
        Attempt(
            helo=attempt.helo,
            source_ip=local[0] if local else attempt.source_ip,
            remote_host=attempt.remote_host,
            remote_ip=attempt.remote_ip,
            esmtp=",".join(keywords),
            tls_protocol=secured.version() or "" if secured is not None else "",
            tls_cipher=cipher[0] if cipher else "",
        ),
        Extensions.of(frozenset(keywords), settings, is_tls=secured is not None),
        settings,
        trace,
        host=host,
        limits=PeerLimits.of(smtp.esmtp_extensions.get("limits", "")),
        secured=secured,
        is_pix=is_pix,
    )
    # The transport is ours now: the negotiator must neither close nor answer it.
    smtp.protocol = None
    smtp.transport = None
    if trace is not None and trace.dump is not None:
        trace.dump.is_secret = False
        transport = cast("asyncio.Transport", DumpedTransport(transport, trace.dump))
    dialogue.adopt(transport)
    return dialogue


def _attempt(host: Host, source_ip: str, helo: str) -> Attempt:
    return Attempt(helo=helo, source_ip=source_ip, remote_host=host.name, remote_ip=host.ip)


def _failure(error: BaseException, stage: Stage, host: Host, attempt: Attempt) -> ConnectFailed:
    if isinstance(error, ConnectFailed):
        return error
    if isinstance(error, aiosmtplib.SMTPResponseException) and 200 <= error.code < 600:
        reply = _reply(error)
        text = f'"{reply}" while connected from {attempt.helo} to {host}'
        return ConnectFailed(stage, reply, text, attempt)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        said = _reply(error)
        fault = "; ".join(said.lines) if said.code < 0 else f"not a reply: {str(said)!r}"
        fault = fault[:FAULT_CHARS_MAX].rstrip()
        text = f"protocol error in connection to {host}: {fault}"
        return ConnectFailed(stage, None, text, attempt, fault=fault)
    name = _error_name(error)
    where = "connecting to" if stage is Stage.CONNECT else "in connection to"
    return ConnectFailed(stage, None, f"{name} {where} {host}", attempt)


def _reply(error: "aiosmtplib.SMTPResponseException | SMTPResponse") -> Reply:
    text = error.message[:TEXT_CHARACTERS_MAX].encode("utf-8", "replace").decode()
    lines = tuple("".join(c if c.isprintable() else " " for c in one) for one in text.split("\n"))
    return Reply(error.code, lines)


def _error_name(error: BaseException) -> str:
    """The system's name of what went wrong, as logs of mail servers have it."""
    if isinstance(error, TimeoutError):
        return "ETIMEDOUT"
    if isinstance(error, OSError) and error.errno:
        return errno.errorcode.get(error.errno, f"error {error.errno}")
    if isinstance(error.__cause__, OSError):
        return _error_name(error.__cause__)
    return "EDISCON"
