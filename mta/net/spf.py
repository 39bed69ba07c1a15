"""SPF (RFC 7208): whether a client may send for a domain.

The libraries there are for it ask DNS by themselves and block; so the evaluation is ours, and
asks our resolver. It is exact about limits: ten mechanisms that ask DNS, ten names of an MX or
PTR, void lookups as configured.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Literal, Protocol

from mta.errors import ResolveError

LOOKUPS_MAX: Final = 10
"""RFC 7208 §4.6.4."""
NAMES_MAX: Final = 10
"""Names of one MX or PTR answer that are looked at. RFC 7208 §4.6.4."""

Result = Literal["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"]
_QUALIFIERS: Final[dict[str, Result]] = {
    "+": "pass", "-": "fail", "~": "softfail", "?": "neutral",
}  # fmt: skip

_TERM = re.compile(r"(?P<qualifier>[+?~-]?)(?P<name>[A-Za-z][A-Za-z0-9._-]*)(?P<rest>[:/].*)?")
_MODIFIER = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_.-]*)=(?P<value>.*)")
_MACRO = re.compile(r"%(?:([%_-])|\{([A-Za-z])(\d*)(r?)([-.+,/_=]*)\})", re.IGNORECASE)
_LETTERS: Final = frozenset("slodipvh")
"""Of macros; c, r and t are for explanations."""
_DUAL_CIDR = re.compile(r"(?P<spec>.*?)(?:/(?P<four>\d+))?(?://(?P<six>\d+))?")
_BITS = re.compile(r"0|[1-9][0-9]{0,2}")
_SAFE = re.compile(r"[^A-Za-z0-9._~-]")


class Dns(Protocol):
    """What is asked. An empty answer is a void lookup; ResolveError if no server answers."""

    async def records(self, name: str, kind: str) -> tuple[str, ...]: ...


class _PermError(Exception):
    """The record cannot be evaluated; the text says why."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The result, and what decided: a mechanism, or what is wrong."""

    result: Result
    reason: str = ""
    is_of_sender: bool = False
    """Whether other senders of the domain may have another result."""


@dataclass(slots=True)
class _Evaluation:
    dns: Dns
    ip: IPv4Address | IPv6Address
    sender: str
    helo: str
    void_lookups_max: int
    lookups: int = 0
    void_lookups: int = 0
    asks_sender: bool = False
    """Whether a record asked for the local part of the sender."""
    trace: list[str] = field(default_factory=list)

    async def check(self, domain: str) -> Checked:
        """check_host() of RFC 7208 §4."""
        if not _is_name(domain):
            return Checked("none", f"{domain[:64]} is no name")
        record = await self._record(domain)
        if record is None:
            return Checked("none", f"{domain} has no SPF record")
        mechanisms, redirect = _parsed(record)
        for qualifier, name, rest in mechanisms:
            if await self._matches(name, rest, domain):
                return Checked(_QUALIFIERS[qualifier], f"{name}{rest} of {domain}")
        if redirect is not None:
            self._count()
            target = await self._expanded(redirect, domain)
            found = await self.check(target)
            if found.result == "none":
                raise _PermError(f"redirect={target} has no SPF record")
            return found
        return Checked("neutral", f"{domain} says nothing of this client")

    async def _record(self, domain: str) -> str | None:
        texts = await self.dns.records(domain, "TXT")
        self.trace.append(f"TXT {domain}: {len(texts)} strings")
        records = [t for t in texts if t.lower() == "v=spf1" or t.lower().startswith("v=spf1 ")]
        if len(records) > 1:
            raise _PermError(f"{domain} has {len(records)} SPF records")
        return records[0] if records else None

    async def _matches(self, name: str, rest: str, domain: str) -> bool:
        match name:
            case "all":
                return True
            case "ip4" | "ip6":
                return self.ip in ip_network(rest[1:], strict=False)
            case "include":
                self._count()
                return await self._includes(await self._expanded(rest[1:], domain))
            case "a" | "mx":
                self._count()
                spec, four, six = _dual_cidr(rest)
                target = await self._expanded(spec, domain) if spec else domain
                return await self._is_host(name, target, four, six)
            case "exists":
                self._count()
                target = await self._expanded(rest[1:], domain)
                return bool(await self._hosts(target, "A"))
            case _:
                self._count()
                target = await self._expanded(rest[1:], domain) if rest else domain
                return await self._is_named(target)

    async def _includes(self, target: str) -> bool:
        found = await self.check(target)
        if found.result == "none":
            raise _PermError(f"include:{target} has no SPF record")
        return found.result == "pass"

    async def _is_host(self, name: str, target: str, four: int, six: int) -> bool:
        hosts: tuple[str, ...] = (target,)
        if name == "mx":
            hosts = await self._hosts(target, "MX")
            if len(hosts) > NAMES_MAX:
                raise _PermError(f"{target} has more than {NAMES_MAX} mail exchangers")
        kind = "A" if self.ip.version == 4 else "AAAA"
        bits = four if self.ip.version == 4 else six
        for host in hosts:
            for found in await self._hosts(host, kind):
                if self.ip in ip_network(f"{found}/{bits}", strict=False):
                    return True
        return False

    async def _is_named(self, target: str) -> bool:
        """`ptr`, which nobody should use and some do. RFC 7208 §5.5."""
        suffix = f".{target.lower()}"
        return any(f".{name}".endswith(suffix) for name in await self._confirmed_names())

    async def _confirmed_names(self) -> list[str]:
        kind = "A" if self.ip.version == 4 else "AAAA"
        try:
            names = await self.dns.records(self.ip.reverse_pointer, "PTR")
        except ResolveError:
            return []
        self._note("PTR", str(self.ip), names)
        found = []
        for name in names[:NAMES_MAX]:
            try:
                if any(ip_address(one) == self.ip for one in await self.dns.records(name, kind)):
                    found.append(name.lower().removesuffix("."))
            except ResolveError:
                continue
        return found

    async def _hosts(self, name: str, kind: str) -> tuple[str, ...]:
        if not _is_name(name):
            return ()
        found = await self.dns.records(name, kind)
        self._note(kind, name, found)
        return found

    def _note(self, kind: str, name: str, found: tuple[str, ...]) -> None:
        self.trace.append(f"{kind} {name}: {', '.join(found) or 'nothing'}")
        if not found:
            self.void_lookups += 1
            if self.void_lookups > self.void_lookups_max:
                raise _PermError(f"more than {self.void_lookups_max} void lookups")

    def _count(self) -> None:
        self.lookups += 1
        if self.lookups > LOOKUPS_MAX:
            raise _PermError(f"more than {LOOKUPS_MAX} terms that ask DNS")

    async def _expanded(self, spec: str, domain: str) -> str:
        """A domain-spec with its macros replaced. RFC 7208 §7."""
        parts, at = [], 0
        for found in _MACRO.finditer(spec):
            parts.append(spec[at : found.start()])
            at = found.end()
            if found[1]:
                parts.append({"%": "%", "_": " ", "-": "%20"}[found[1]])
                continue
            parts.append(await self._macro(found, domain))
        parts.append(spec[at:])
        name = "".join(parts).removesuffix(".")
        while len(name) > 253 and "." in name:
            name = name.partition(".")[2]
        return name

    async def _macro(self, found: "re.Match[str]", domain: str) -> str:
        letter, digits, reverse, delimiters = found[2], found[3], found[4], found[5]
        self.asks_sender |= letter.lower() in "sl"
        local, _, sender_domain = self.sender.rpartition("@")
        match letter.lower():
            case "s":
                value = self.sender
            case "l":
                value = local
            case "o":
                value = sender_domain
            case "d":
                value = domain
            case "i":
                value = (
                    str(self.ip)
                    if self.ip.version == 4
                    else ".".join(self.ip.exploded.replace(":", ""))
                )
            case "p":
                names = await self._confirmed_names()
                same = [n for n in names if f".{n}".endswith(f".{domain.lower()}")]
                value = (same or names or ["unknown"])[0]
            case "v":
                value = "in-addr" if self.ip.version == 4 else "ip6"
            case _:
                assert letter.lower() == "h"
                value = self.helo
        items = re.split(f"[{re.escape(delimiters or '.')}]", value)
        if reverse:
            items.reverse()
        if digits:
            kept = digits.lstrip("0")
            if not kept:
                raise _PermError(f"macro {found[0][:64]} keeps nothing")
            items = items[-int(kept[:9]) :]
        text = ".".join(items)
        if not letter.isupper():
            return text
        return _SAFE.sub(lambda m: "".join(f"%{o:02X}" for o in m[0].encode()), text)


async def check_host(
    dns: Dns,
    *,
    ip: str,
    domain: str,
    sender: str,
    helo: str,
    void_lookups_max: int = 2,
    trace: Callable[[str], None] | None = None,
) -> Checked:
    """The result for a client, the domain it sends for and the sender it gives."""
    address = ip_address(ip)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    evaluation = _Evaluation(dns, address, sender, helo, void_lookups_max)
    try:
        checked = await evaluation.check(domain)
    except ResolveError as error:
        checked = Checked("temperror", str(error))
    except _PermError as error:
        checked = Checked("permerror", str(error))
    finally:
        if trace is not None:
            for line in evaluation.trace:
                trace(line)
    return replace(checked, is_of_sender=True) if evaluation.asks_sender else checked


def _is_name(domain: str) -> bool:
    """Whether it may be asked for: DNS has names that no host may have."""
    return (
        domain.isascii()
        and domain.isprintable()
        and not domain.startswith("[")
        and len(domain) <= 253
        and "." in domain.strip(".")
        and all(0 < len(label) <= 63 for label in domain.removesuffix(".").split("."))
    )


def _parsed(record: str) -> tuple[list[tuple[str, str, str]], str | None]:
    """The mechanisms as (qualifier, name, rest), and `redirect`; a wrong one spoils all."""
    mechanisms: list[tuple[str, str, str]] = []
    modifiers: dict[str, str] = {}
    for term in record.split(" ")[1:]:
        if not term:
            continue
        if found := _MODIFIER.fullmatch(term):
            name = found["name"].lower()
            if name in ("redirect", "exp"):
                if name in modifiers or not found["value"]:
                    raise _PermError(f"{name} is given twice, or without a value")
                _check_spec(found["value"])
            else:
                _check_macros(found["value"])
            modifiers[name] = found["value"]
            continue
        parsed = _TERM.fullmatch(term)
        if parsed is None:
            raise _PermError(f"{term[:64]!a} is no term")
        name, rest = parsed["name"].lower(), parsed["rest"] or ""
        _check_term(name, rest, term)
        mechanisms.append((parsed["qualifier"] or "+", name, rest))
    has_all = any(name == "all" for _, name, _ in mechanisms)
    return mechanisms, None if has_all else modifiers.get("redirect")


def _check_term(name: str, rest: str, term: str) -> None:
    match name:
        case "all" if not rest:
            return None
        case "ip4" | "ip6" if rest.startswith(":"):
            _, slash, bits = rest[1:].partition("/")
            try:
                if slash and not _BITS.fullmatch(bits):
                    raise ValueError(bits)
                network = ip_network(rest[1:], strict=False)
            except ValueError:
                raise _PermError(f"{term[:64]!a} has no network") from None
            if network.version != int(name[2]):
                raise _PermError(f"{term[:64]!a} has no such network")
            return None
        case "include" | "exists" if rest.startswith(":") and len(rest) > 1:
            return _check_spec(rest[1:])
        case "a" | "mx":
            spec, _, _ = _dual_cidr(rest)
            return _check_spec(spec) if spec else None
        case "ptr" if not rest or (rest.startswith(":") and len(rest) > 1):
            return _check_spec(rest[1:]) if rest else None
    raise _PermError(f"{term[:64]!a} is no mechanism")


def _dual_cidr(rest: str) -> tuple[str, int, int]:
    found = _DUAL_CIDR.fullmatch(rest)
    assert found is not None
    for digits in (found["four"], found["six"]):
        if digits and not _BITS.fullmatch(digits):
            raise _PermError(f"{rest[:64]!a} has a prefix that is too long, or begins with 0")
    spec, four, six = found["spec"], int(found["four"] or 32), int(found["six"] or 128)
    if four > 32 or six > 128 or (spec and (not spec.startswith(":") or spec == ":")):
        raise _PermError(f"{rest[:64]!a} is no domain and prefix")
    return spec[1:], four, six


def _check_spec(spec: str) -> None:
    """Macros are well formed, and the end is a name or a macro."""
    _check_macros(spec)
    if not _MACRO.search(spec) and not _is_toplabel(spec):
        raise _PermError(f"{spec[:64]!a} is no domain")
    last = spec.removesuffix(".").rpartition(".")[2]
    if not spec.endswith("}") and not _MACRO.search(last) and not _is_toplabel(f"x.{last}"):
        raise _PermError(f"{spec[:64]!a} does not end in a domain")


def _check_macros(text: str) -> None:
    without = _MACRO.sub("", text)
    letters = {found[2].lower() for found in _MACRO.finditer(text) if found[2]}
    if "%" in without or not all("!" <= c <= "~" for c in without) or not letters <= _LETTERS:
        raise _PermError(f"{text[:64]!a} has a macro nobody knows")


def _is_toplabel(spec: str) -> bool:
    labels = spec.removesuffix(".").split(".")
    last = labels[-1]
    return (
        len(labels) > 1
        and bool(re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?", last))
        and not last.isdigit()
    )
