"""A header field as a configuration names or writes one (RFC 5322 §2.2)."""

import re

_NAME = re.compile(r"([\x21-\x39\x3b-\x7e]+)[ \t]*:")


def field_name(field: str) -> str:
    """The name of `Name: value`; ValueError if it is no header field."""
    match = _NAME.match(field)
    if not match or "\r" in field or "\n" in field or "\0" in field:
        raise ValueError('expected a header field such as "Precedence: bulk"')
    return match[1]
