"""Where content ends, it is handed to the reception with what the client said of it."""

import asyncio
from typing import TYPE_CHECKING

from mta.model.reply import Reply
from mta.net.refusals import HEAD

if TYPE_CHECKING:
    from mta.model.message import Content
    from mta.net.incoming import Incoming
    from mta.net.reception import Reception, Session, Underway
    from mta.smtp.command import MailParameters, RcptParameters
    from mta.smtp.mailmerge import MailMerge
    from mta.smtp.server import Server


_Handed = tuple["Session", "MailParameters", list["RcptParameters"], "Content", int, bool, bool]


async def accept(
    reception: "Reception", server: "Server", session: "Session", incoming: "Incoming"
) -> Reply:
    """Hand complete content over; the reply to it."""
    if server.merge is not None:
        return await _accept_part(reception, server, session, server.merge, incoming)
    handed = _handed(server, session, incoming)
    return handed if isinstance(handed, Reply) else await reception.message(*handed)


async def _accept_part(
    reception: "Reception",
    server: "Server",
    session: "Session",
    merge: "MailMerge",
    incoming: "Incoming",
) -> Reply:
    """Keep a part of a mail merge, and hand all of it over where it is the last."""
    refusal = incoming.end()
    if refusal is None or refusal is HEAD:  # A part need not have a header block.
        refusal = merge.part_refusal(incoming.framer.octets)
    if refusal is not None:
        return refusal
    content = incoming.content
    if not isinstance(content, bytes):
        content = await asyncio.to_thread(content.path.read_bytes)
    taken = merge.take(content, server.rcpts)
    if isinstance(taken, Reply):
        return taken
    session.helo = server.helo
    session.with_protocol = server.protocol(is_tls=session.is_tls)
    return await reception.merged(session, taken)


def may_begin(reception: "Reception", session: "Session", incoming: "Incoming") -> bool:
    """Whether `begin` is as good as `accept`."""
    return not incoming.is_large and reception.takes_at_once(session)


def begin(
    reception: "Reception", server: "Server", session: "Session", incoming: "Incoming"
) -> "Reply | Underway":
    """As `accept` up to the disk; a Reply is a refusal."""
    handed = _handed(server, session, incoming)
    return handed if isinstance(handed, Reply) else reception.begin(*handed)


def _handed(server: "Server", session: "Session", incoming: "Incoming") -> "Reply | _Handed":
    """What the reception is told, in its order; a Reply is a refusal."""
    refusal = incoming.end()
    if refusal is not None:
        return refusal
    session.helo = server.helo
    session.with_protocol = server.protocol(is_tls=session.is_tls)
    assert server.mail is not None
    framer = incoming.framer
    return (
        session,
        server.mail,
        server.rcpts,
        incoming.content,
        incoming.head_size,
        framer.leading_dot,
        framer.is_8bit,
    )
