"""Variables of a mail merge as a client defines them: the argument of XDFN. Guide: mail merge.

    XDFN name=value name="value with blanks" *reserved=value

In double quotes a quote ends the value where a blank or nothing follows it; after a backslash a
quote or a backslash is one. There are no other escapes: as a command has no CR, LF or NUL, a
value has none.
"""

import re
from typing import Final, NamedTuple

from mta import address
from mta.smtp.command import CommandError, qualified

PARTS_MAX: Final = 1000
"""Parts of a submission, and items of `*parts`."""
DEFINITIONS_OCTETS_MAX: Final = 64 << 10
"""Of a line: a value may be a paragraph of HTML."""
ENVID_OCTETS_MAX: Final = 100
"""RFC 3461 §4.4."""
SHOWN_MAX: Final = 40
"""Of what a client wrote, in a reply."""

_NAME: Final = r"\*?[A-Za-z][A-Za-z0-9_]*"
# Each octet of a quoted value can be read in one way only, so that none takes long.
_QUOTED: Final = r'"(?P<quoted>(?:[^"\\]|\\["\\]|\\(?!["\\])|"(?![ \t]|$))*)"'
_DEFINITION: Final = re.compile(
    rf'(?P<name>{_NAME})=(?:{_QUOTED}|(?P<plain>[^ \t"][^ \t]*)?)(?=[ \t]|$)[ \t]*'
)
_PAIR: Final = re.compile(r'\\(["\\])')
_ITEM: Final = re.compile(r"([1-9][0-9]{0,3})(?:-([1-9][0-9]{0,3}))?", re.ASCII)


class Range(NamedTuple):
    """Parts one after the other."""

    first: int
    last: int


def parse_definitions(rest: str, *, smtputf8: bool, suffix: str = "") -> dict[str, str]:
    """What XDFN says, by lower-case name; see `command.qualified` for the suffix."""
    found: dict[str, str] = {}
    at = 0
    while at < len(rest):
        match = _DEFINITION.match(rest, at)
        if match is None:
            raise CommandError(501, f"5.5.4 {_shown(rest[at:])} is no definition; name=value")
        name = match["name"].lower()
        value = match["plain"] or ""
        if match["quoted"] is not None:
            value = _PAIR.sub(r"\1", match["quoted"])
        if name.startswith("*"):
            value = _reserved(name, value, smtputf8=smtputf8, suffix=suffix)
        found[name] = value
        at = match.end()
    if not found:
        raise CommandError(501, '5.5.4 expected XDFN name=value or name="value with blanks"')
    return found


def parse_parts(value: str) -> tuple[Range, ...]:
    """Which parts a recipient gets, in their order: `1-3`, `1,3,2`."""
    items = [_ITEM.fullmatch(item.strip()) for item in value.split(",")]
    found = []
    for item in items:
        if item is None:
            raise CommandError(501, f"5.5.4 *parts is such as 1,3-4; not {_shown(value)}")
        found.append(Range(int(item[1]), int(item[2] or item[1])))
    total = sum(one.last - one.first + 1 for one in found)
    if total > PARTS_MAX or any(not one.first <= one.last <= PARTS_MAX for one in found):
        raise CommandError(501, f"5.5.4 *parts has 1 to {PARTS_MAX} parts; not {_shown(value)}")
    return tuple(found)


def _reserved(name: str, value: str, *, smtputf8: bool, suffix: str) -> str:
    """The value of a variable that means something to us."""
    match name:
        case "*from":
            return _sender(value, smtputf8=smtputf8, suffix=suffix)
        case "*envid":
            _check(name, value.isascii() and value.isprintable(), "ASCII without controls")
            _check(name, len(value) <= ENVID_OCTETS_MAX, "at most 100 characters")
        case "*jobid":
            _check(name, value.isprintable() and " " not in value, "printable, without blanks")
        case "*vmta":
            _check(name, value.isprintable(), "the name of a VirtualMTA or pool")
        case "*priority":
            number = int(value) if value.isascii() and value.isdigit() and len(value) < 4 else 0
            _check(name, 1 <= number <= 100, "a number from 1 to 100")
        case "*parts":
            parse_parts(value)
        case "*to" | "*date":
            raise CommandError(501, f"5.5.4 {name} cannot be defined; it is there to be read")
        case "*schedule":
            pass  # As X-Schedule: what says no times refuses the submission.
        case "*subaccountid" | "*custommessageid":
            pass  # They mean something to PowerMTA's Signals only, which is not here.
        case _:
            raise CommandError(501, f"5.5.4 there is no reserved variable {_shown(name)}")
    return value


def _sender(value: str, *, smtputf8: bool, suffix: str) -> str:
    sender = value[1:-1] if value[:1] == "<" and value[-1:] == ">" else value
    if suffix and sender:
        sender = qualified(sender, suffix)
    _check("*from", not sender or address.is_valid(sender), "user@domain")
    _check("*from", smtputf8 or sender.isascii(), "ASCII without SMTPUTF8 in XMRG")
    return sender


def _check(name: str, is_good: bool, wanted: str) -> None:  # noqa: FBT001 - what is asked
    if not is_good:
        raise CommandError(501, f"5.5.4 {name} has to be {wanted}")


def _shown(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:SHOWN_MAX])
