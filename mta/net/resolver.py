"""DNS for delivery: dnspython asks, we remember.

Answers live as long as their TTL says, within bounds; that a name does not exist is
remembered, too. A name is asked for once however many wait for it. When no server
answers, what was known an hour ago is better than nothing (RFC 8767).
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import ip_address
from typing import Final, Protocol, TypeVar

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdatatype
import dns.resolver
from dns.nameserver import Do53Nameserver
from dns.rdtypes.mxbase import MXBase
from dns.rdtypes.nsbase import NSBase
from dns.rdtypes.txtbase import TXTBase

from mta import clock
from mta.address import domain_name
from mta.errors import ResolveError
from mta.model.dns_answer import MxAnswer
from mta.net.lasting import Lasting

T = TypeVar("T")

TTL_MIN_S: Final = 5
TTL_MAX_S: Final = 86400
NEGATIVE_TTL_S: Final = 300
"""RFC 2308 §5 allows up to three hours; senders correct their mistakes sooner."""
STALE_S: Final = 3600
NAMES_MAX: Final = 50_000
DNS_PORT: Final = 53
LIFETIME_S: Final = 15.0
"""How long one question may take, all servers tried."""
RESOLV_CONF: Final = "/etc/resolv.conf"
LOOK_AGAIN_S: Final = 5.0
"""How often it is looked at whether that file is another, when there is something to ask."""


class Asker(Protocol):
    """What of dnspython's resolver we depend on."""

    async def resolve(
        self, qname: dns.name.Name, rdtype: str, *, search: bool
    ) -> dns.resolver.Answer: ...


class Resolver:
    """The resolver of one shard."""

    def __init__(
        self,
        servers: tuple[str, ...] = (),
        now: Callable[[], float] = clock.now,
        configured: "Callable[[tuple[str, ...]], Asker] | None" = None,
        resolv_conf: str = RESOLV_CONF,
    ) -> None:
        """`servers` are `ip` or `ip:port`; none: those that `resolv_conf` names at the time."""
        self._now = now
        self._configured = configured or partial(asker_of, resolv_conf=resolv_conf)
        self._dns: Asker | None = None
        self._servers = servers
        self._system = _SystemFile("" if servers or configured else resolv_conf)
        self._known: Lasting[tuple[str, str], object] = Lasting(NAMES_MAX)
        self._asking: dict[tuple[str, str], asyncio.Task[object]] = {}

    @property
    def names_cached(self) -> int:
        return len(self._known)

    @property
    def names_pending(self) -> int:
        return len(self._asking)

    def clear(self, domain: str) -> None:
        """Forget a domain, or everything for `*`."""
        name = domain.lower().removesuffix(".")
        self._known.forget(lambda key: domain == "*" or key[0] == name)

    async def mx(self, domain: str) -> MxAnswer:
        """The MX records of a domain; ResolveError if no server answers."""
        answer = await self._remembered(domain, "MX", self._ask_mx)
        assert isinstance(answer, MxAnswer)
        return answer

    def mx_known_until(self, domain: str) -> float:
        """Until when the answer of `mx` may be relied on, epoch seconds; 0 if there is none."""
        return self._known.until((domain.lower().removesuffix("."), "MX")) or 0.0

    async def addresses(self, host: str) -> tuple[str, ...]:
        """The addresses of a host, IPv4 first.

        ResolveError: permanent if there are none, else no server answered.
        """
        found = await self._remembered(host, "A", self._ask_addresses)
        assert isinstance(found, tuple)
        if not found:
            raise ResolveError(f"{host} has no address", permanent=True, status="5.4.4")
        return found

    def known_addresses(self, host: str) -> tuple[str, ...]:
        """Those that a host has, or had within the last hour, without a question; or none."""
        found = self._known.find((host.lower().removesuffix("."), "A"), self._now() - STALE_S)
        assert found is None or isinstance(found, tuple)
        return found or ()

    async def records(self, name: str, kind: str) -> tuple[str, ...]:
        """What there is of a kind (A, AAAA, MX, PTR, TXT), as text; empty if there is nothing.

        ResolveError if no server answers.
        """

        async def ask(name: str) -> tuple[object, float]:
            answer = await self._query(name, kind)
            if isinstance(answer, bool):
                return (), self._now() + NEGATIVE_TTL_S
            return tuple(filter(None, map(_text, answer))), self._until(answer)

        found = await self._remembered(name, f"{kind} records", ask)
        assert isinstance(found, tuple)
        return found

    async def _remembered(
        self, name: str, kind: str, ask: Callable[[str], Awaitable[tuple[object, float]]]
    ) -> object:
        key = (name.lower().removesuffix("."), kind)
        known = self._known.find(key, self._now())
        if known is not None:
            return known
        stale = self._known.find(key, self._now() - STALE_S)
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(key, ask))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        try:
            return await asyncio.shield(task)
        except ResolveError:
            # That there was nothing is no news to bounce mail on.
            if stale and getattr(stale, "exists", True):
                return stale
            raise

    async def _ask(
        self, key: tuple[str, str], ask: Callable[[str], Awaitable[tuple[object, float]]]
    ) -> object:
        value, until = await ask(key[0])
        self._known.keep(key, value, until)
        return value

    async def _ask_mx(self, domain: str) -> tuple[MxAnswer, float]:
        answer = await self._query(domain, "MX")
        if isinstance(answer, bool):
            return MxAnswer((), exists=answer), self._now() + NEGATIVE_TTL_S
        records = tuple(
            (record.preference, record.exchange.to_text().lower().removesuffix("."))
            for record in answer
        )
        is_null = len(records) == 1 and records[0][1] in ("", ".")
        is_authentic = _is_authentic(answer)
        found = MxAnswer(() if is_null else records, is_null=is_null, is_authentic=is_authentic)
        return found, self._until(answer)

    async def _ask_addresses(self, host: str) -> tuple[tuple[str, ...], float]:
        found: list[str] = []
        untils = []
        failure: ResolveError | None = None
        for kind in ("A", "AAAA"):
            try:
                answer = await self._query(host, kind)
            except ResolveError as error:
                failure = error
                continue
            if not isinstance(answer, bool):
                found += [record.address for record in answer]
                untils.append(self._until(answer))
            elif not answer:
                break
        if not found and failure is not None:
            raise failure
        if failure is not None:  # half of an answer: not for long
            untils.append(self._now() + TTL_MIN_S)
        return tuple(found), min(untils, default=self._now() + NEGATIVE_TTL_S)

    def _until(self, answer: dns.resolver.Answer) -> float:
        """By the shortest TTL on the way, that of an alias (CNAME) included."""
        ttl = answer.chaining_result.minimum_ttl if answer.rrset is not None else TTL_MIN_S
        return self._now() + min(max(ttl, TTL_MIN_S), TTL_MAX_S)

    async def _query(self, name: str, kind: str) -> "dns.resolver.Answer | bool":
        """The answer; True if there are no such records, False if there is no such name."""
        try:
            # Names are absolute: a search list must not make one domain another.
            absolute = dns.name.from_text(domain_name(name))
            return await self._asker().resolve(absolute, kind, search=False)
        except dns.resolver.NXDOMAIN:
            return False
        except dns.resolver.NoAnswer as error:
            if _is_referral(error.kwargs.get("response")):
                text = f"StatusDnsQueryFailed resolving {name}: the server refers to others"
                raise ResolveError(text, permanent=False, status="4.4.3") from error
            return True
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel) as error:
            raise ResolveError(f"{name} is no name", permanent=True, status="5.1.2") from error
        except (dns.exception.DNSException, OSError) as error:
            text = f"StatusDnsQueryFailed resolving {name}"
            raise ResolveError(text, permanent=False, status="4.4.3") from error

    def _asker(self) -> Asker:
        """Who is asked. A file that names no server, or is not there, takes away none we have."""
        if self._system.is_another(self._now()) or self._dns is None:
            try:
                self._dns = self._configured(self._servers)
            except (dns.exception.DNSException, OSError, ValueError) as error:
                if self._dns is None:
                    text = f"StatusDnsQueryFailed: no name server: {error}"
                    raise ResolveError(text, permanent=False, status="4.4.3") from error
        return self._dns


class _SystemFile:
    """Whether the file that names the servers of the system is another than it was."""

    def __init__(self, path: str) -> None:
        """Without a path there is none, and it is never another."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._look_at = 0.0

    def is_another(self, now: float) -> bool:
        """To be asked before each question; the file is looked at now and then."""
        if not self._path or self._look_at - LOOK_AGAIN_S <= now < self._look_at:
            return False
        self._look_at = now + LOOK_AGAIN_S
        try:
            found = os.stat(self._path)  # noqa: PTH116 - a str
        except OSError:
            return False  # It is being replaced.
        before, self._seen = self._seen, (found.st_ino, found.st_mtime_ns, found.st_size)
        return self._seen != before


def _is_authentic(answer: dns.resolver.Answer) -> bool:
    """Whether a validating resolver says so, and nobody on the way could have (RFC 4035 §4.9.3)."""
    if not answer.response.flags & dns.flags.AD or not answer.nameserver:
        return False
    try:
        return ip_address(answer.nameserver).is_loopback
    except ValueError:
        return False


def _is_referral(response: dns.message.Message | None) -> bool:
    """Whether a server that does not look up for us names others instead (RFC 2308 §2.2)."""
    if response is None:
        return False
    kinds = {rrset.rdtype for rrset in response.authority}
    return dns.rdatatype.NS in kinds and dns.rdatatype.SOA not in kinds


def _text(record: dns.rdata.Rdata) -> str:
    """What a record says: an address, a name without its last dot, a text in one piece."""
    if isinstance(record, TXTBase):
        return b"".join(record.strings).decode("ascii", "replace")
    if isinstance(record, MXBase):
        return str(record.exchange).lower().removesuffix(".")
    if isinstance(record, NSBase):
        return str(record.target).lower().removesuffix(".")
    return record.to_text()


def asker_of(
    servers: tuple[str, ...], lifetime: float = LIFETIME_S, resolv_conf: str = RESOLV_CONF
) -> dns.asyncresolver.Resolver:
    """A resolver of dnspython that asks these servers in rotation, or those of the system."""
    resolver = dns.asyncresolver.Resolver(resolv_conf, configure=not servers)
    resolver.lifetime = lifetime
    # RFC 6840 §5.7: whether the answer is authentic is wanted, the signatures are not.
    resolver.flags = dns.flags.RD | dns.flags.AD
    if servers:
        resolver.nameservers = [Do53Nameserver(*server_address(server)) for server in servers]
        resolver.rotate = True
    return resolver


def server_address(text: str) -> tuple[str, int]:
    """The address and port of `IP`, `IP:PORT` or `[IP]:PORT`. ValueError: it is none."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = text, str(DNS_PORT)
    if not 0 < int(port) < 1 << 16:
        raise ValueError(f"{port} is no port")
    return str(ip_address(host.removeprefix("[").removesuffix("]"))), int(port)
