"""Errors that cross a module boundary.

A remote server's refusal is never an exception: it is a `Reply`, then an `Outcome`.

    PetrelError
    ├── ConfigError            the configuration cannot be used; carries every problem found
    ├── SpoolError             the disk did not do what was asked
    │   ├── SpoolFullError     no room left
    │   └── SpoolDamagedError  what is on the disk is not what was written there
    ├── ResolveError           a name could not be resolved, for now or for good
    ├── TransportError         a connection could not be opened, or broke
    ├── RemoteProtocolError    the peer broke the protocol
    └── LocalProtocolError     we broke it: a bug of ours
"""


class PetrelError(Exception):
    """Any error this program raises on purpose."""


class ConfigError(PetrelError):
    """A configuration that cannot be used.

    The first argument is the sequence of diagnostics, all of them, in file order.
    """


class SpoolError(PetrelError):
    """The spool could not be read or written."""


class SpoolFullError(SpoolError):
    """The disk is full; the caller answers 452 4.3.1."""


class SpoolDamagedError(SpoolError):
    """A file of the spool is damaged; the message it belongs to cannot be delivered."""


class ResolveError(PetrelError):
    """A name that could not be resolved.

    `permanent` tells a name that does not exist (bounce) from a resolver that
    does not answer (try later). `status` is the enhanced code to record, `status_text`
    the words that go with it where they are not the usual ones.
    """

    def __init__(self, text: str, *, permanent: bool, status: str, status_text: str = "") -> None:
        super().__init__(text)
        self.permanent = permanent
        self.status = status
        self.status_text = status_text


class TransportError(PetrelError):
    """A connection that could not be opened, or that broke."""


class RemoteProtocolError(PetrelError):
    """The peer sent what the protocol does not allow."""


class LocalProtocolError(PetrelError):
    """We were about to send what the protocol does not allow."""
