"""Who signs a message: the key and the name, from the configuration or from the message itself.

Keys are read once and watched while they are used (`mta.signing.keys`); what was found for an
identity is remembered until a key changes.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from mta import clock, ids
from mta.daemon.signing_threads import Threads
from mta.daemon.submission_rules import X_DKIM_KEY
from mta.settings import dkim_kinds
from mta.signing import identity, keys
from mta.signing.canonical import fields
from mta.signing.choice import Candidate, Wanted, candidates
from mta.signing.identity import NO_OPTIONS, Authors, Options
from mta.signing.keys import KeyFile, KeyRing
from mta.signing.signature import Signatory, SignatureForm

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.model.domain_key import DomainKey
    from mta.model.message import Envelope

CHOICES_MAX: Final = 50_000
"""Identities for which a key was looked up."""
MESSAGE_KEYS_MAX: Final = 64
"""Keys that came with messages and are remembered, so that they are parsed once."""
REFUSALS_MAX: Final = 256
REFUSED_AGAIN_S: Final = 60.0
"""How long the same refusal of another message is not logged again."""


class Chosen(NamedTuple):
    """What came of looking for a key."""

    signatory: Signatory | None
    paths: tuple[str, ...]
    """The files that decided it."""
    why: str
    """Why there is none, for people."""


class _Rule(NamedTuple):
    """What of a queue decides who signs for an identity."""

    vmta: str
    name: str
    is_strict: bool
    fallback: str
    algorithm: str


@dataclass(slots=True, eq=False)
class Plan:
    """A signature that queues with the same rules get: its look, its keys, what became of it."""

    name: str
    """`dkim` or `second-dkim`, as the directives begin."""
    vmta: str
    form: SignatureForm
    keys: "tuple[DomainKey, ...]"
    rule: _Rule = field(init=False)
    signed: int = 0
    unsigned: int = 0
    last_why: str = ""

    def __post_init__(self) -> None:
        form = self.form
        strict = form.identity == dkim_kinds.STRICT_FROM
        self.rule = _Rule(self.vmta, self.name, strict, form.identity_fallback, form.algorithm)


class Signatories:
    """Finds who signs, under one configuration."""

    def __init__(
        self, configuration: "Configuration", threads: Threads, log: Callable[[str], None]
    ) -> None:
        self._configuration = configuration
        self._threads = threads
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._ring = KeyRing()
        self._choices: dict[tuple[_Rule, str, Options], Chosen] = {}
        self._choices_version = 0
        self._message_keys: dict[bytes, keys.PrivateKey] = {}
        self._refusals: dict[str, float] = {}

    async def choose(self, plan: Plan, envelope: "Envelope", block: bytes, own: bytes) -> Chosen:
        """Who signs a message that leaves with a header block, and came with `own`."""
        options = NO_OPTIONS
        if plan.name == "dkim" and envelope.dkim_options:
            parsed = identity.parse_options(envelope.dkim_options)
            if isinstance(parsed, str):
                self._refused(envelope, "X-DKIM-Options", parsed)
            else:
                options = parsed
        if plan.form.sign == dkim_kinds.IF_OPTIONS and options is NO_OPTIONS:
            return NOT_ASKED
        authors = Authors.of(block)
        if not authors.froms:
            return NO_FROM
        asked = options.identity or (f"@{options.domain}" if options.domain else "")
        if not asked:
            asked = plan.form.identity
            if asked in (dkim_kinds.SENDER_OR_FROM, dkim_kinds.STRICT_FROM):
                asked = authors.identity(asked)
        if envelope.has_dkim_key and plan.name == "dkim":
            chosen = await self._of_message(plan, envelope, own, asked, options)
            if chosen is not None:
                return chosen
        return await self.of_identity(plan, asked, options)

    async def of_identity(self, plan: Plan, asked: str, options: Options = NO_OPTIONS) -> Chosen:
        """Who signs for an identity, from memory where it was asked before."""
        version = self._ring.version
        if self._choices_version != version or len(self._choices) >= CHOICES_MAX:
            self._choices_version = version
            self._choices.clear()
        choice = (plan.rule, asked, options)
        known = self._choices.get(choice)
        if known is None:
            known = await self._look_up(plan, asked, options)
            if self._ring.version == version:  # else a key changed meanwhile
                self._choices[choice] = known
        for path in known.paths:
            if self._ring.is_to_be_checked(path, clock.now()):
                _ = self._loop.run_in_executor(self._threads.keys, self._check, path)
        return known

    async def _look_up(self, plan: Plan, asked: str, options: Options) -> Chosen:
        """The first key that fits and can be read."""
        form = plan.form
        listed = plan.keys
        if options.key_list:
            of_list = self._configuration.domain_key_list(options.key_list)
            if of_list is None:
                return Chosen(None, (), f"there is no domain-key-list {options.key_list}")
            listed = of_list
        strict = plan.rule.is_strict and not options.identity
        wanted = Wanted(asked, options.selector, options.domain, is_strict=strict)
        problem = ""
        paths: list[str] = []
        names = [wanted] if asked else []
        if form.identity_fallback and not options.key_list:
            names.append(wanted._replace(identity=form.identity_fallback, is_strict=False))
        for one in names:
            for candidate in candidates(listed, one):
                file = await self.key_file(candidate.path)
                paths.append(candidate.path)
                if file.key is None:
                    problem = problem or f"{candidate.path}: {file.problem}"
                elif file.key.type != form.key_type:
                    problem = problem or (
                        f"{candidate.path} is {file.key.description}, "
                        f"and {plan.name}-algorithm is {form.algorithm}"
                    )
                else:
                    return _chosen(candidate, file.key, one.identity, options, tuple(paths))
        why = f"no key for {wanted}" if asked else "no address in Sender or From"
        return Chosen(None, tuple(paths), f"{why}: {problem}" if problem else why)

    async def key_file(self, path: str) -> KeyFile:
        """What a key file holds, read once."""
        file = self._ring.known(path)
        if file is None:
            file = await self._loop.run_in_executor(self._threads.keys, keys.read_key, path)
            self._ring.keep(path, file, clock.now())
        return file

    def _check(self, path: str) -> None:
        """On a thread: notice that a key file has changed."""
        known = self._ring.known(path)
        if known is None:
            return
        file = keys.changed(path, known)
        if file is not None:
            self._loop.call_soon_threadsafe(self._replace, path, file)

    def _replace(self, path: str, file: KeyFile) -> None:
        self._ring.keep(path, file, clock.now())
        what = file.key.description if file.key is not None else file.problem
        self._log(f"the DKIM key {path} has changed: {what}")

    # Keys that come with messages

    async def _of_message(
        self, plan: Plan, envelope: "Envelope", own: bytes, asked: str, options: Options
    ) -> Chosen | None:
        """The key of an X-DKIM-Key field; None where it is refused and others decide."""
        if not options.selector:
            self._refused(envelope, "X-DKIM-Key", "it needs s= in X-DKIM-Options")
            return None
        if not asked:
            return Chosen(None, (), "no address in Sender or From")
        try:
            key = await self._message_key(own)
            if key.type != plan.form.key_type:
                raise ValueError(f"it is {key.description}, not for {plan.form.algorithm}")
        except ValueError as error:
            self._refused(envelope, "X-DKIM-Key", str(error))
            return None
        domain = options.domain or asked.rpartition("@")[2]
        signatory = Signatory(key, options.selector, domain, asked, options.query_method)
        return Chosen(signatory, (), "")

    async def _message_key(self, own: bytes) -> keys.PrivateKey:
        octets = next((one.octets for one in fields(own) if one.name == X_DKIM_KEY), b"")
        digest = hashlib.sha256(octets).digest()
        key = self._message_keys.get(digest)
        if key is None:
            text = identity.key_text(octets)
            key = await self._loop.run_in_executor(self._threads.keys, keys.parse_key, text)
            if len(self._message_keys) >= MESSAGE_KEYS_MAX:
                self._message_keys.clear()
            self._message_keys[digest] = key
        return key

    def _refused(self, envelope: "Envelope", name: str, why: str) -> None:
        now = clock.now()
        text = f"{name} is refused: {why}"
        if now < self._refusals.get(text, 0.0):
            return
        if len(self._refusals) >= REFUSALS_MAX:
            self._refusals.clear()
        self._refusals[text] = now + REFUSED_AGAIN_S
        self._log(f"message {ids.printed(envelope.message_id)}: {text}")


NOT_ASKED: Final = Chosen(None, (), "")
NO_FROM: Final = Chosen(None, (), "the message has no From field")


def _chosen(
    candidate: Candidate,
    key: keys.PrivateKey,
    asked: str,
    options: Options,
    paths: tuple[str, ...],
) -> Chosen:
    method = options.query_method
    signatory = Signatory(key, candidate.selector, candidate.domain, asked, method)
    return Chosen(signatory, paths, "")
