"""Who may authenticate: the users of a configuration, and those who guess.

A check that takes long goes to threads of its own, two of them, so that guessing at hashes
keeps neither the loop nor the spool from their work.
"""

import asyncio
import contextlib
import hashlib
import hmac
import os
import secrets
import ssl
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mta.daemon.auth_attempts import AuthAttempts
from mta.model.reply import Reply
from mta.model.secret import (
    SALT_OCTETS,
    SCRAM_ITERATIONS,
    ClearSecret,
    ScramSecret,
    ScryptSecret,
    Secret,
    scram_of,
)
from mta.smtp import sasl
from mta.smtp.lockout import Start

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.net.reception import Session
    from mta.units import Rate

SALT_KEY: Final = "scram-key"
"""A file of the spool directory. Without it salts would tell, over a restart, who is unknown."""
KEY_OCTETS: Final = 32
THREADS: Final = 2
PENDING_MAX: Final = 64
"""Checks that wait for a thread; more is an attack, and is answered so."""

WRONG: Final = Reply(535, ("5.7.8 authentication failed: user or password is wrong",))
LOCKED_OUT: Final = Reply(
    454, ("4.7.0 too many failures to authenticate (smtp-max-auth-failure-rate); try later",)
)
BUSY: Final = Reply(454, ("4.7.0 too many clients authenticate at once; try again in a minute",))
NO_AUTH: Final = Reply(502, ("5.5.1 AUTH is not available",))


class Accounts:
    """The `Admission` of every listener of one shard."""

    def __init__(
        self, configuration: "Configuration", key: bytes, log: Callable[[str], None]
    ) -> None:
        """`key` makes salts that are the same for the same user, and tell nobody which exist.

        So it is the same in all workers, and in all lives of the daemon.
        """
        self._log = log
        self._attempts = AuthAttempts()
        self.tell_failure: Callable[[str, Rate], None] = lambda ip, rate: None
        """Told of each client that failed and of the rate it may fail at; for other workers."""
        self._threads = ThreadPoolExecutor(THREADS, "authenticate")
        self._pending = 0
        self._key = key
        self.follow(configuration)

    def follow(self, configuration: "Configuration") -> None:
        """Go by another configuration."""
        self._configuration = configuration
        self._users = configuration.submitters.users
        self._usable = configuration.submitters.mechanisms
        self._decoy = _decoy([user.secret for user in self._users.values()])
        self._certificates = {
            digest: user.name
            for user in self._users.values()
            if user.certificate and (digest := self._digest_of(user.certificate))
        }

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    # Admission

    def mechanisms(self, session: "Session") -> Sequence[str]:
        """What a client may authenticate by, now."""
        source = session.source
        if not source.allow_auth or not self._usable:
            return ()
        if source.require_starttls_before_auth and not session.is_tls:
            return ()
        usable = self._usable
        if not session.is_tls and not source.allow_unencrypted_plain_auth:
            usable -= sasl.IN_CLEAR
        if not session.certificate:
            usable -= {"EXTERNAL"}
        return [mechanism for mechanism in sasl.MECHANISMS if mechanism in usable]

    def begin_auth(self, session: "Session", mechanism: str) -> sasl.Exchange:
        return sasl.begin(
            mechanism,
            self,
            nonce=secrets.token_urlsafe(18),
            host=self._configuration.root.host_name,
            certificate=session.certificate,
        )

    async def authenticate(self, session: "Session", claim: sasl.Claim) -> Reply | None:
        """A Reply if a client is not who it says."""
        ip, rate = session.peer_ip, session.source.smtp_max_auth_failure_rate
        if rate is not None:
            match await self._attempts.begin(ip, rate):
                case Start.LOCKED_OUT:
                    self._log(f"{ip} is locked out of AUTH for now")
                    return LOCKED_OUT
                case Start.LATER:
                    return BUSY
                case Start.NOW:
                    pass
        refusal: Reply | None = WRONG
        try:
            refusal = await self._refusal(claim)
        finally:
            if rate is not None:
                self._attempts.end(ip, rate if refusal is WRONG else None)
        if refusal is WRONG:
            self._log(f"{ip} failed to authenticate as {claim.user[:64]!a}")
            if rate is not None:
                self.tell_failure(ip, rate)
        return refusal

    async def _refusal(self, claim: sasl.Claim) -> Reply | None:
        """Check a claim."""
        if self._pending >= PENDING_MAX:
            return BUSY
        if claim.is_slow:
            self._pending += 1
            try:
                is_right = await asyncio.get_running_loop().run_in_executor(
                    self._threads, claim.check
                )
            finally:
                self._pending -= 1
        else:
            is_right = claim.check()
        # A user that a reload took away meanwhile is none.
        return None if is_right and claim.user in self._users else WRONG

    def hear_failure(self, ip: str, rate: "Rate") -> None:
        """Another worker's client failed: it is locked out of this one in time, too."""
        self._attempts.hear_failure(ip, rate)

    def admit(self, session: "Session", user: str) -> None:
        """The client is that user, and its source holds from now on."""
        session.user = user
        session.follow(self._configuration)

    # For the mechanisms

    def secret(self, user: str) -> Secret:
        """The secret of a user; for who is none, one that takes as long and never matches."""
        return self._secret_of(user) or self._decoy

    def scram_salt(self, user: str) -> tuple[bytes, int]:
        salt = hmac.digest(self._key, user.encode(), "sha256")[:SALT_OCTETS]
        secret = self._secret_of(user)
        if isinstance(secret, ScramSecret):
            return secret.salt, secret.iterations
        if isinstance(secret, ClearSecret):
            return salt, SCRAM_ITERATIONS
        decoy = self._decoy
        return salt, decoy.iterations if isinstance(decoy, ScramSecret) else SCRAM_ITERATIONS

    def scram_keys(self, user: str, salt: bytes, iterations: int) -> ScramSecret:
        secret = self._secret_of(user)
        password = secret.text if isinstance(secret, ClearSecret) else secrets.token_hex(16)
        made = scram_of(password, salt, iterations=iterations)
        return secret if isinstance(secret, ScramSecret) else made

    def _secret_of(self, user: str) -> Secret | None:
        account = self._users.get(user)
        return account.secret if account is not None else None

    def named_by(self, certificate: bytes) -> str:
        """The user whose certificate it is; empty if it is nobody's."""
        return self._certificates.get(hashlib.sha256(certificate).digest(), "")

    def _digest_of(self, path: str) -> bytes:
        try:
            octets = ssl.PEM_cert_to_DER_cert(_first_certificate(Path(path).read_text()))
        except (OSError, ValueError) as error:
            self._log(f"tls-certificate {path} cannot be used: {error}")
            return b""
        return hashlib.sha256(octets).digest()


def salt_key(directory: Path) -> bytes:
    """The key in a directory, made by whichever worker comes first; OSError."""
    path = directory / SALT_KEY
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=directory) as made:  # readable by its owner alone
            made.write(secrets.token_bytes(KEY_OCTETS))
            made.flush()
            os.fsync(made.fileno())
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(made.name)
    return path.read_bytes()


def _decoy(known: Sequence[Secret | None]) -> Secret:
    """A secret like those there are, that no password is right for."""
    key = secrets.token_bytes(32)
    for secret in known:
        if isinstance(secret, ScryptSecret):
            return ScryptSecret(secret.ln, secret.r, secret.p, key[:SALT_OCTETS], key)
        if isinstance(secret, ScramSecret):
            return ScramSecret(secret.iterations, key[:SALT_OCTETS], key, key)
    return ClearSecret(key.hex())


def _first_certificate(text: str) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    if begin not in text or end not in text:
        raise ValueError("expected a PEM file with a certificate")
    return begin + text.split(begin, 1)[1].split(end, 1)[0] + end
