"""`mta directives`: the reference, in the terminal and for programs."""

import textwrap
from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase

from mta.admin.render import Format, render_nodes
from mta.admin.tree import Node, YesNo
from mta.config.sections import ALIASES, MISPRINTS, SECTIONS, SectionRule, place_name
from mta.errors import PetrelError
from mta.settings.directive import Directive, Status, directives

WIDTH = 88


def describe(name: str, form: Format = "text") -> str:
    """All directives, those of a section, or one; PetrelError if there is none of the name."""
    wanted = name.lower()
    if not wanted or wanted.startswith("<"):
        sections = [_section(wanted)] if wanted else list(SECTIONS.values())
        found = [(rule, one) for rule in sections for one in directives(rule.scope).values()]
        parts = [_listing(rule) for rule in sections]
        separator = ""
    else:
        found = _named(name)
        parts = [_whole(*one) for one in found]
        separator = "\n"
    if form != "text":
        return render_nodes({"directive": [_node(*one) for one in found]}, form, "")
    return separator.join("".join(f"{line}\n" for line in lines) for lines in parts)


def _section(wanted: str) -> SectionRule:
    tag = wanted.strip("<>")
    rule = SECTIONS.get(ALIASES.get(tag, tag))
    if rule is None:
        raise PetrelError(f"there is no section <{tag}>{_near(tag, [*SECTIONS, *ALIASES])}")
    return rule


def _named(name: str) -> list[tuple[SectionRule, Directive]]:
    wanted = MISPRINTS.get(name.lower(), name.lower())
    found = [
        (rule, one)
        for rule in SECTIONS.values()
        for one in directives(rule.scope).values()
        if one.name == wanted or (wanted != "*" and fnmatchcase(one.name, wanted))
    ]
    if not found:
        every = {one for rule in SECTIONS.values() for one in directives(rule.scope)}
        raise PetrelError(f'there is no directive "{name}"{_near(wanted, sorted(every))}')
    return found


def _node(rule: SectionRule, one: Directive) -> Node:
    status = Status.NOT_YET if rule.note and one.status is Status.IN_FORCE else one.status
    return {
        "name": one.name,
        "section": place_name(rule.tag),
        "syntax": one.kind.syntax,
        "doc": one.doc,
        "default": None if one.repeats else one.printed_default,
        "repeats": YesNo(one.repeats),
        "change": "restart" if one.needs_restart else "reload",
        "status": status.value,
        "reason": one.reason or None,
        "means": one.means or None,
        "inPowerMta": YesNo(not one.is_ours),
    }


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
