"""The kinds of values directives have: how each is read, printed, and described.

Reading raises ValueError with a sentence that says what was expected. Guide: value types.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import parseaddr
from ipaddress import ip_address, ip_network
from typing import Final, Generic, TypeVar

from mta import address, units
from mta.ids import SHARDS_MAX
from mta.model.header_field import field_name, folded, is_field_name
from mta.model.queue_key import BY_SOURCE_IP
from mta.model.rollup_rule import SUFFIX, RollupRule
from mta.model.route import NO_ROUTE, RouteHost, RouteSpec
from mta.units import UNLIMITED, DataRate, Rate

T = TypeVar("T")
LIST_ITEMS_MAX: Final = 30
"""Intervals in one list. Guide: retry-after."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One kind of value. `syntax` is what a reference page shows for it."""

    syntax: str
    parse: Callable[[str], T]
    print: Callable[[T], str] = str
    is_path: bool = False
    """Whether the value is a file or directory, relative ones to the file they stand in."""
    is_raw: bool = False
    """Whether the value is taken as it is written, quotes and all."""
    is_regex: bool = False
    """Whether a regular expression between slashes may be in the value."""
    shown: Callable[[T], str] | None = None
    """How the value is shown to people, where a part of it is secret."""
    secret_after: int | None = None
    """After how many words of a value its secret part begins, if it has one."""
    is_item: bool = False
    """Whether a value is one of those that the directive it is an old spelling of repeats."""
    names: str = ""
    """What the value is the name of: virtual-mta, smtp-pattern-list, …"""


def first_word(text: str) -> tuple[str, str]:
    """What is before the first blanks or tabs, and what is behind them."""
    word, *rest = text.split(None, 1) or [""]
    return word, rest[0] if rest else ""


_QUOTED = r'"(?:[^"\\]|\\.)*"'
_NEEDLESS = re.compile(r'"([^"\\\s]+)"')
_SEVERAL_QUOTED = re.compile(rf"(?:{_QUOTED}[\s,]+)+{_QUOTED}")


def unquote(text: str) -> str:
    r"""The text between double quotes, `\\"` and `\\\\` undone; other text as it is."""
    if len(text) >= 2 and text[0] == '"' == text[-1]:
        if '"' in text[1:-1] and _SEVERAL_QUOTED.fullmatch(text):
            return text
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    return text


def without_needless_quotes(text: str) -> str:
    """A single word that stands in quotes without them. Guide: they are optional there."""
    if not text.startswith('"'):
        return text
    match = _NEEDLESS.fullmatch(text)
    return match[1] if match else text


def words_of(text: str) -> list[str]:
    """The words of a text, each without needless quotes."""
    return [without_needless_quotes(word) for word in text.split()]


def items_of(text: str) -> list[str]:
    """The items of a list with commas, each without needless quotes."""
    items = (without_needless_quotes(item.strip()) for item in text.split(","))
    return [item for item in items if item]


def quote(text: str) -> str:
    """Text so that it reads back as itself."""
    if text and not re.search(r'[\s"#]', text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _workers(text: str) -> int:
    if text.lower() == "auto":
        return 0
    if not text.isdecimal() or not 1 <= int(text) <= SHARDS_MAX:
        raise ValueError(f"expected auto or a number from 1 to {SHARDS_MAX}")
    return int(text)


def _boolean(text: str) -> bool:
    match text.lower():
        case "yes" | "true":
            return True
        case "no" | "false":
            return False
        case _:
            raise ValueError("expected yes, no, true or false")


def _yes_no(value: bool) -> str:  # noqa: FBT001 - the value printed
    return "yes" if value else "no"


BOOLEAN: Final[Kind[bool]] = Kind("yes | no", _boolean, _yes_no)


def _count(text: str) -> int:
    if text.lower() == "unlimited":
        return UNLIMITED
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ValueError("expected a whole number, or unlimited")
    return int(text)


def _count_or_no_limit(text: str) -> int:
    return _count(text) or UNLIMITED


def _print_count(value: int) -> str:
    return "unlimited" if value == UNLIMITED else str(value)


COUNT: Final[Kind[int]] = Kind("N | unlimited", _count, _print_count)
COUNT_0: Final[Kind[int]] = Kind("N | unlimited (0: unlimited)", _count_or_no_limit, _print_count)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ValueError("expected a whole number")
    return int(text)


NUMBER: Final[Kind[int]] = Kind("N", _whole)


def number(low: int, high: int) -> Kind[int]:
    """Whole numbers from low to high."""

    def parse(text: str) -> int:
        value = _whole(text)
        if not low <= value <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return value

    return Kind(f"{low}..{high}", parse)


INTERVAL: Final[Kind[int]] = Kind(
    "TIME (4d12h, 10m, 300s)", units.parse_interval, units.print_interval
)


def _interval_or_never(text: str) -> int | None:
    return None if text.lower() == "never" else units.parse_interval(text)


def _print_interval_or_never(value: int | None) -> str:
    return "never" if value is None else units.print_interval(value)


INTERVAL_OR_NEVER: Final[Kind[int | None]] = Kind(
    "TIME | never", _interval_or_never, _print_interval_or_never
)


def _interval_list(text: str) -> tuple[int, ...]:
    values = tuple(units.parse_interval(item) for item in items_of(unquote(text)))
    if not 1 <= len(values) <= LIST_ITEMS_MAX:
        raise ValueError(f"expected 1 to {LIST_ITEMS_MAX} intervals such as 10m,30m,1h")
    return values


INTERVAL_LIST: Final[Kind[tuple[int, ...]]] = Kind(
    "TIME[,TIME…]",
    _interval_list,
    lambda values: ",".join(units.print_interval(value) for value in values),
)


def _no_mx(text: str) -> bool | int | None:
    if text.lower() in ("yes", "no", "true", "false"):
        return _boolean(text)
    value = _interval_or_never(text)
    if value == 0:
        raise ValueError("expected yes, no, never or the age of the mail that bounces, such as 4h")
    return value


def _print_no_mx(value: bool | int | None) -> str:  # noqa: FBT001 - the value printed
    return _yes_no(value) if isinstance(value, bool) else _print_interval_or_never(value)


NO_MX: Final[Kind[bool | int | None]] = Kind("yes | no | TIME | never", _no_mx, _print_no_mx)

RATE: Final[Kind[Rate | None]] = Kind(
    "N/TIME (100/h, 20/15m) | unlimited",
    units.parse_rate,
    lambda rate: "unlimited" if rate is None else str(rate),
)


def _per_hour(text: str) -> Rate | None:
    value = _count(text)
    return None if value in (0, UNLIMITED) else Rate(value, 3600)


PER_HOUR: Final[Kind[Rate | None]] = Kind(
    "N", _per_hour, lambda rate: "0" if rate is None else str(rate.limit)
)
DATA_RATE: Final[Kind[DataRate | None]] = Kind(
    "SIZE/TIME (1M/s) | unlimited",
    units.parse_data_rate,
    lambda rate: "unlimited" if rate is None else str(rate),
)


def _size(text: str) -> int:
    return UNLIMITED if text.lower() in ("0", "unlimited") else units.parse_size(text)


def _print_size(value: int) -> str:
    return "unlimited" if value == UNLIMITED else units.print_size(value)


SIZE: Final[Kind[int]] = Kind("SIZE (512K, 10M) | unlimited", _size, _print_size)
OCTETS: Final[Kind[int]] = Kind("SIZE (512K, 10M)", units.parse_size, units.print_size)
MEGABYTES: Final[Kind[int]] = Kind(
    "N (megabytes)", lambda text: _whole(text) << 20, lambda value: str(value >> 20)
)

TEXT: Final[Kind[str]] = Kind("TEXT", unquote, quote)
RULE: Final[Kind[str]] = replace(TEXT, is_regex=True)
RAW: Final[Kind[str]] = Kind("TEXT", lambda text: text, lambda text: text, is_raw=True)


def _hidden(text: str) -> str:
    return "(hidden)" if text else '""'


def _hidden_after_word(text: str) -> str:
    word, rest = first_word(text)
    return f"{word} (hidden)" if rest else quote(word)


SECRET: Final[Kind[str]] = Kind("TEXT", unquote, quote, shown=_hidden, secret_after=0)
"""What is never shown to anybody."""
RAW_SECRET: Final[Kind[str]] = replace(RAW, shown=_hidden, secret_after=0)
KEYED: Final[Kind[str]] = replace(TEXT, shown=_hidden_after_word, secret_after=1)
"""A word, and a key that may follow it."""


def _word(text: str) -> str:
    value = unquote(text)
    if re.search(r"\s", value):
        raise ValueError("expected one word")
    return value


WORD: Final[Kind[str]] = Kind("WORD", _word, quote)
WORKERS: Final[Kind[int]] = Kind("N|auto", _workers, lambda count: str(count or "auto"))
"""0 is auto."""
NAME: Final[Kind[str]] = Kind("NAME", _word, quote)


def name_of(what: str) -> Kind[str]:
    """The name of something that is defined elsewhere."""
    return Kind("NAME", _word, quote, names=what)


def _vmta_or_pool(text: str) -> str:
    value = _word(text)
    if value.lower() == BY_SOURCE_IP:
        raise ValueError(
            "expected a VirtualMTA or pool; only default-virtual-mta, and virtual-mta of a "
            "<domain>, take this"
        )
    return value


VMTA_OR_POOL: Final = replace(name_of("virtual-mta"), parse=_vmta_or_pool)
VMTA_POOL_OR_BY_IP: Final = replace(name_of("virtual-mta"), syntax=f"NAME | {BY_SOURCE_IP}")
REWRITE_LIST: Final = name_of("rewrite-list")


def _host(text: str) -> str:
    value = _word(text)
    # It is said in EHLO and stands in header fields, which are ASCII.
    name = value if value.isascii() else address.ascii_domain(value)
    if value and not address.is_valid_domain(name):
        raise ValueError("expected a host name")
    return name


HOST: Final[Kind[str]] = Kind("HOST", _host, quote)
FILE: Final[Kind[str]] = Kind("FILE", unquote, quote, is_path=True)
DIRECTORY: Final[Kind[str]] = Kind("DIRECTORY", unquote, quote, is_path=True)


_QUOTED_FIRST = re.compile(rf"({_QUOTED})(?:\s+(.*))?")


def _certificate(text: str) -> tuple[str, str]:
    """File and password of `FILE [PASSWORD]`, the file in quotes if it has blanks."""
    if not text.startswith('"'):
        file, password = first_word(text)
        return file, unquote(password.strip())
    quoted = _QUOTED_FIRST.fullmatch(text)
    if quoted is None:
        raise ValueError("expected FILE [PASSWORD]")
    return unquote(quoted[1]), unquote((quoted[2] or "").strip())


def _print_certificate(value: tuple[str, str]) -> str:
    return " ".join(map(quote, value if value[1] else value[:1]))


def _show_certificate(value: tuple[str, str]) -> str:
    return f"{quote(value[0])} (hidden)" if value[1] else quote(value[0])


CERTIFICATE: Final[Kind[tuple[str, str]]] = Kind(
    "FILE [PASSWORD]",
    _certificate,
    _print_certificate,
    shown=_show_certificate,
    secret_after=1,
)


def _email(text: str) -> str:
    value = unquote(text)
    if value and not address.is_valid(value):
        raise ValueError("expected an address such as postmaster@example.com")
    return value


EMAIL: Final[Kind[str]] = Kind("ADDRESS", _email, quote)


def parse_cidr(text: str) -> str:
    """`10/8`, `0/0`, `192.0.2.1` as a full network or address; ValueError otherwise."""
    head, slash, bits = text.partition("/")
    if slash and ":" not in head and head.count(".") < 3:
        head += ".0" * (3 - head.count("."))
    try:
        return str(ip_network(f"{head}/{bits}", strict=False)) if slash else str(ip_address(head))
    except ValueError:
        raise ValueError("expected an address or network such as 192.0.2.1, 10.1/16, 0/0") from None


CIDR: Final[Kind[str]] = Kind("IP | IP/BITS", lambda text: parse_cidr(_word(text)))


def _ip(text: str) -> str:
    try:
        return str(ip_address(_word(text).strip("[]")))
    except ValueError:
        raise ValueError("expected an address such as 192.0.2.1") from None


IP: Final[Kind[str]] = Kind("IP", _ip)


def _ip_port(text: str) -> str:
    host, colon, port = _word(text).rpartition(":")
    if (
        colon
        and port.isascii()
        and port.isdigit()
        and not (":" in host and not host.startswith("["))
    ):
        if not 0 < int(port[:6]) < 65536:
            raise ValueError("expected a port from 1 to 65535")
        return f"{_ip(host)}:{int(port)}" if ":" not in _ip(host) else f"[{_ip(host)}]:{int(port)}"
    return _ip(text)


IP_PORT: Final[Kind[str]] = Kind("IP[:PORT]", _ip_port)


def pair(first: Kind[str], second: Kind[T], syntax: str) -> Kind[tuple[str, T]]:
    """Two values with a blank between them."""

    def parse(text: str) -> tuple[str, T]:
        words = text.split(None, 1)
        if len(words) != 2:
            raise ValueError(f"expected {syntax}")
        return first.parse(words[0]), second.parse(without_needless_quotes(words[1]))

    return Kind(syntax, parse, lambda value: f"{value[0]} {second.print(value[1])}")


ANY_SOURCE: Final = "*"
"""In the place of a CIDR: every local address."""


def _any_source(text: str) -> tuple[str, int]:
    return ANY_SOURCE, _count(text)


ANY_SOURCE_COUNT: Final[Kind[tuple[str, int]]] = Kind(
    "N", _any_source, lambda value: _print_count(value[1]), is_item=True
)


def _mx_pattern(text: str) -> str:
    name = _word(text).lower().removesuffix(".")
    if not re.fullmatch(r"[a-z0-9*_.-]+|\[[0-9a-f:.]+\]", name):
        raise ValueError("expected the name of an MX host, such as mx.example.com or *.example.com")
    return name


MX_PATTERN: Final[Kind[str]] = Kind("MX-PATTERN", _mx_pattern)

_IP_HOST: Final = pair(CIDR, HOST, "IP HOST")


def _source_host(text: str) -> tuple[str, str]:
    try:
        return _IP_HOST.parse(text)
    except ValueError:
        turned = " ".join(reversed(text.split()))
        try:
            _IP_HOST.parse(turned)
        except ValueError:
            turned = ""
        if not turned:
            raise
        raise ValueError(f"the address goes first: {turned}") from None


SOURCE_HOST: Final = Kind(_IP_HOST.syntax, _source_host, _IP_HOST.print)


def _source_ip(text: str) -> tuple[str, str]:
    return _ip(text), ""


SOURCE_IP: Final[Kind[tuple[str, str]]] = Kind("IP", _source_ip, lambda value: value[0])


def choice(*values: str) -> Kind[str]:
    """One of some words, in any case."""
    booleans = {"true": "yes", "false": "no"} if {"yes", "no"} <= set(values) else {}

    def parse(text: str) -> str:
        value = unquote(text).lower()
        value = booleans.get(value, value)
        if value not in values:
            raise ValueError(f"expected {', '.join(values[:-1])} or {values[-1]}")
        return value

    return Kind(" | ".join(values), parse)


def _list(text: str) -> tuple[str, ...]:
    return tuple(items_of(unquote(text)))


LIST: Final[Kind[tuple[str, ...]]] = Kind(
    "ITEM[,ITEM…]", _list, lambda values: ",".join(values) or '""'
)


def _emails(text: str) -> tuple[str, ...]:
    return tuple(_email(item) for item in _list(text))


EMAILS: Final[Kind[tuple[str, ...]]] = Kind("ADDRESS[,ADDRESS…]", _emails, ",".join)


def _acct_subset(text: str) -> tuple[str, ...]:
    values = tuple(item.lower() for item in _list(text))
    if set(values) - {"d", "b", "t", "tq", "c"}:
        raise ValueError("expected some of d,b,t,tq,c")
    return values


ACCT_SUBSET: Final[Kind[tuple[str, ...]]] = Kind(
    "d,b,t,tq,c or some of them", _acct_subset, lambda values: ",".join(values) or '""'
)


def _header(text: str) -> str:
    value = unquote(text).rstrip()
    name = field_name(value)
    if not value.isascii():
        raise ValueError(
            "expected ASCII, with encoded words such as =?utf-8?q?J=C3=B6?= (RFC 2047) for what "
            "is none"
        )
    folded(value)
    # RFC 5322 §4.5: a blank before the colon is not to be sent.
    return f"{name}:{value.partition(':')[2]}"


HEADER_FIELD: Final[Kind[str]] = Kind('"Name: value"', _header, quote)


def _sender_field(text: str) -> str:
    value = unquote(text)
    if not value.isascii():
        local, _, domain = parseaddr(_VARIABLE.sub("x", value))[1].rpartition("@")
        if not (local and local.isascii() and address.ascii_domain(domain)):
            raise ValueError(
                "expected a name and an address such as Jörg <bounces@example.com>, in ASCII "
                "before the @"
            )
    return value


_VARIABLE = re.compile(r"\$(?:\{\w*\}|\w+)")
SENDER_FIELD: Final[Kind[str]] = Kind("TEXT", _sender_field, quote)


def _field_name_or_none(text: str) -> str:
    value = _word(text).removesuffix(":")
    if value and not is_field_name(value):
        raise ValueError("expected the name of a header field such as X-Campaign")
    return value


FIELD_NAME: Final[Kind[str]] = Kind("NAME", _field_name_or_none, quote)

_ROUTE_ITEM = re.compile(
    r"(?P<lookup>lookup-mx:)?"
    r"(?:\[(?P<literal>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d+))?",
    re.IGNORECASE,
)


def _route(text: str) -> RouteSpec:
    value = unquote(text)
    groups = []
    for group in value.split(";"):
        hosts = tuple(_route_host(item) for item in items_of(group))
        if hosts:
            groups.append(hosts)
    return RouteSpec(tuple(groups)) if groups else NO_ROUTE


def _route_host(text: str) -> RouteHost:
    match = _ROUTE_ITEM.fullmatch(text)
    if match is None:
        raise ValueError("expected hosts such as mx.example.com, [192.0.2.1]:2525, lookup-mx:a.com")
    name = match["literal"] or match["host"]
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 65536:
        raise ValueError("expected a port from 1 to 65535")
    if match["literal"]:
        return RouteHost(f"[{_ip(name.removeprefix('IPv6:'))}]", port)
    if not address.is_valid_domain(name):
        raise ValueError("expected host names such as mx.example.com with a comma between them")
    return RouteHost(name.lower(), port, bool(match["lookup"]))


def _print_route(route: RouteSpec) -> str:
    return ";".join(",".join(_print_route_host(h) for h in group) for group in route.groups) or '""'


def _print_route_host(host: RouteHost) -> str:
    port = f":{host.port}" if host.port is not None else ""
    return f"{'lookup-mx:' if host.lookup_mx else ''}{host.name}{port}"


ROUTE: Final[Kind[RouteSpec]] = Kind("HOST[:PORT][,HOST…][;HOST…]", _route, _print_route)


def _queue_name(text: str) -> str:
    value = _word(text).lower().removesuffix(".")
    if value and not value.startswith("{") and not address.is_valid_domain(value):
        raise ValueError("expected a domain such as hotmail.queue")
    return address.domain_name(value)


QUEUE_NAME: Final[Kind[str]] = Kind("DOMAIN", _queue_name, quote)


def _rollup_rule(text: str) -> RollupRule:
    words = [unquote(word).lower() for word in text.split()]
    if len(words) not in (2, 3) or words[2:] not in ([], ["rollup-by-ip"]):
        raise ValueError("expected MX-PATTERN NAME.rollup [rollup-by-ip]")
    pattern, queue = words[:2]
    if not queue.endswith(SUFFIX) or not address.is_valid_domain(queue):
        raise ValueError(f'expected the name of a queue that ends in "{SUFFIX}"')
    host = pattern.removesuffix(".")
    if not address.is_valid_domain(host.removeprefix("*").removeprefix(".") or "a"):
        raise ValueError("expected a mail host such as mx1.example.com or *.example.com")
    if "*" in host[1:] or (host.startswith("*") and host[1:2] not in ("", ".")):
        raise ValueError("a wildcard stands for whole labels at the beginning: *.example.com")
    rule = RollupRule(host, queue, bool(words[2:]))
    if rule.by_ip and not rule.is_wildcard:
        raise ValueError("rollup-by-ip goes with a wildcard such as *.example.com")
    return rule


def _print_rollup_rule(rule: RollupRule) -> str:
    return f"{rule.pattern} {rule.queue}{' rollup-by-ip' if rule.by_ip else ''}"


ROLLUP_RULE: Final[Kind[RollupRule]] = Kind(
    "MX-PATTERN NAME.rollup [rollup-by-ip]", _rollup_rule, _print_rollup_rule
)


def _daily_limits(text: str) -> tuple[int, ...]:
    values = []
    for item in items_of(unquote(text)):
        match = re.fullmatch(r"(\d{1,15})\s*/\s*d(?:ay)?", item, re.IGNORECASE)
        if match is None:
            raise ValueError("expected messages a day such as 100/day or 1/d,2/d,3/d")
        values.append(int(match[1]))
    if not values:
        raise ValueError("expected messages a day such as 100/day or 1/d,2/d,3/d")
    return tuple(values)


DAILY_LIMITS: Final[Kind[tuple[int, ...]]] = Kind(
    "N/day[,N/day…]", _daily_limits, lambda values: ",".join(f"{value}/d" for value in values)
)
