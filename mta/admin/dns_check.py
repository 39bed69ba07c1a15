"""`mta check --dns`: what the DNS says of source addresses and of DKIM keys.

Receivers look at it before anything else: a source address has a name (PTR) that leads back
to it, so has the EHLO name, whose SPF record, if it has one, covers the address; and the key
in the DNS is the one that signs. Bounded in names and in time; nothing here is an error.
"""

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Final

import dns.exception
import dns.resolver
import dns.reversename

from mta.config.configuration import Configuration
from mta.config.place import Diagnostic, Diagnostics, Place
from mta.model.domain_key import DomainKey
from mta.net.resolver import asker_of
from mta.signing.keys import read_key

ADDRESSES_MAX: Final = 200
KEYS_MAX: Final = 200
AT_ONCE: Final = 20
QUESTION_S: Final = 5.0
WITHIN_S: Final = 60.0
"""How long all of it may take."""
SPF_LOOKUPS_MAX: Final = 10
"""RFC 7208 §4.6.4."""


def check_dns(configuration: Configuration) -> tuple[Diagnostic, ...]:
    """Warnings about source addresses and keys that the DNS does not agree with."""
    return asyncio.run(_DnsCheck(configuration).run())


class _Unanswered(Exception):  # noqa: N818 - no mistake of anybody's
    """No server gave an answer in time."""


class _DnsCheck:
    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._diagnostics = Diagnostics()
        self._resolver = asker_of(configuration.root.name_server, QUESTION_S)
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> tuple[Diagnostic, ...]:
        sources = dict(_sources(self._configuration))
        keys = [key for key in self._configuration.all_domain_keys() if "{" not in key.path]
        start = Place(self._configuration.path, 0)
        for what, most, number in (
            ("source addresses", ADDRESSES_MAX, len(sources)),
            ("keys", KEYS_MAX, len(keys)),
        ):
            if number > most:
                self._diagnostics.note(start, f"--dns looks at the first {most} {what} of {number}")
        chosen = list(sources.items())[:ADDRESSES_MAX]
        try:
            async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as tasks:
                for (ip, helo), place in chosen:
                    tasks.create_task(self._source(ip, helo, place))
                for key in keys[:KEYS_MAX]:
                    tasks.create_task(self._key(key))
        except TimeoutError:
            text = f"the DNS took more than {WITHIN_S:.0f} seconds; some was not looked at"
            self._diagnostics.warning(start, text)
        return self._diagnostics.in_order()

    async def _source(self, ip: str, helo: str, place: Place) -> None:
        warn = self._diagnostics.warning
        async with self._slots:
            try:
                if ip not in (found := await self._addresses(helo)):
                    said = ", ".join(sorted(found)) or "nothing"
                    hint = f"give it an address record of {ip}"
                    warn(place, f"EHLO name {helo} leads to {said}, not to {ip}", hint=hint)
                names = await self._ask(dns.reversename.from_address(ip).to_text(), "PTR")
                names = [name.rstrip(".").lower() for name in names]
                if not names:
                    hint = "whoever gave you the address can set its name"
                    warn(
                        place, f"{ip} has no name (PTR); many receivers refuse such mail", hint=hint
                    )
                elif not any([ip in await self._addresses(name) for name in names]):
                    warn(place, f"{ip} is named {names[0]} (PTR), which does not lead back to it")
                elif helo.lower() not in names:
                    text = f"{ip} is named {names[0]} (PTR), and says EHLO {helo}"
                    self._diagnostics.note(place, text)
                await self._spf(ip, helo, place)
            except _Unanswered as error:
                warn(place, f"the DNS does not answer about {ip}: {error}")

    async def _spf(self, ip: str, helo: str, place: Place) -> None:
        left = [SPF_LOOKUPS_MAX]
        passes = await self._covers(helo, ip, left)
        if passes is False:
            text = f"the SPF record of {helo} does not let {ip} send"
            self._diagnostics.warning(
                place, text, hint=f"add ip{ip_address(ip).version}:{ip} to it"
            )

    async def _covers(self, name: str, ip: str, left: list[int]) -> bool | None:
        """Whether a name's SPF record covers the address; None: no record, or cannot tell."""
        left[0] -= 1
        texts = [text for text in await self._ask(name, "TXT") if text.lower().startswith("v=spf1")]
        if len(texts) != 1 or left[0] < 0:
            return None
        redirect = ""
        for term in texts[0].split()[1:]:
            if term.lower().startswith("redirect="):
                redirect = term[9:]
            elif "=" not in term:
                matches = await self._matches(term.lstrip("+-~?"), name, ip, left)
                if matches is None:
                    return None
                if matches:
                    return term[0] not in "-~?"
        return await self._covers(redirect, ip, left) if redirect else False

    async def _matches(self, term: str, name: str, ip: str, left: list[int]) -> bool | None:
        word, _, value = term.partition(":")
        address = ip_address(ip)
        match word.lower():
            case "all":
                return True
            case "ip4" | "ip6":
                try:
                    return address in ip_network(value, strict=False)
                except ValueError:
                    return None
            case "a":
                return ip in await self._addresses(value or name)
            case "mx":
                hosts = [text.split()[-1] for text in await self._ask(value or name, "MX")]
                return any([ip in await self._addresses(host) for host in hosts[:10]])
            case "include":
                return await self._covers(value, ip, left)
            case _:
                return None

    async def _key(self, key: DomainKey) -> None:
        private = read_key(key.path).key
        if private is None or key.is_any or "{" in key.selector:
            return
        name = f"{key.selector}._domainkey.{key.domain}"
        file, _, line = key.place.rpartition(":")
        place = Place(file, int(line))
        async with self._slots:
            try:
                texts = await self._ask(name, "TXT")
            except _Unanswered as error:
                self._diagnostics.warning(place, f"the DNS does not answer about {name}: {error}")
                return
        tags = [text.replace(" ", "").split(";") for text in texts]
        if not texts:
            text = f"there is no {name} in the DNS: signatures will not be believed"
        elif not any(f"p={private.public}" in one for one in tags):
            text = f"{name} in the DNS is another key than {key.path}: signatures will fail"
        else:
            return
        hint = f"publish the TXT record: {private.record}"
        self._diagnostics.warning(place, text, hint=hint)

    async def _addresses(self, name: str) -> set[str]:
        return {*await self._ask(name, "A"), *await self._ask(name, "AAAA")}

    async def _ask(self, name: str, kind: str) -> list[str]:
        """The answers as texts; none if there is no such name."""
        try:
            answer = await self._resolver.resolve(name, kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise _Unanswered(f"{name} {kind}: {error}") from None
        if kind == "TXT":
            return [b"".join(one.strings).decode("latin-1") for one in answer]
        return [one.to_text() for one in answer]


def _sources(configuration: Configuration) -> Iterator[tuple[tuple[str, str], Place]]:
    """Each public address to send from with its EHLO name, and where it is given."""
    parts = configuration.parts
    for vmta in parts.vmtas.values():
        block = parts.vmta_blocks[vmta.name.lower()]
        given = {}
        for one in (parts.root_block, block):
            for attribute in ("smtp_source_host", "smtp_source_ip"):
                given.update({e.value[0]: e.place for e in one.entries.get(attribute, ())})
        for ip, helo in vmta.smtp_source_host:
            if "/" not in ip and not ip_address(ip).is_loopback:
                yield (ip, helo), given.get(ip, block.place)
