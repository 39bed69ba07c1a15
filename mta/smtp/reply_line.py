"""Replies as a server writes them (RFC 5321 §4.2.1)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mta.model.reply import Reply


def written(reply: "Reply") -> bytes:
    """The lines of a reply, in ASCII."""
    if len(reply.lines) == 1:
        text = f"{reply.code} {reply.lines[0]}\r\n"
    else:
        *first, last = reply.lines
        text = "".join(f"{reply.code}-{line}\r\n" for line in first)
        text = f"{text}{reply.code} {last}\r\n"
    return text.encode("ascii", "backslashreplace")
