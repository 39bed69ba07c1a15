"""The `domain-key` lines of a configuration, in the order in which keys are looked for.

Guide: domain-key. A key of a vault is not in force yet and left out, with a warning.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from mta.config.block import Block
from mta.config.configuration import Parts
from mta.config.macros import Macros
from mta.config.place import Diagnostics
from mta.model.domain_key import DomainKey

VAULT: Final = "{vault}"


def finish(
    parts: Parts,
    root: Block,
    named: Mapping[str, Mapping[str, Block]],
    base: str,
    macros: Macros,
    diagnostics: Diagnostics,
) -> None:
    """Put the keys into the parts; `named` holds VirtualMTAs, pools and lists by name."""

    def keys(block: Block, owner: str) -> tuple[DomainKey, ...]:
        return _keys(block, owner, base, macros, diagnostics)

    parts.domain_keys = keys(root, "")
    for what, found in (
        ("VirtualMTA", parts.vmta_domain_keys),
        ("pool", parts.pool_domain_keys),
        ("list", parts.domain_key_lists),
    ):
        for name, block in named[what].items():
            if "domain_key" in block.entries or what == "list":
                found[name] = keys(block, f"{what} {block.name}")


def _keys(
    block: Block, owner: str, base: str, macros: Macros, diagnostics: Diagnostics
) -> tuple[DomainKey, ...]:
    """The keys of one section, macros expanded, paths relative to `base`."""
    found = []
    for entry in block.entries.get("domain_key", ()):
        key: DomainKey = entry.value
        if key.path.lower().startswith(VAULT):
            diagnostics.warning(
                entry.place,
                f"domain-key {key.selector}: keys from a vault are not in force yet",
                hint="put the key into a file",
            )
            continue
        path = posixpath.normpath(posixpath.join(base, key.path))
        found += [
            replace(key, domain=domain.lower(), path=path, place=str(entry.place), owner=owner)
            for domain in macros.expand(key.domain, entry.place, "")
        ]
    return tuple(found)
