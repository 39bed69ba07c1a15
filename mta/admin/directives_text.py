"""`mta directives`: the reference, in the terminal."""

import textwrap
from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase

from mta.config.sections import ALIASES, MISPRINTS, SECTIONS, SectionRule, place_name
from mta.errors import PetrelError
from mta.settings.directive import Directive, Status, directives

WIDTH = 88


def describe(name: str) -> str:
    """All directives, those of a section, or one; PetrelError if there is none of the name."""
    wanted = name.lower()
    if not wanted:
        return "".join(f"{line}\n" for rule in SECTIONS.values() for line in _listing(rule))
    tag = wanted.strip("<>")
    if wanted.startswith("<"):
        rule = SECTIONS.get(ALIASES.get(tag, tag))
        if rule is None:
            raise PetrelError(f"there is no section <{tag}>{_near(tag, [*SECTIONS, *ALIASES])}")
        return "".join(f"{line}\n" for line in _listing(rule))
    wanted = MISPRINTS.get(wanted, wanted)
    found = [
        (rule, one)
        for rule in SECTIONS.values()
        for one in directives(rule.scope).values()
        if one.name == wanted or (wanted != "*" and fnmatchcase(one.name, wanted))
    ]
    if not found:
        every = {one for rule in SECTIONS.values() for one in directives(rule.scope)}
        raise PetrelError(f'there is no directive "{name}"{_near(wanted, sorted(every))}')
    return "\n".join("".join(f"{line}\n" for line in _whole(*one)) for one in found)


def _near(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, 1, 0.6)
    return f'; did you mean "{close[0]}"?' if close else "; `mta directives` lists them all"


def _listing(rule: SectionRule) -> Iterator[str]:
    note = f" ({rule.note})" if rule.note else ""
    yield f"{place_name(rule.tag)}{note}"
    for one in directives(rule.scope).values():
        mark = {Status.IN_FORCE: " ", Status.NOT_YET: "-", Status.NO_EFFECT: "0"}[one.status]
        yield f"  {'-' if rule.note else mark} {one.name} {one.kind.syntax}"
    yield ""


def _whole(rule: SectionRule, one: Directive) -> Iterator[str]:
    yield f"{one.name} {one.kind.syntax}"
    yield f"    in {place_name(rule.tag)}"
    yield from textwrap.wrap(one.doc, WIDTH, initial_indent="    ", subsequent_indent="    ")
    repeats = "each line adds one" if one.repeats else f"default {one.printed_default}"
    yield f"    {repeats}; a change takes a {'restart' if one.needs_restart else 'reload'}"
    if one.means:
        yield f"    an old spelling of {one.means}"
    if one.is_ours:
        yield "    not in PowerMTA"
    if one.status is Status.NO_EFFECT:
        yield f"    ACCEPTED WITHOUT EFFECT: {one.reason}"
    elif rule.note or one.status is Status.NOT_YET:
        yield "    NOT IN FORCE YET"
