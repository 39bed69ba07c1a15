"""Runs a scenario in virtual time and holds the daemon to its invariants all the way."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, assert_never

from mta.admin.operations import CommandRefusedError, RecipientFilter
from mta.admin.pattern import QueuePattern
from mta.model.queue_key import QueueKey
from mta.sim import scenario
from mta.sim.books import Books
from mta.sim.findings import Findings
from mta.sim.loop import VirtualLoop, until
from mta.sim.network import Network
from mta.sim.node import Node
from mta.sim.policy import LISTENER, Policy
from mta.sim.provider import Provider
from mta.sim.rest import Rest
from mta.sim.scenario import DAY_S, HOUR_S, Disturb, Operate, Reload, Restart, Scenario, Submit
from mta.sim.submitter import Letter, content_of, submit
from mta.sim.wire import Wire
from mta.sim.zone import Zone

COMPARED_EVERY_S: Final = 4 * HOUR_S
"""How often the books are compared; what is in memory is looked at at every rest."""


MEMORY: Final = Path("/dev/shm")  # noqa: S108 - names in it are made up by tempfile
"""Where files cost no disk."""


def scratch() -> "TemporaryDirectory[str]":
    """A directory for one run, in memory where there is such a place."""
    return TemporaryDirectory(prefix="petrel-sim-", dir=MEMORY if MEMORY.is_dir() else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a scenario in which nothing was found wrong."""

    accepted: int
    delivered: int
    bounced: int
    attempts: int
    virtual_s: float
    waits: dict[str, float]
    """By queue and directive, for how many seconds due mail waited."""


def simulate(story: Scenario, directory: Path, say: Callable[[str], None] | None = None) -> Result:
    """Run it; InvariantError says what does not hold."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        try:
            return runner.run(Simulation(story, loop, directory, say).run())
        finally:
            # What ends abruptly is cancelled, and nobody is to listen to its complaints.
            loop.before_jump = lambda: None
            loop.set_exception_handler(lambda *_: None)


class Simulation:
    """One run."""

    def __init__(
        self, story: Scenario, loop: VirtualLoop, directory: Path, say: Callable[[str], None] | None
    ) -> None:
        self._story = story
        self._loop = loop
        self._directory = directory
        self._tell = say
        self._dice = random.Random(story.seed)  # noqa: S311 - dice
        self._findings = Findings()
        self._network = Network(loop, self._dice)
        loop.wiring = self._network
        self._zone = Zone(self._dice)
        self._policy = story.policy
        self._wire = Wire(
            self._findings,
            loop.time,
            domain_of=self._domain_of,
            mode_of=self._mode_of,
            slack_s=story.commit_s,
        )
        self._network.observer = self._wire
        self._wire.say = None if say is None else self._say
        self._wire.follow(story.policy)
        self._books = Books(
            self._findings,
            loop.time,
            directory,
            bounce_after=lambda domain, vmta: self._policy.rules(domain, vmta).bounce_after,
            flying=self._flying,
        )
        self._rest = Rest(self._findings, loop.time, self._wire)
        self._node = Node(
            directory,
            self._network,
            self._zone,
            own=story.policy.own,
            say=self._heed,
            commit_s=lambda: self._dice.uniform(0.0, story.commit_s) if story.commit_s else 0.0,
        )
        self._providers: list[Provider] = []
        self._compared_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    # What others ask

    def _say(self, text: str) -> None:
        if self._tell is not None:
            self._tell(f"{self._loop.time():13.3f} {text}")

    def _heed(self, text: str) -> None:
        """The daemon's log; that a queue's mode changed stands there."""
        self._say(text)
        queue, _, rest = text.partition(": ")
        if rest.startswith("entered backoff mode"):
            self._wire.switched(queue, "backoff")
        elif rest.startswith("back to normal mode"):
            self._wire.switched(queue, "normal")
        elif "internal error" in text or "Traceback" in text:
            self._findings.add(self._loop.time(), text)

    def _domain_of(self, ip: str) -> str:
        found = [s.domain for s in self._story.sites if ip in [host[1] for host in s.hosts]]
        return found[0] if len(found) == 1 else ""

    def _mode_of(self, queue: str) -> str:
        if not self._node.is_up:
            return "normal"
        known = self._node.shard.scheduler.queues.get(QueueKey(*queue.split("/")))
        return known.mode if known is not None else "normal"

    def _flying(self) -> set[str]:
        if not self._node.is_up:
            return set()
        queues = self._node.shard.scheduler.queues.values()
        return {r.address for q in queues for c in q.connections.values() for r in c.batch}

    # The run

    async def run(self) -> Result:
        """The whole story, and afterwards until all mail is settled."""
        story, loop = self._story, self._loop
        async with AsyncExitStack() as stack:
            await self._open_sites(stack)
            await self._node.start(story.policy.text(str(self._directory)))
            loop.before_jump = self._look
            for at, event in story.events:
                await asyncio.sleep(max(0.0, at - loop.time()))
                if self._tell is not None:
                    self._say(f"* {event!r}"[:300])
                await self._happen(event)
            await self._calm_down()
            longest = max(rules.bounce_after for rules in self._policy.domains.values())
            await until(self._is_drained, step_s=600, within_s=longest + DAY_S)
            loop.before_jump = self._findings.check
            await self._node.stop()
        self._books.compare()
        self._books.finish((one.journal for one in self._providers), self._wire.ambiguous)
        self._check_nothing_open()
        self._findings.check()
        settled = list(self._books.settled.values())
        return Result(
            accepted=len(self._books.accepted),
            delivered=settled.count("d"),
            bounced=settled.count("b"),
            attempts=self._wire.attempts_total,
            virtual_s=loop.time(),
            waits={name: ms / 1000 for name, ms in self._rest.waits_ms.most_common()},
        )

    def _look(self) -> None:
        """Everything is at rest."""
        if self._node.is_up:
            self._rest.look(self._node.shard)
            if self._loop.time() >= self._compared_at:
                self._compared_at = self._loop.time() + COMPARED_EVERY_S
                self._node.disk.take_in()
                self._books.compare()
        self._findings.check()

    def _is_drained(self) -> bool:
        return not any(q.recipients for q in self._node.shard.scheduler.queues.values())

    def _check_nothing_open(self) -> None:
        if self._network.links:
            self._findings.add(self._loop.time(), f"left open: {list(self._network.links)}")

    async def _open_sites(self, stack: AsyncExitStack) -> None:
        profiles = {site.domain: site.profile for site in self._story.sites}
        opened: set[str] = set()
        for site in self._story.sites:
            values = [f"{10 * n} {name}." for n, (name, _) in enumerate(site.hosts, 1)]
            self._zone.add(site.domain, "MX", *values)
            for number, (name, ip) in enumerate(site.hosts):
                conditions = self._network.conditions(ip)
                conditions.latency_s, conditions.jitter_s = site.latency_s, site.jitter_s
                conditions.is_silent = site.is_dead and number == 0
                self._zone.add(name, "A", ip)
                if ip not in opened:
                    opened.add(ip)
                    seed = self._story.seed * 1000 + len(opened)
                    provider = Provider(
                        {**profiles, "*": site.profile}, host=ip, port=25, seed=seed
                    )
                    self._providers.append(await stack.enter_async_context(provider))

    # Events

    async def _happen(self, event: scenario.Event) -> None:
        match event:
            case Submit(letters):
                self._start(self._submit(list(letters)))
            case Operate(word, pattern):
                if self._node.is_up:
                    await self._operate(word, QueuePattern.parse(pattern))
            case Reload(policy):
                self._follow(policy)
                self._node.reload(policy.text(str(self._directory)))
            case Restart(down_s):
                await self._node.stop()
                self._books.compare()
                await asyncio.sleep(down_s)
                await self._node.start(self._policy.text(str(self._directory)))
                self._wire.forget()
            case Disturb(trouble, domain, for_s):
                self._start(self._disturb(trouble, domain, for_s))
            case _:
                assert_never(event)

    def _follow(self, policy: Policy) -> None:
        self._policy = policy
        self._wire.follow(policy)

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _submit(self, letters: list[Letter]) -> None:
        for letter in letters:
            self._wire.sizes[letter.test_id] = len(content_of(letter))
        try:
            accepted = await submit(LISTENER, letters)
        except OSError:
            return  # the daemon is down; nothing was promised
        for letter in accepted:
            self._books.accepted.update(dict.fromkeys(letter.rcpts, self._loop.time()))

    async def _operate(self, word: scenario.OperatorWord, pattern: QueuePattern) -> None:
        operations = self._node.operations
        try:
            match word:
                case "pause" | "resume":
                    await operations.pause(pattern, paused=word == "pause")
                case "backoff" | "normal":
                    await operations.set_mode(pattern, word)
                case "schedule":
                    await operations.schedule(pattern, recipients=True)
                case "delete":
                    wanted = RecipientFilter(queue=pattern)
                    await operations.delete(wanted, dsn=False, accounting=True)
                case _:
                    assert_never(word)
        except CommandRefusedError as error:
            self._say(f"refused: {error}")

    async def _disturb(self, trouble: scenario.Trouble, domain: str, for_s: float) -> None:
        site = next(site for site in self._story.sites if site.domain == domain)
        ways = [self._network.conditions(ip) for _, ip in site.hosts]
        match trouble:
            case "refusing" | "silent":
                name = f"is_{trouble}"
                before = [getattr(way, name) for way in ways]
                for way in ways:
                    setattr(way, name, True)
                await asyncio.sleep(for_s)
                for way, value in zip(ways, before, strict=True):
                    setattr(way, name, value)
            case "slow":
                for way in ways:
                    way.latency_s += 5.0
                await asyncio.sleep(for_s)
                for way in ways:
                    way.latency_s -= 5.0
            case "cut":
                hosts = {ip for _, ip in site.hosts}
                for link in list(self._network.links.values()):
                    if link.server[0] in hosts:
                        self._network.cut(link)
            case "servfail" | "dns-silent":
                names = self._zone.failing if trouble == "servfail" else self._zone.silent
                names.add(domain)
                await asyncio.sleep(for_s)
                names.discard(domain)
            case _:
                assert_never(trouble)

    async def _calm_down(self) -> None:
        """Operators go home, and leave everything as it should be."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._operate("resume", QueuePattern.parse("*/*"))
        await self._operate("normal", QueuePattern.parse("*/*"))
