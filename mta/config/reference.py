"""The reference page of all directives, and a configuration that shows each.

`python -m mta.config.reference DIRECTORY CONFIGURATION` writes `directives.md` there, and
that file.
"""

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mta.config.sections import ALIASES, SECTIONS, SectionRule
from mta.settings.directive import Directive, Status, directives

NAME: Final = "directives.md"
EXAMPLES: Final = {
    "domain": "example.com",
    "source": "192.0.2.0/24",
    "virtual-mta": "vmta1",
    "virtual-mta-pool": "pool1",
    "smtp-listener": "127.0.0.1:2525",
    "acct-file": "/var/log/pmta/acct.csv",
    "spool": "/var/spool/pmta",
    "transmissions-api-listener": "127.0.0.1:8025",
}
"""An argument for a section, where `example` will not do."""
EXAMPLE_LINES: Final = {
    "domain": ["    smtp-pattern-list example"],
    "source": ["    pattern-list example", "    rewrite-list example"],
    "virtual-mta-pool": ["    virtual-mta vmta1"],
    "pattern-list": [
        "    header X-Kind /^ offer/ virtual-mta=pool1, recipient-priority=10",
        "    mail-from /@b\\.example\\.com$/ <pattern-list>",
        "        rcpt-to /@example\\.org$/ virtual-mta=vmta1",
        "    </pattern-list>",
    ],
    "rewrite-list": [
        "    mail-from *@a.example.com *@bounces.a.example.com",
        "    from-domain *.old.example.com new.example.com",
    ],
    "smtp-pattern-list": ["    reply /421 .*too many/ mode=backoff"],
    "bounce-category-patterns": ["    /mailbox (is )?full/ quota-issues"],
}

_HEAD = """\
# Directives

This page is generated from the declarations in `mta/settings/` by `make docs`; do not
edit it. `mta check FILE` says which lines of a file are not in force and why.

Names are the same in any case. A directive that is given more than once counts as it was
given last, unless it says that it repeats. Intervals are `90s`, `2h15m`, `4d12h`; sizes
`64k`, `5M`; rates `100/h`, `5/s`, `unlimited`; yes is `yes` or `true`, in any case.

A change applies at a reload, unless it says that it takes a restart.

"""

_CONFIG_HEAD = """\
# Every directive that is in force, in the section it belongs to, with its default and what
# it does. Generated from the declarations in mta/settings/ by `make docs`; it is to be read
# and copied from, and it loads, but it is not a configuration to run as a whole.
# config/quickstart.conf is a small one to begin with.
"""


def page() -> str:
    """The whole page."""
    return _HEAD + "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "| section | stands in | directives | in force |"
    yield "|---|---|---|---|"
    for rule in SECTIONS.values():
        every = directives(rule.scope).values()
        force = sum(_is_in_force(one, rule) for one in every)
        where = ", ".join(_place(tag) for tag in rule.parents) if rule.tag != "global" else ""
        yield f"| [{_title(rule)}](#{_anchor(rule)}) | {where} | {len(every)} | {force} |"
    for alias, tag in ALIASES.items():
        yield ""
        yield f"`<{alias}>` is another spelling of `<{tag}>`."
    for rule in SECTIONS.values():
        yield ""
        yield f"## {_title(rule)}"
        yield ""
        if rule.argument:
            optional = ", or nothing" if rule.is_argument_optional else ""
            yield f"The argument is {rule.argument}{optional}."
        if rule.note:
            yield f"The section is read and checked, and {rule.note}."
        for one in directives(rule.scope).values():
            yield from _directive(one, rule)


def _directive(one: Directive, rule: SectionRule) -> Iterator[str]:
    yield ""
    yield f"### {one.name}" + (" (ours)" if one.is_ours else "")
    yield ""
    yield f"    {one.name} {one.kind.syntax}"
    yield ""
    yield _sentence(one.doc)
    facts = [f"Default: `{one.printed_default}`."]
    if one.repeats:
        facts = ["Repeats: each line adds one."]
    if one.means:
        facts.append(f"An old spelling of `{one.means}`.")
    if one.needs_restart:
        facts.append("A change takes a restart.")
    if one.status is Status.NO_EFFECT:
        facts.append(f"**Accepted without effect:** {one.reason}")
    elif not _is_in_force(one, rule):
        facts.append("**Not in force yet.**")
    yield ""
    yield " ".join(facts)


def annotated() -> str:
    """The configuration that shows every directive in force."""
    lines = [_CONFIG_HEAD]
    for rule in SECTIONS.values():
        if rule.note:
            continue
        argument = EXAMPLES.get(rule.tag, "example") if rule.argument else ""
        indent = "" if rule.tag == "global" else "    "
        if indent:
            lines.append(f"<{f'{rule.tag} {argument}'.strip()}>")
            lines += EXAMPLE_LINES.get(rule.tag, ())
        for one in directives(rule.scope).values():
            if _is_in_force(one, rule) and not one.means:
                lines += _annotated(one, indent)
        if indent:
            lines.append(f"</{rule.tag}>")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _annotated(one: Directive, indent: str) -> Iterator[str]:
    default = one.printed_default
    for line in textwrap.wrap(_sentence(one.doc), 88 - len(indent)):
        yield f"{indent}# {line}"
    # What cannot be written as a value is shown as a comment: no default, or one in words.
    if one.repeats or default == '""' or one.default_text or not re.search(r"\w", default):
        words = f"default: {one.default_text}" if one.default_text else "no default"
        yield f"{indent}# {one.name} {one.kind.syntax}    ({words})"
    else:
        yield f"{indent}{one.name} {default}"
    yield ""


def _is_in_force(one: Directive, rule: SectionRule) -> bool:
    return one.status is Status.IN_FORCE and not rule.note


def _sentence(text: str) -> str:
    text = f"{text[:1].upper()}{text[1:]}"
    return text if text.endswith((".", ")", "?")) else f"{text}."


def _title(rule: SectionRule) -> str:
    return "Top level" if rule.tag == "global" else rule.tag


def _anchor(rule: SectionRule) -> str:
    return _title(rule).lower().replace(" ", "-")


def _place(tag: str) -> str:
    return "top level" if tag == "global" else f"`<{tag}>`"


def main() -> None:
    """Write the page and the configuration."""
    directory, configuration = map(Path, sys.argv[1:3])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / NAME).write_text(page())
    configuration.write_text(annotated())


if __name__ == "__main__":
    main()
