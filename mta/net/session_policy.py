"""What the sans-I/O server asks about one client, and who answers."""

from collections.abc import Sequence

from mta.model.reply import Reply
from mta.net.reception import Admission, Reception, Session
from mta.smtp.command import MailParameters, RcptParameters
from mta.smtp.sasl import Exchange


class SessionPolicy:
    """The reception as the sans-I/O server asks it."""

    def __init__(self, reception: Reception, admission: Admission, session: Session) -> None:
        self._reception = reception
        self._admission = admission
        self._session = session

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
