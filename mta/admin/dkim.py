"""`mta dkim`: keys for operators, the records that publish them, and whether both agree."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import dkim
import dns.exception
import dns.resolver
from dns.nameserver import Do53Nameserver

from mta import address
from mta.admin.check import Checked
from mta.admin.files import load_file
from mta.admin.protocol import Exit
from mta.errors import PetrelError
from mta.net.resolver import server_address
from mta.settings.dkim_kinds import is_selector
from mta.signing.keys import RSA_BITS_MIN, PrivateKey, new_key, read_key

STRING_OCTETS_MAX: Final = 255
"""RFC 1035 §3.3: one string of a TXT record."""
LOOKUP_S: Final = 10.0
MESSAGE_OCTETS_MAX: Final = 200 << 20

Lookup = Callable[[str], list[str]]
"""The TXT records of a name; empty if there are none. PetrelError if DNS does not answer."""


class DkimError(PetrelError):
    """A command that cannot be carried out, and why."""


def generate(selector: str, domain: str, kind: str, file: str) -> Checked:
    """Make a key file only its owner can read; what to configure and what to publish."""
    name = _record_name(selector, domain)
    path = Path(file or f"{selector}.{domain.lower()}.pem").absolute()
    key = new_key(kind)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(key.pem())
    except OSError as error:
        raise DkimError(f"cannot write {path}: {error.strerror}") from None
    algorithm = (
        "\nand, as PowerMTA has no such keys, where it is to sign besides an RSA key:\n\n"
        "    second-dkim-sign yes\n    second-dkim-algorithm ed25519-sha256\n"
        if key.type == "ed25519"
        else ""
    )
    return Checked(
        f"{path} holds a new {key.description} key. Only its owner may read it.\n\n"
        f"Publish in DNS:\n\n{zone_line(name, key.record)}\n\n"
        f"Configure:\n\n    domain-key {selector},{domain.lower()},{path}\n{algorithm}\n"
        f"Then see whether both agree:\n\n    mta dkim check {path} {selector} {domain.lower()}\n",
        Exit.DONE,
    )


def records(config: str) -> Checked:
    """The records for all keys of a configuration file, as lines of a zone file."""
    loaded = load_file(config)
    if loaded.configuration is None:
        raise DkimError(f"{config} has errors; `mta check {config}` names them")
    lines: dict[str, None] = {}
    failed = False
    for one in loaded.configuration.all_domain_keys():
        if "{" in one.path or one.selector == "{selector}":
            lines[f"; {one.place}: one key for each file {one.path}"] = None
            continue
        file = read_key(one.path)
        if file.key is None:
            failed = True
            lines[f"; {one.place}: {one.path}: {file.problem}"] = None
        elif one.is_any:
            lines[f"; {one.place}: in each domain that sends:"] = None
            lines[zone_line(f"{one.selector}._domainkey", file.key.record)] = None
        else:
            lines[zone_line(_record_name(one.selector, one.domain), file.key.record)] = None
    if not lines:
        return Checked(f"; {config} has no domain-key\n", Exit.REFUSED)
    return Checked("".join(f"{line}\n" for line in lines), Exit.REFUSED if failed else Exit.DONE)


def check(file: str, selector: str, domain: str, lookup: Lookup) -> Checked:
    """A key file against its record, or the signatures of a message against theirs."""
    try:
        with Path(file).open("rb") as source:
            octets = source.read(MESSAGE_OCTETS_MAX)
    except OSError as error:
        raise DkimError(f"cannot read {file}: {error.strerror}") from None
    if b"PRIVATE KEY-----" in octets[:4096]:
        return _check_key(file, selector, domain, lookup)
    return _check_message(octets, lookup)


def zone_line(name: str, text: str) -> str:
    """A TXT record in a zone file, its text in strings of a legal length."""
    strings = [text[at : at + STRING_OCTETS_MAX] for at in range(0, len(text), STRING_OCTETS_MAX)]
    if len(strings) == 1:
        return f'{name} IN TXT "{text}"'
    quoted = "\n".join(f'    "{string}"' for string in strings)
    return f"{name} IN TXT (\n{quoted} )"


def name_server(text: str) -> Lookup:
    """Questions to one name server, `IP` or `IP:PORT`; to those of this host if empty."""
    resolver = dns.resolver.Resolver(configure=not text)
    if text:
        try:
            resolver.nameservers = [Do53Nameserver(*server_address(text))]
        except ValueError:
            raise DkimError(f"{text} is no address such as 192.0.2.1 or 192.0.2.1:53") from None
    resolver.lifetime = LOOKUP_S

    def lookup(name: str) -> list[str]:
        try:
            answer = resolver.resolve(name, "TXT", search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except dns.exception.Timeout:
            raise DkimError(f"DNS does not answer about {name}") from None
        except dns.exception.DNSException as error:
            raise DkimError(f"DNS says nothing of use about {name}: {error}") from None
        return [b"".join(row.strings).decode("utf-8", "replace") for row in answer]

    return lookup


def _record_name(selector: str, domain: str) -> str:
    if not is_selector(selector):
        raise DkimError(f"{selector} is no selector: letters, digits, dots and hyphens")
    name = address.ascii_domain(domain)
    if "." not in name:
        hint = "; the selector comes first, then the domain" if "." in selector else ""
        raise DkimError(f"{domain} is no domain{hint}")
    return f"{selector}._domainkey.{name}."


def _check_key(file: str, selector: str, domain: str, lookup: Lookup) -> Checked:
    if not selector or not domain:
        raise DkimError(f"{file} is a key; say its selector and domain after it")
    read = read_key(file)
    if read.key is None:
        return Checked(f"{file}: {read.problem}\n", Exit.REFUSED)
    name = _record_name(selector, domain)
    problems = _compare(read.key, lookup(name))
    lines = [f"{name} {problem}" for problem in problems] or [f"{name} publishes this key"]
    if read.is_open:
        problems.append("open")
        lines.append(f"{file}: others than its owner may read it; chmod 600 {file}")
    if problems and read.key is not None:
        lines += ["what it should say:", zone_line(name, read.key.record)]
    text = "".join(f"{line}\n" for line in (f"{file}: {read.key.description}", *lines))
    return Checked(text, Exit.REFUSED if problems else Exit.DONE)


def _compare(key: PrivateKey, found: list[str]) -> list[str]:
    """What keeps a receiver from verifying with what is published (RFC 6376 §3.6.1)."""
    if not found:
        return ["is not in DNS"]
    if len(found) > 1:
        return [f"has {len(found)} TXT records; receivers may take any of them"]
    tags = {
        name.strip(): re.sub(r"\s", "", value)
        for name, equals, value in (part.partition("=") for part in found[0].split(";"))
        if equals
    }
    if tags.get("v", "DKIM1") != "DKIM1":
        return [f"has v={tags['v']} instead of v=DKIM1"]
    if not tags.get("p"):
        return ["revokes the key: p= is empty"]
    problems = []
    if tags.get("k", "rsa") != key.type:
        problems.append(f"says k={tags.get('k', 'rsa')}, and the key is {key.description}")
    elif tags["p"] != key.public:
        problems.append("publishes another key")
    if "h" in tags and "sha256" not in tags["h"].split(":"):
        problems.append(f"allows h={tags['h']} only, not sha256")
    if not {"*", "email"} & set(tags.get("s", "*").split(":")):
        problems.append(f"is for s={tags['s']}, not for mail")
    return problems


def _check_message(octets: bytes, lookup: Lookup) -> Checked:
    """Each signature of a message, verified by dkimpy."""

    def ask(name: bytes | str, timeout: int = 0) -> bytes | None:
        del timeout
        found = lookup(name if isinstance(name, str) else name.decode())
        return found[0].encode() if found else None

    try:
        verifier = dkim.DKIM(octets, minkey=RSA_BITS_MIN)
    except dkim.DKIMException as error:
        raise DkimError(f"this is neither a key in PEM nor a message: {error}") from None
    fields = [value for name, value in verifier.headers if name.lower() == b"dkim-signature"]
    lines = []
    failed = not fields
    for index, value in enumerate(fields):
        try:
            is_good, why = verifier.verify(idx=index, dnsfunc=ask), "the signature does not fit"
        except dkim.DKIMException as error:
            is_good, why = False, str(error)
        failed = failed or not is_good
        lines.append(f"{_tags(value)}: {'pass' if is_good else f'FAIL: {why}'}")
    text = "".join(f"{line}\n" for line in lines or ["the message has no DKIM-Signature"])
    return Checked(text, Exit.REFUSED if failed else Exit.DONE)


def _tags(value: bytes) -> str:
    """`s=… d=… a=…` of a DKIM-Signature field."""
    text = re.sub(r"\s", "", value.decode("utf-8", "replace"))
    given = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    return " ".join(f"{name}={given[name]}" for name in ("s", "d", "i", "a") if name in given)
