"""Where content ends, it is handed to the reception with what the client said of it."""

from typing import TYPE_CHECKING

from mta.model.reply import Reply

if TYPE_CHECKING:
    from mta.net.incoming import Incoming
    from mta.net.reception import Reception, Session, Underway
    from mta.smtp.server import Server


async def accept(
    reception: "Reception", server: "Server", session: "Session", incoming: "Incoming"
) -> Reply:
    """Hand complete content over; the reply to it."""
    refusal = _ended(server, session, incoming)
    if refusal is not None:
        return refusal
    assert server.mail is not None
    framer = incoming.framer
    return await reception.message(
        session,
        server.mail,
        server.rcpts,
        incoming.content,
        incoming.head_size,
        framer.leading_dot,
        framer.is_8bit,
    )


def may_begin(reception: "Reception", session: "Session", incoming: "Incoming") -> bool:
    """Whether `begin` is as good as `accept`."""
    return not incoming.is_large and reception.takes_at_once(session)


def begin(
    reception: "Reception", server: "Server", session: "Session", incoming: "Incoming"
) -> "Reply | Underway":
    """As `accept` up to the disk; a Reply is a refusal."""
    refusal = _ended(server, session, incoming)
    if refusal is not None:
        return refusal
    assert server.mail is not None
    assert isinstance(incoming.content, bytes)
    framer = incoming.framer
    return reception.begin(
        session,
        server.mail,
        server.rcpts,
        incoming.content,
        incoming.head_size,
        framer.leading_dot,
        framer.is_8bit,
    )


def _ended(server: "Server", session: "Session", incoming: "Incoming") -> Reply | None:
    refusal = incoming.end()
    if refusal is None:
        session.helo = server.helo
        session.with_protocol = server.protocol(is_tls=session.is_tls)
    return refusal
