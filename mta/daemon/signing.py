"""Signs the messages of this shard as their queues ask (DKIM).

What a queue asks is worked out once for each configuration, and so are its keys. The signature
is made of the octets that will be sent: the header block as rendered, the body as stored. Key
operations run on threads, as they take longer than all else that happens to a message, and
leave the interpreter to the event loop meanwhile.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import cpu_count
from typing import TYPE_CHECKING, Final, NamedTuple

from mta import clock, ids
from mta.model.message import Content, FileContent
from mta.settings import dkim_kinds
from mta.signing import identity, keys
from mta.signing.canonical import fields
from mta.signing.choice import Candidate, Wanted, candidates
from mta.signing.identity import NO_OPTIONS, Options
from mta.signing.keys import KeyFile, KeyRing
from mta.signing.signature import (
    BodyForm,
    BodyHash,
    BodyHasher,
    Signatory,
    SignatureForm,
    signature,
)
from mta.smtp.head import Head

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.model.domain_key import DomainKey
    from mta.model.message import Envelope
    from mta.model.queue_key import QueueKey
    from mta.signing.canonical import Field

PLANS_MAX: Final = 100_000
"""Queues whose signing is worked out; each a few hundred octets."""
CHOICES_MAX: Final = 50_000
"""Identities for which a key was looked up."""
BODY_HASHES_MAX: Final = 4096
"""Bodies whose hash is remembered for their other recipients, and for retries."""
MESSAGE_KEYS_MAX: Final = 64
"""Keys that came with messages and are remembered, so that they are parsed once."""
INLINE_OCTETS_MAX: Final = 64 << 10
"""A body up to this size is hashed on the event loop if no RSA operation needs a thread."""
CHUNK_OCTETS: Final = 256 << 10

X_DKIM_KEY: Final = b"x-dkim-key"
PREFIXES: Final = (("dkim", "dkim_"), ("second-dkim", "second_dkim_"))


class Chosen(NamedTuple):
    """What came of looking for a key."""

    signatory: Signatory | None
    paths: tuple[str, ...]
    """The files that decided it."""
    why: str
    """Why there is none, for people."""


@dataclass(slots=True, eq=False)
class Plan:
    """One signature of a queue: how it looks, the keys for it, and what became of it."""

    name: str
    """`dkim` or `second-dkim`, as the directives begin."""
    form: SignatureForm
    keys: "tuple[DomainKey, ...]"
    choices: dict[tuple[int, str, Options], Chosen] = field(default_factory=dict)
    signed: int = 0
    unsigned: int = 0
    last_why: str = ""


class Threads:
    """Where the work of signing is done. One for key operations, one for large files."""

    def __init__(self) -> None:
        self.keys = ThreadPoolExecutor(cpu_count() or 1, thread_name_prefix="dkim")
        self.files = ThreadPoolExecutor(1, thread_name_prefix="dkim-files")

    def close(self) -> None:
        self.keys.shutdown(cancel_futures=True)
        self.files.shutdown(cancel_futures=True)


class Signer:
    """Signs under one configuration."""

    def __init__(
        self, configuration: "Configuration", threads: Threads, log: Callable[[str], None]
    ) -> None:
        self._configuration = configuration
        self._threads = threads
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._ring = KeyRing()
        self._plans: dict[QueueKey, tuple[Plan, ...]] = {}
        self._body_hashes: dict[tuple[int, BodyForm], BodyHash] = {}
        self._message_keys: dict[bytes, keys.PrivateKey] = {}

    def plans(self, key: "QueueKey") -> tuple[Plan, ...]:
        """The signatures that messages of a queue may get."""
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            settings = self._configuration.domain(key)
            of_vmta = self._configuration.domain_keys(key.vmta)
            forms = [(name, SignatureForm.of(settings, prefix)) for name, prefix in PREFIXES]
            found = tuple(Plan(name, form, of_vmta) for name, form in forms if form.sign != "no")
            self._plans[key] = found
        return found

    async def sign(
        self, key: "QueueKey", envelope: "Envelope", head: Head, own: bytes, content: Content
    ) -> Head:
        """The header block with signatures on top; as it was where nothing can sign.

        `own` is the header block the message came with.
        """
        found = fields(head.octets + own[head.skip :])
        jobs: list[_Job] = []
        for plan in self.plans(key):
            chosen = await self._choose(plan, envelope, found, own)
            if chosen.signatory is not None:
                plan.signed += 1
                jobs.append((plan, chosen.signatory))
            elif chosen.why:
                plan.unsigned += 1
                plan.last_why = chosen.why
        if not jobs:
            return head
        now = int(clock.now())
        start = max(head.skip, envelope.head_size)
        forms = {plan.form.body for plan, _ in jobs}
        try:
            if isinstance(content, FileContent):
                bodies = await self._loop.run_in_executor(
                    self._threads.files, self._bodies, forms, envelope.message_id, content, start
                )
                octets = await self._loop.run_in_executor(
                    self._threads.keys, _signatures, jobs, found, bodies, now
                )
            elif len(content) <= INLINE_OCTETS_MAX and all(one.key.is_fast for _, one in jobs):
                bodies = self._bodies(forms, envelope.message_id, content, start)
                octets = _signatures(jobs, found, bodies, now)
            else:
                octets = await self._loop.run_in_executor(
                    self._threads.keys,
                    self._sign,
                    jobs,
                    found,
                    envelope.message_id,
                    content,
                    start,
                    now,
                )
        except (OSError, ValueError) as error:
            self._log(f"message {ids.printed(envelope.message_id)} is sent unsigned: {error}")
            return head
        return Head(octets + head.octets, head.skip)

    # Whose key

    async def _choose(
        self, plan: Plan, envelope: "Envelope", found: "Sequence[Field]", own: bytes
    ) -> Chosen:
        options = NO_OPTIONS
        if plan.name == "dkim" and envelope.dkim_options:
            parsed = identity.parse_options(envelope.dkim_options)
            if isinstance(parsed, str):
                self._refused(envelope, "X-DKIM-Options", parsed)
            else:
                options = parsed
        if plan.form.sign == dkim_kinds.IF_OPTIONS and options is NO_OPTIONS:
            return NOT_ASKED
        if not any(one.name == b"from" for one in found):
            return NO_FROM
        asked = options.identity or (f"@{options.domain}" if options.domain else "")
        if not asked:
            asked = plan.form.identity
            if asked in (dkim_kinds.SENDER_OR_FROM, dkim_kinds.STRICT_FROM):
                asked = identity.header_identity(found, asked)
        if envelope.has_dkim_key and plan.name == "dkim":
            chosen = await self._of_message(plan, envelope, own, asked, options)
            if chosen is not None:
                return chosen
        return await self.chosen(plan, asked, options)

    async def chosen(self, plan: Plan, asked: str, options: Options = NO_OPTIONS) -> Chosen:
        """Who signs for an identity, from memory where it was asked before."""
        choice = (self._ring.version, asked, options)
        known = plan.choices.get(choice)
        if known is None:
            known = await self._look_up(plan, asked, options)
            if len(plan.choices) >= CHOICES_MAX:
                plan.choices.clear()
            plan.choices[choice] = known
        for path in known.paths:
            if self._ring.is_to_be_checked(path, clock.now()):
                self._threads.keys.submit(self._check, path)
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
        strict = form.identity == dkim_kinds.STRICT_FROM and not options.identity
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
        self._log(f"message {ids.printed(envelope.message_id)}: {name} is refused: {why}")

    # Beside the event loop

    def _sign(
        self,
        jobs: "Sequence[_Job]",
        found: "Sequence[Field]",
        message_id: int,
        content: bytes,
        start: int,
        now: int,
    ) -> bytes:
        forms = {plan.form.body for plan, _ in jobs}
        return _signatures(jobs, found, self._bodies(forms, message_id, content, start), now)

    def _bodies(
        self, forms: set[BodyForm], message_id: int, content: Content, start: int
    ) -> dict[BodyForm, BodyHash]:
        """The hashes of the body, which begins at `start`; what is not known in one reading."""
        bodies = {}
        hashers = {}
        for form in forms:
            known = self._body_hashes.get((message_id, form))
            if known is None:
                hashers[form] = BodyHasher(form)
            else:
                bodies[form] = known
        if hashers:
            for octets in _pieces(content, start):
                for hasher in hashers.values():
                    hasher.update(octets)
        for form, hasher in hashers.items():
            if len(self._body_hashes) >= BODY_HASHES_MAX:
                self._body_hashes = {}
            bodies[form] = self._body_hashes[message_id, form] = hasher.finish()
        return bodies


_Job = tuple[Plan, Signatory]


def _signatures(
    jobs: Sequence[_Job], found: "Sequence[Field]", bodies: dict[BodyForm, BodyHash], now: int
) -> bytes:
    """The signatures, the first on top."""
    return b"".join(
        signature(plan.form, signatory, found, bodies[plan.form.body], now)
        for plan, signatory in jobs
    )


def _pieces(content: Content, start: int) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content[start:]
        return
    with content.path.open("rb") as file:
        file.seek(start)
        while octets := file.read(CHUNK_OCTETS):
            yield octets


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
