"""`mta resolve`: what the DNS says of a domain's mail hosts, and what the first one says.

It asks by itself, so that nothing of what a daemon remembers is in the answer. Where the
configuration says `smtp-hosts`, mail goes there instead, which `explain QUEUE` shows.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
from dns.rdtypes.mxbase import MXBase

from mta.address import domain_name
from mta.admin import local_commands as local
from mta.admin.command import Arguments
from mta.admin.files import load_file
from mta.admin.protocol import Exit
from mta.admin.render import Format, render_nodes
from mta.config.configuration import Configuration
from mta.errors import PetrelError, ResolveError
from mta.model.dns_answer import MxAnswer
from mta.model.host import Host
from mta.model.queue_key import DEFAULT_VMTA, QueueKey
from mta.net.connector import ConnectFailed, connect_over_tcp, open_dialogue
from mta.net.dump import dumped
from mta.net.resolver import server_address
from mta.net.told_smtp import Trace
from mta.routing import hosts
from mta.settings.domain import DomainSettings

if TYPE_CHECKING:
    from mta.admin.tree import Node

QUESTION_S: Final = 5.0
"""How long one server has for one question."""
NOT_AN_ADDRESS: Final = "--server=IP[:PORT]: expected an address such as 192.0.2.1"

Say = Callable[[str], None]


class Found(NamedTuple):
    """A mail host with its addresses."""

    preference: int
    name: str
    ips: tuple[str, ...]


def resolve(a: Arguments, config: str, form: Format, out: Callable[[str], None]) -> Exit:
    """Ask, tell what was asked and found, and connect if that is wanted.

    Programs hear at the end only, of what was found and of the lines of the connection.
    """
    is_text = form == "text"

    def say(line: str) -> None:
        if is_text:
            out(f"{line}\n")

    configuration = load_file(config).configuration
    domain = domain_name(a[local.RESOLVED])
    names = (a[local.SERVER],) if a[local.SERVER] else _configured(configuration)
    asker = _Asker(_addresses_of(names), a, say)
    settings = (
        DomainSettings()
        if configuration is None
        else configuration.domain(QueueKey(domain, DEFAULT_VMTA))
    )
    status, found = _find(domain, asker, settings)
    say(f"status = {status}")
    nodes: dict[str, Node] = {"status": status}
    is_done = status == "StatusOk"
    if found:
        say("")
        for line in _table(found):
            say(line)
        nodes["host"] = [{"pref": h.preference, "name": h.name, "ip": list(h.ips)} for h in found]
    if a[local.CONNECT] and found:
        said: list[str] = []

        def told(line: str) -> None:
            said.append(line)
            say(line)

        say("")
        helo = a[local.SOURCE_HOST][0] or _host_name(configuration)
        is_done = asyncio.run(_connect(found, helo, a[local.SOURCE_HOST][1], settings, told))
        nodes["line"] = list(said)
    if form != "text":
        out(render_nodes(nodes, form, "", failed=not is_done))
    return Exit.DONE if is_done else Exit.REFUSED


def name_servers(config: str) -> tuple[str, ...]:
    """Those of a configuration, if there is one and it names any; else those of this host."""
    return _configured(load_file(config).configuration)


def _configured(configuration: Configuration | None) -> tuple[str, ...]:
    if configuration is not None and configuration.root.name_server:
        return configuration.root.name_server
    try:
        return tuple(str(one) for one in dns.resolver.Resolver().nameservers)
    except (dns.exception.DNSException, OSError) as error:
        raise PetrelError(f"this host names no name server: {error}") from None


def _addresses_of(names: Sequence[str]) -> list[tuple[str, int]]:
    try:
        return [server_address(name) for name in names]
    except ValueError:
        raise PetrelError(NOT_AN_ADDRESS) from None


def _host_name(configuration: Configuration | None) -> str:
    return configuration.root.host_name if configuration is not None else socket.getfqdn()


class _Asker:
    """Asks one server after another, and says so."""

    def __init__(self, servers: Sequence[tuple[str, int]], a: Arguments, say: Say) -> None:
        self._servers = servers
        self._over_tcp = a[local.TCP]
        self._edns = 0 if a[local.EDNS] else False
        self._dumps = a[local.DUMPPACKETS]
        self._say = say

    def ask(self, name: str, kind: str) -> dns.message.Message:
        """The response; ResolveError if no server has one."""
        try:
            query = dns.message.make_query(name, kind, use_edns=self._edns)
        except dns.exception.DNSException as error:
            raise ResolveError(f"{name}: {error}", permanent=True, status="5.1.2") from None
        over = "TCP" if self._over_tcp else "UDP"
        for ip, port in self._servers:
            self._say(f"Querying {ip} over {over} about {kind} {name}")
            self._dump(query.to_wire())
            try:
                response = self._sent(query, ip, port)
            except (dns.exception.DNSException, OSError, EOFError) as error:
                self._say(f"{ip}: {str(error) or type(error).__name__}")
                continue
            self._say(f"Read response from {ip}")
            self._dump(response.to_wire())
            code = response.rcode()
            if code in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                self._tell(response)
                return response
            self._say(dns.rcode.to_text(code))
        text = f"StatusDnsQueryFailed resolving {name}"
        raise ResolveError(text, permanent=False, status="4.4.3")

    def _sent(self, query: dns.message.Message, ip: str, port: int) -> dns.message.Message:
        if self._over_tcp:
            return dns.query.tcp(query, ip, QUESTION_S, port)
        return dns.query.udp_with_fallback(query, ip, QUESTION_S, port)[0]

    def _dump(self, octets: bytes) -> None:
        if self._dumps:
            for line in dumped(octets):
                self._say(f"    {line}")

    def _tell(self, response: dns.message.Message) -> None:
        if response.rcode() == dns.rcode.NXDOMAIN:
            self._say("no such name")
        elif not response.answer:
            self._say("no answers")
        else:
            self._say(f"answers:     ttl={min(rrset.ttl for rrset in response.answer)}")
            for line in (line for rrset in response.answer for line in str(rrset).split("\n")):
                self._say(f"    {line}")
        self._say("")


def _find(domain: str, asker: _Asker, settings: DomainSettings) -> tuple[str, tuple[Found, ...]]:
    """How it went, in PowerMTA's word or ours, and the hosts, the nearest first."""
    try:
        answer = _mx(asker.ask(domain, "MX"))
        plan = hosts.plan_mx(domain, answer, settings)
        if isinstance(plan, hosts.Failure):
            return plan.text, ()
        preferences = {name: number for number, name in sorted(answer.records, reverse=True)}
        found = tuple(
            Found(preferences.get(host.name, 0), host.name, tuple(_addresses(host.name, asker)))
            for group in plan.groups
            for host in group
        )
    except ResolveError as error:
        return str(error), ()
    return ("StatusOk" if any(h.ips for h in found) else hosts.no_such_domain(domain).text), found


def _mx(response: dns.message.Message) -> MxAnswer:
    if response.rcode() == dns.rcode.NXDOMAIN:
        return MxAnswer((), exists=False)
    records = tuple(
        (one.preference, str(one.exchange).lower().removesuffix("."))
        for rrset in response.answer
        for one in rrset
        if isinstance(one, MXBase) and one.rdtype == dns.rdatatype.MX
    )
    return MxAnswer(records, is_null=[name for _, name in records] == [""])


def _addresses(name: str, asker: _Asker) -> Iterator[str]:
    for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
        response = asker.ask(name, dns.rdatatype.to_text(kind))
        for rrset in response.answer:
            if rrset.rdtype == kind:
                yield from (one.to_text() for one in rrset)


def _table(found: Sequence[Found]) -> Iterator[str]:
    width = max(len("host name"), *(len(host.name) for host in found))
    yield f"pref {'host name':<{width}} IP addresses"
    yield f"---- {'-' * width} -------------------------"
    for host in found:
        yield f"{host.preference:>4} {host.name:<{width}} {' '.join(host.ips)}".rstrip()


async def _connect(
    found: Sequence[Found], helo: str, source_ip: str, settings: DomainSettings, say: Say
) -> bool:
    """Greet the first host that is there. True if one is."""
    for name, ip in ((host.name, ip) for host in found for ip in host.ips):
        if source_ip and (":" in source_ip) != (":" in ip):
            continue
        try:
            dialogue = await open_dialogue(
                Host(name, ip, settings.default_smtp_port),
                source_ip,
                helo,
                settings,
                connect=connect_over_tcp,
                trace=Trace(say),
            )
        except ConnectFailed as error:
            say(error.text)
            continue
        await dialogue.quit()
        return True
    say("no host could be connected to")
    return False
