"""The blocks of the sections `<domain>`. Guide: domain, domain-macro.

A section gives its directives to the block of each pattern that its macros make of it, and
`local` to those of all names of this host, which are known when everything is read. As with
macros, a section that names the pattern itself comes before.
"""

from typing import Final

from mta.address import domain_name
from mta.config.block import Block
from mta.config.configuration import DomainIndex
from mta.config.grammar import Section
from mta.config.macros import Macros
from mta.config.patterns import parse_pattern
from mta.config.place import Diagnostics
from mta.settings.directive import by_attribute
from mta.settings.domain import DomainSettings

LOCAL: Final = "local"
"""In the place of a pattern: every name of this host."""


class DomainBlocks:
    """Takes the sections as they are read."""

    def __init__(self, diagnostics: Diagnostics, macros: Macros) -> None:
        self._diagnostics = diagnostics
        self._macros = macros
        self._local: list[tuple[Section, Block, DomainIndex]] = []

    def is_pattern(self, section: Section, argument: str) -> bool:
        """Whether it may be one; what it is instead is said."""
        if "/" in argument and not argument.startswith("["):
            message = f"<domain {argument}> names a queue"
            hint = "put <domain> into <virtual-mta> to set what holds for one queue"
        elif len(argument.split()) > 1:
            message = "<domain> takes one pattern"
            hint = "write one section for each, or use a domain-macro"
        else:
            return True
        self._diagnostics.error(section.place, message, hint=hint, line=section.line)
        return False

    def add(self, section: Section, argument: str, read: Block, index: DomainIndex) -> None:
        """Give what was read of a section to the blocks of its patterns."""
        for text in self._macros.expand(argument, section.place, section.line):
            if text.lower() == LOCAL:
                self._local.append((section, read, index))
                continue
            try:
                pattern = parse_pattern(text)
            except ValueError as error:
                message = f"<domain {text}>: {error}"
                self._diagnostics.error(section.place, message, line=section.line)
            else:
                _fill(index.block(pattern, section.place, is_macro="$" in argument), read)

    def finish(self, host_names: tuple[str, ...]) -> None:
        """Give what was read of `local` to the names of this host."""
        for section, read, index in self._local:
            names = ", ".join(host_names)
            message = f"<domain {LOCAL}> is for the names of this host: {names}"
            self._diagnostics.note(section.place, message, line=section.line)
            for name in host_names:
                _fill(index.block(domain_name(name), section.place, is_macro=True), read)


def _fill(block: Block, read: Block) -> None:
    declared = by_attribute(DomainSettings)
    for attribute, entries in read.entries.items():
        for entry in entries:
            block.add(declared[attribute], entry.value, entry.place)
    block.seal()
