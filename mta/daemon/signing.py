"""Signs the messages of this shard as their queues ask (DKIM).

What a queue asks is worked out once for each configuration, and so are its keys. The signature
is made of the octets that will be sent: the header block as rendered, the body as stored. RSA
operations are made in processes, as they take as long as all else that happens to a message. All
else is done on the loop, as to hand over the interpreter costs more than the work takes; only
large bodies are hashed on threads.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InternalError, UnsupportedAlgorithm

from mta import clock, ids
from mta.daemon.signatories import Plan, Signatories
from mta.daemon.signing_processes import Operation
from mta.daemon.signing_threads import Threads
from mta.model.message import Content, FileContent
from mta.signing.signature import (
    BodyForm,
    BodyHash,
    BodyHasher,
    Draft,
    Signatory,
    SignatureForm,
    body_hash,
    draft,
)
from mta.smtp.head import Head

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.model.message import Envelope
    from mta.model.queue_key import QueueKey
    from mta.settings.domain import DomainSettings

PLANS_MAX: Final = 20_000
"""Pairs of a VirtualMTA and rules whose signing is worked out; a few KB each."""
BODY_HASHES_MAX: Final = 4096
"""Bodies whose hash is remembered for their other recipients, and for retries."""
INLINE_OCTETS_MAX: Final = 64 << 10
"""A body up to this size is hashed on the event loop: 0.1 to 0.2 ms."""
CHUNK_OCTETS: Final = 256 << 10
"""How much of a large body is in memory at once."""
UNSIGNED: Final = (OSError, ValueError, UnsupportedAlgorithm, InternalError)
"""What may go wrong with a file, a key, or a hash that this host's OpenSSL refuses."""
PREFIXES: Final = (("dkim", "dkim_"), ("second-dkim", "second_dkim_"))


class Signer:
    """Signs under one configuration."""

    def __init__(
        self, configuration: "Configuration", threads: Threads, log: Callable[[str], None]
    ) -> None:
        self.signatories = Signatories(configuration, threads, log)
        self._configuration = configuration
        self._threads = threads
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._plans: dict[tuple[int, str], tuple[DomainSettings, tuple[Plan, ...]]] = {}
        self._known: dict[tuple[int, BodyForm], BodyHash] = {}

    def plans(self, key: "QueueKey") -> tuple[Plan, ...]:
        """The signatures that messages of a queue may get; shared by queues of the same rules."""
        settings = self._configuration.domain(key)
        same = (id(settings), key.vmta)
        found = self._plans.get(same)
        if found is None:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            of_vmta = self._configuration.domain_keys(key.vmta)
            forms = [(name, SignatureForm.of(settings, prefix)) for name, prefix in PREFIXES]
            plans = tuple(
                Plan(name, key.vmta, form, of_vmta) for name, form in forms if form.sign != "no"
            )
            found = self._plans[same] = (settings, plans)
        return found[1]

    async def sign(
        self, key: "QueueKey", envelope: "Envelope", head: Head, own: bytes, content: Content
    ) -> Head:
        """The header block with signatures on top; as it was where nothing can sign.

        `own` is the header block the message came with.
        """
        block = head.octets + own[head.skip :]
        jobs: list[tuple[Plan, Signatory]] = []
        for plan in self.plans(key):
            chosen = await self.signatories.choose(plan, envelope, block, own)
            if chosen.signatory is not None:
                plan.signed += 1
                jobs.append((plan, chosen.signatory))
            elif chosen.why:
                plan.unsigned += 1
                plan.last_why = chosen.why
        if not jobs:
            return head
        try:
            start = max(head.skip, envelope.head_size)
            forms = {plan.form.body for plan, _ in jobs}
            if isinstance(content, bytes) and len(content) <= INLINE_OCTETS_MAX:
                bodies = self._bodies(forms, envelope.message_id, content, start)
            else:
                bodies = await self._on_thread(forms, envelope.message_id, content, start)
            now = int(clock.now())
            drafts: list[Draft] = []
            operations: list[Operation] = []
            is_fast = True
            for plan, signatory in jobs:
                form = plan.form
                one = draft(form, signatory, block, bodies[form.body], now)
                drafts.append(one)
                operations.append(Operation(signatory.key, form.algorithm, one.covered))
                is_fast = is_fast and signatory.key.is_fast
            if is_fast:
                made = [one.signed() for one in operations]
            else:
                made = await self._threads.sign(operations)
        except UNSIGNED as error:
            self._log(f"message {ids.printed(envelope.message_id)} is sent unsigned: {error}")
            return head
        signatures = [one.signed(octets) for one, octets in zip(drafts, made, strict=True)]
        return Head(b"".join([*signatures, head.octets]), head.skip)

    async def _on_thread(
        self, forms: set[BodyForm], message_id: int, content: Content, start: int
    ) -> dict[BodyForm, BodyHash]:
        """The hashes of a large body."""
        threads = self._threads
        executor = threads.files if isinstance(content, FileContent) else threads.keys
        return await self._loop.run_in_executor(
            executor, self._bodies, forms, message_id, content, start
        )

    def _bodies(
        self, forms: set[BodyForm], message_id: int, content: Content, start: int
    ) -> dict[BodyForm, BodyHash]:
        """The hashes of the body, which begins at `start`; what is not known in one reading."""
        bodies = {}
        unknown = []
        for form in forms:
            known = self._known.get((message_id, form))
            if known is None:
                unknown.append(form)
            else:
                bodies[form] = known
        if unknown:
            made = _body_hashes(unknown, content, start)
            for form, found in zip(unknown, made, strict=True):
                if len(self._known) >= BODY_HASHES_MAX:
                    self._known = {}
                bodies[form] = self._known[message_id, form] = found
        return bodies


def _body_hashes(forms: list[BodyForm], content: Content, start: int) -> list[BodyHash]:
    """The hashes of a body that begins at `start`; a file is read once."""
    if isinstance(content, bytes):
        body = content[start:]
        return [body_hash(form, body) for form in forms]
    hashers = [BodyHasher(form) for form in forms]
    with content.path.open("rb") as file:
        file.seek(start)
        while octets := file.read(CHUNK_OCTETS):
            for hasher in hashers:
                hasher.update(octets)
    return [hasher.finish() for hasher in hashers]
