"""The sender that a recipient's message leaves with (RFC 5321 §4.4). Guide: verp-default."""

import re
from typing import Final

_DOT_ATOM: Final = re.compile(r'[^\s"(),:;<>@\[\\\]\x00-\x1f\x7f]+')
_QUOTABLE: Final = re.compile(r'(["\\])')
_QUOTED_PAIR: Final = re.compile(r"\\(.)")


def verp(mail_from: str, rcpt: str) -> str:
    """The sender that says to whom a message went: `user-rcptlocal=rcptdomain@domain`.

    Its local part may be longer than the 64 octets of RFC 5321 §4.5.3.1.1, which clients may
    try (§4.5.3.1): a sender that is cut, or that names nobody, loses its reports for certain.
    """
    local, _, domain = mail_from.rpartition("@")
    rcpt_local, _, rcpt_domain = rcpt.rpartition("@")
    text = f"{_bare(local)}-{_bare(rcpt_local)}={rcpt_domain}"
    if not _DOT_ATOM.fullmatch(text):
        text = '"' + _QUOTABLE.sub(r"\\\1", text) + '"'
    return f"{text}@{domain}"


def _bare(local: str) -> str:
    """A local part without its quotes."""
    if len(local) >= 2 and local[0] == '"' == local[-1]:
        return _QUOTED_PAIR.sub(r"\1", local[1:-1])
    return local
