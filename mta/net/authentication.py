"""Logging in at another server (RFC 4954). Guide: auth-username.

CRAM-MD5 first, as it does not tell the password; then LOGIN and PLAIN, within TLS or where
`use-unencrypted-plain-auth` says so. Each that is offered is tried once, as servers offer what
they cannot do for every user. Mail never goes where a login was asked for and failed.
"""

from typing import Final, Protocol

import aiosmtplib

from mta.errors import PetrelError

HIDING: Final = "cram-md5"
"""The mechanism that does not tell the password to who listens."""


class AuthSettings(Protocol):
    """What logging in depends on among the rules of a queue."""

    @property
    def auth_username(self) -> str: ...
    @property
    def auth_password(self) -> str: ...
    @property
    def use_unencrypted_plain_auth(self) -> bool: ...


class AuthUnusableError(PetrelError):
    """No mechanism can be used; nothing was said that could be overheard."""


async def authenticate(smtp: aiosmtplib.SMTP, settings: AuthSettings, *, is_secure: bool) -> None:
    """Log in; SMTPAuthenticationError with the last reply, or AuthUnusableError."""
    ways = {
        HIDING: smtp.auth_crammd5,
        "login": smtp.auth_login,
        "plain": smtp.auth_plain,
    }
    offered = [name for name in ways if name in smtp.supported_auth_methods]
    if not offered:
        raise AuthUnusableError("it offers none of CRAM-MD5, LOGIN and PLAIN")
    if not (is_secure or settings.use_unencrypted_plain_auth):
        offered = [name for name in offered if name == HIDING]
    if not offered:
        raise AuthUnusableError(
            "without TLS it offers only what tells the password, and "
            "use-unencrypted-plain-auth is not set"
        )
    for name in offered:
        try:
            await ways[name](settings.auth_username, settings.auth_password)
        except aiosmtplib.SMTPAuthenticationError:
            if name == offered[-1]:
                raise
        else:
            return
