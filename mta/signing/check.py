"""What is wrong with the keys of a configuration and with what it asks of signatures."""

from collections.abc import Iterator

from mta.config.block import Block
from mta.config.configuration import Configuration
from mta.config.place import Diagnostic, Diagnostics, Place
from mta.signing.keys import KeyFile, read_key
from mta.signing.signature import NEVER_SIGNED

KEYS_TRIED_MAX = 1000
"""A key is tried by a signature, which takes a millisecond; of more only the form is looked at."""


def check_signing(configuration: Configuration) -> tuple[Diagnostic, ...]:
    """Warnings about key files and dkim-* directives; nothing here keeps mail from flowing."""
    diagnostics = Diagnostics()
    _keys(configuration, diagnostics)
    has_keys = _has_keys(configuration)
    for block in _domain_blocks(configuration):
        _block(block, diagnostics, has_keys=has_keys)
    return diagnostics.in_order()


def _keys(configuration: Configuration, diagnostics: Diagnostics) -> None:
    read: dict[str, KeyFile] = {}
    for key in configuration.all_domain_keys():
        if "{" in key.path:
            continue
        file = read.get(key.path)
        if file is None:
            file = read[key.path] = read_key(key.path, is_tried=len(read) < KEYS_TRIED_MAX)
        name, _, line = key.place.rpartition(":")
        place = Place(name, int(line))
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


def _has_keys(configuration: Configuration) -> bool:
    parts = configuration.parts
    sources = [*(block for _, block in parts.networks), *parts.named_sources.values()]
    return bool(configuration.all_domain_keys()) or any(
        block.values.get("process_x_dkim_key") for block in sources
    )
