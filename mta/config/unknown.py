"""What is said of directives and sections that there are not, or not there."""

from typing import Final

from mta.config.grammar import Section, Statement
from mta.config.place import Diagnostics
from mta.config.sections import (
    ALIASES,
    SECTIONS,
    SectionRule,
    place_name,
    places_by_name,
    scopes_of,
)
from mta.settings.directive import directives
from mta.settings.kinds import first_word

NAMED_MAX: Final = 6
"""Directives of a section that are all named where one is not known: what a line holds."""
OTHER_COMMENTS: Final = (";", "//", "/*", "*/", "--", "!", "%")
"""How comments begin elsewhere."""


def directive(statement: Statement, rule: SectionRule, diagnostics: Diagnostics) -> None:
    """Say where it belongs, or what may have been meant."""
    places = scopes_of(statement.name)
    is_rule = statement.name == "/regex/"
    word = first_word(statement.line)[0] if is_rule else statement.name
    if word.startswith(OTHER_COMMENTS):
        what = 'a comment begins with "#"'
    elif places or _is_section(statement.name, rule):
        what = f"it belongs in {' or '.join(places)}" * bool(places)
        if _is_section(statement.name, rule):
            what += "; " * bool(places) + f"a section begins with <{statement.name} …>"
        elif "<domain>" in places and rule.tag == "global":
            what += "; for all queues, in <domain *>"
    else:
        known = list(directives(rule.scope))
        close = diagnostics.nearest(statement.name, known, 0.7)
        if not close:
            close = diagnostics.nearest(statement.name, places_by_name(), 0.75)
        what = f'did you mean "{close}"?' if close else ""
        if not close and len(known) <= NAMED_MAX:
            what = f"it has {', '.join(known)}"
    message = f'{place_name(rule.tag)} has no directive "{word}"'
    diagnostics.error(statement.place, message, hint=what, line=statement.line)


def _is_section(name: str, parent: SectionRule) -> bool:
    rule = SECTIONS.get(ALIASES.get(name, name))
    return rule is not None and parent.tag in rule.parents


def section(
    section: Section, rule: SectionRule | None, parent: SectionRule, diagnostics: Diagnostics
) -> None:
    """Say where it belongs, or what may have been meant."""
    if rule is not None:
        hint = f"it belongs in {' or '.join(map(place_name, rule.parents))}"
    else:
        close = diagnostics.nearest(section.name, [*SECTIONS, *ALIASES], 0.7)
        hint = f'did you mean "<{close}>"?' if close else ""
    message = f"{place_name(parent.tag)} has no section <{section.name}>"
    diagnostics.error(section.place, message, hint=hint, line=section.line)
