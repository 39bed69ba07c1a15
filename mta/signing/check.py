"""What is wrong with the keys of a configuration and with what it asks of signatures."""

from collections.abc import Iterable, Iterator

from mta.config.block import Block
from mta.config.configuration import Configuration, Parts
from mta.config.patterns import EVERY
from mta.config.place import Diagnostic, Diagnostics, Place
from mta.model.domain_key import DomainKey
from mta.signing.identity import is_within
from mta.signing.keys import KeyFile, read_key
from mta.signing.signature import NEVER_SIGNED

IDENTITIES = ("dkim_identity", "second_dkim_identity", "dkim_identity_fallback",
              "second_dkim_identity_fallback")  # fmt: skip
SHOWN_MAX = 4
KEYS_TRIED_MAX = 1000
"""A key is tried by a signature, which takes a millisecond; of more only the form is looked at."""


def check_signing(configuration: Configuration) -> tuple[Diagnostic, ...]:
    """Warnings about key files and dkim-* directives; nothing here keeps mail from flowing."""
    diagnostics = Diagnostics()
    _keys(configuration, diagnostics)
    has_keys = _has_keys(configuration)
    for block in _domain_blocks(configuration):
        _block(block, diagnostics, has_keys=has_keys)
    if not any(b.values.get("process_x_dkim_options") for b in configuration.parts.sources):
        _identities(configuration, diagnostics)
    return diagnostics.in_order()


def _keys(configuration: Configuration, diagnostics: Diagnostics) -> None:
    read: dict[str, KeyFile] = {}
    for key in configuration.all_domain_keys():
        if "{" in key.path:
            continue
        file = read.get(key.path)
        if file is None:
            file = read[key.path] = read_key(key.path, is_tried=len(read) < KEYS_TRIED_MAX)
        place = _place(key)
        if file.problem:
            diagnostics.warning(
                place,
                f"domain-key {key.path}: {file.problem}",
                hint="nothing is signed with it",
            )
        if file.is_open:
            diagnostics.warning(
                place,
                f"domain-key {key.path}: others than its owner may read it",
                hint=f"chmod 600 {key.path}",
            )


def _domain_blocks(configuration: Configuration) -> Iterator[Block]:
    parts = configuration.parts
    for index in (parts.domains, *parts.pool_domains.values(), *parts.vmta_domains.values()):
        yield from index


def _block(block: Block, diagnostics: Diagnostics, *, has_keys: bool) -> None:
    for prefix in ("dkim", "second_dkim"):
        directive = prefix.replace("_", "-")
        sign, algorithm = f"{prefix}_sign", f"{prefix}_algorithm"
        if block.values.get(sign, "no") != "no" and not has_keys:
            diagnostics.warning(
                block.place_of(sign) or block.place,
                f"{directive}-sign {block.values[sign]} signs nothing: there is no domain-key",
                hint="`mta dkim generate` makes one",
            )
        if block.values.get(algorithm) == "rsa-sha1":
            diagnostics.warning(
                block.place_of(algorithm) or block.place,
                f"{directive}-algorithm rsa-sha1: receivers take it for no signature (RFC 8301)",
                hint="use rsa-sha256",
            )
        for attribute in (f"{prefix}_headers", f"{prefix}_disallow_adding_headers"):
            for name in block.values.get(attribute, ()):
                if name.lower() in NEVER_SIGNED:
                    diagnostics.warning(
                        block.place_of(attribute) or block.place,
                        f"{attribute.replace('_', '-')}: {name} is not signed (RFC 6376 §5.4.1)",
                    )


def _identities(configuration: Configuration, diagnostics: Diagnostics) -> None:
    """Identities that no key is for, and keys for no identity that the configuration gives."""
    parts = configuration.parts
    anywhere = [*configuration.all_domain_keys()]
    indexes = [(parts.domains, anywhere)]
    indexes += [(index, [*configuration.domain_keys(name)])
                for name, index in parts.vmta_domains.items()]  # fmt: skip
    indexes += [(index, anywhere) for index in parts.pool_domains.values()]
    given: set[str] = set()
    for index, keys in indexes:
        for block in index:
            for attribute in IDENTITIES:
                identity = block.values.get(attribute, "")
                domain = identity.rpartition("@")[2] if "@" in identity else ""
                if not domain:
                    continue
                given.add(domain)
                if keys and not any(one.is_any or is_within(domain, one.domain) for one in keys):
                    diagnostics.warning(
                        block.place_of(attribute) or block.place,
                        f"{attribute.replace('_', '-')} {identity}: no domain-key is for "
                        f"{domain} or a domain above it",
                        hint=f"there are keys for {_some(one.domain for one in keys)}",
                    )
    if given and _every_identity_is_given(parts):
        for key in anywhere:
            if not key.is_any and not any(is_within(name, key.domain) for name in given):
                diagnostics.warning(
                    _place(key),
                    f"domain-key {key}: no dkim-identity is in {key.domain}, so it signs nothing",
                    hint=f"the identities are of {_some(sorted(given))}",
                )


def _every_identity_is_given(parts: Parts) -> bool:
    """Whether no message may choose by its Sender or From."""
    blocks = parts.domains.of_pattern(EVERY)
    default = any("@" in block.values.get("dkim_identity", "") for block in blocks)
    indexes = (parts.domains, *parts.pool_domains.values(), *parts.vmta_domains.values())
    from_message = (
        "@" not in block.values.get("dkim_identity", "@")
        or block.values.get("second_dkim_sign", "no") != "no"
        for index in indexes
        for block in index
    )
    return default and not any(from_message)


def _some(names: Iterable[str]) -> str:
    """The first few of them."""
    known = list(dict.fromkeys(names))
    more = f" and {len(known) - SHOWN_MAX} more" if len(known) > SHOWN_MAX else ""
    return ", ".join(known[:SHOWN_MAX]) + more


def _place(key: DomainKey) -> Place:
    name, _, line = key.place.rpartition(":")
    return Place(name, int(line))


def _has_keys(configuration: Configuration) -> bool:
    parts = configuration.parts
    sources = [*(block for _, block in parts.networks), *parts.named_sources.values()]
    return bool(configuration.all_domain_keys()) or any(
        block.values.get("process_x_dkim_key") for block in sources
    )
