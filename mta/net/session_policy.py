"""Who a client is, what the sans-I/O server asks about it, and who answers."""

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

from mta.model.reply import Reply
from mta.net.reception import Admission, Reception, Session
from mta.net.tls_server import note_tls
from mta.routing.greeting import greeting_name
from mta.smtp.command import MailParameters, RcptParameters
from mta.smtp.sasl import Exchange
from mta.smtp.server import Server

if TYPE_CHECKING:
    from asyncio import BaseTransport

    from mta.config.configuration import Configuration, ListenerSettings
    from mta.settings.source import SourceSettings


def session_of(
    transport: "BaseTransport",
    listener: "ListenerSettings",
    configuration: "Configuration",
    own: frozenset[str],
) -> Session | None:
    """The session of a new connection, `own` being this host's addresses; None if it is gone."""
    peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    if not peer or not local:
        return None
    peer_ip = peer[0].removeprefix("::ffff:").partition("%")[0]
    session = Session(
        peer_ip=peer_ip,
        peer_port=peer[1],
        local_ip=local[0],
        listener=listener,
        source=configuration.source(peer_ip, listener.source),
        source_matched=configuration.source_matches(peer_ip, listener.source),
        is_local=peer_ip in own or ip_address(peer_ip).is_loopback,
    )
    note_tls(session, transport)
    return session


def server_of(
    session: Session, policy: "SessionPolicy", configuration: "Configuration", *, has_tls: bool
) -> tuple[str, Server]:
    """The name we greet a client with, and the server that answers it."""
    root, source = configuration.root, session.source
    greeting = greeting_name(configuration, source.default_virtual_mta, session.local_ip)
    server = Server(
        policy,
        source,
        root.host_name,
        offers_tls=has_tls and source.allow_starttls and not session.is_tls,
        is_tls=session.is_tls,
        domain_suffix=root.domain_suffix,
        greeting=greeting,
    )
    return greeting, server


class SessionPolicy:
    """The reception as the sans-I/O server asks it."""

    def __init__(
        self,
        reception: Reception,
        admission: Admission,
        session: Session,
        renew: Callable[[Session], None],
    ) -> None:
        """`renew` is called where another source holds for the client."""
        self._reception = reception
        self._admission = admission
        self._session = session
        self._source = session.source
        self._renew = renew

    def renewed(self) -> "SourceSettings | None":
        source = self._reception.followed(self._session)
        if source is self._source:
            return None
        self._source = source
        self._renew(self._session)
        return source

    def mail(self, mail: MailParameters) -> Reply | None:
        return self._reception.mail(self._session, mail)

    def rcpt(self, mail: MailParameters, rcpt: RcptParameters) -> Reply | None:
        return self._reception.rcpt(self._session, mail, rcpt)

    @property
    def checks_sender(self) -> bool:
        return self._session.is_checked

    def mechanisms(self) -> Sequence[str]:
        return self._admission.mechanisms(self._session)

    def begin_auth(self, mechanism: str) -> Exchange:
        return self._admission.begin_auth(self._session, mechanism)
