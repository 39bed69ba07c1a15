"""Where content ends, it is handed to the reception with what the client said of it."""

from typing import TYPE_CHECKING

from mta.model.reply import Reply

if TYPE_CHECKING:
    from mta.model.message import Content
    from mta.net.incoming import Incoming
    from mta.net.reception import Reception, Session, Underway
    from mta.smtp.command import MailParameters, RcptParameters
    from mta.smtp.server import Server


_Handed = tuple["Session", "MailParameters", list["RcptParameters"], "Content", int, bool, bool]


async def accept(
    reception: "Reception", server: "Server", session: "Session", incoming: "Incoming"
) -> Reply:
    """Hand complete content over; the reply to it."""
    handed = _handed(server, session, incoming)
    return handed if isinstance(handed, Reply) else await reception.message(*handed)


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
