"""A header field as a configuration names or writes one (RFC 5322 §2.2)."""

import re

_NAME = re.compile(r"[\x21-\x39\x3b-\x7e]+")
_FIELD = re.compile(rf"({_NAME.pattern})[ \t]*:")


def is_field_name(text: str) -> bool:
    """Whether fields may have that name."""
    return _NAME.fullmatch(text) is not None


def field_name(field: str) -> str:
    """The name of `Name: value`; ValueError if it is no header field of one line."""
    match = _FIELD.match(field)
    if not match or not field.replace("\t", " ").isprintable():
        raise ValueError('expected a header field such as "Precedence: bulk"')
    return match[1]
