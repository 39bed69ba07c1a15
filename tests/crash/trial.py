"""One daemon over all its lives: the load on it, what operators do to it, and its deaths.

Ids name one message to one recipient. A message to several carries an id that ends in `*`;
the recipient's address then makes it one for each.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import aiosmtplib

from mta.admin.client import NoDaemonError, ask, is_answered
from mta.admin.protocol import Request
from mta.admin.socket_path import NAME
from mta.daemon.ledger import UNSETTLED_MAX
from mta.sim.load import inject
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.crash.books import Balance, Life, Receipt, reconcile
from tests.e2e.daemon import POLL_S, DaemonFailedError, until
from tests.e2e.loopback import WORKERS, Loopback
from tests.e2e.submission import Letter

FAILPOINTS = {
    "spool.before-commit": 40,
    "spool.after-commit": 40,
    "spool.content-written": 8,
    "settle.before-commit": 40,
    "settle.after-commit": 40,
    "apply.before-commit": 5,
    "apply.after-commit": 5,
    "accounting.before-append": 10,
    "accounting.after-append": 10,
    "accounting.before-position": 3,
    "accounting.after-position": 3,
}
"""With the latest time of its being reached at which it kills."""
OF_WORKERS = FAILPOINTS | {
    "handover.sent": 20,
    "handover.staged": 3,
    "handover.before-acknowledge": 20,
    "handover.before-unstage": 3,
}
"""Where one of several workers can die, too."""
DEATH = re.compile(
    r"^(\S+ \S+) worker \d+ (?:was killed by signal 9|could not be started again)", re.MULTILINE
)
LIFE_S_MAX = 2.0
"""Of a life that ends at random."""
FAILPOINT_S = 20.0
LOAD_ENDS_S = 5.0
DRAIN_S = 120.0
KILLED = -9
LARGE_BODY = "All work and no play makes Jack a dull boy.\r\n" * 8000
SETTLED_WITHIN_S = 2.0
HEARD_S = 0.5
"""After a death: what is received until then counts as received before it."""
CONNECTIONS_MAX = 20
IN_FLIGHT_MAX = CONNECTIONS_MAX + UNSETTLED_MAX
"""Of one worker."""
RCPTS = 4
DOMAINS = ("one.example", "flaky.example", "greylist.example", "corp.example", "two.example")
PROFILES = {
    "flaky.*": Profile(drop_at="content", drop=0.02, defer=0.05),
    "greylist.*": Profile(greylist_tries=1),
    "corp.*": Profile(unknown=("user?", "user1?")),
    "*": Profile(),
}
"""A recipient who is refused is always refused, and nothing taken goes unanswered: whatever
the books disagree in is the daemon's doing."""


@dataclass(frozen=True)
class Plan:
    """How one life ends."""

    how: str
    failpoint: str = ""
    after_s: float = 0.0


def plans(count: int, rng: random.Random, failpoints: dict[str, int] = FAILPOINTS) -> list[Plan]:
    """Each failpoint in turn, and between them random moments; two of three at failpoints."""
    names = list(failpoints)
    rng.shuffle(names)
    planned = []
    for number in range(count):
        if number % 3 == 2:
            after_s = rng.uniform(0.0, LIFE_S_MAX)
            planned.append(Plan(f"at random, {after_s:.2f} s", after_s=after_s))
        else:
            name = names[(number - number // 3) % len(names)]
            nth = rng.randint(1, failpoints[name])
            planned.append(Plan(f"{name}:{nth}", failpoint=f"{name}:{nth}"))
    return planned


@dataclass
class Trial:
    """The daemon of a loopback configuration, and the books that are kept about it."""

    loopback: Loopback
    rng: random.Random
    top: str = ""
    """More lines for the top of the configuration."""
    workers: int = WORKERS
    """With several, each life has two deaths: of one worker, and then of all there is."""
    on_life: Callable[[int, Plan], None] = lambda number, plan: None
    lives: list[Life] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    commands: int = 0
    """What operators did and the daemon confirmed."""

    def __post_init__(self) -> None:
        self._configure()

    async def run(self, planned: list[Plan]) -> None:
        """All lives, then the one that ends well."""
        try:
            for number, plan in enumerate(planned, 1):
                await self._live(plan)
                self.on_life(number, plan)
            await self.drain()
        finally:
            self.loopback.daemon.kill()

    @property
    def in_flight_max(self) -> int:
        """What one death may double, in messages; one of them may have several recipients, which
        the injector here does not mix."""
        return IN_FLIGHT_MAX * self.workers

    def balance(self, provider: Provider, *, settled_within_s: float = SETTLED_WITHIN_S) -> Balance:
        """The books compared, once everything is drained."""
        column = "header_X-Petrel-Test-Id"
        return reconcile(
            accepted=self.accepted,
            receipts=[
                Receipt(_id(r.test_id, r.rcpt), r.time) for r in provider.journal if r.test_id
            ],
            rows=[
                (row["type"], _id(row[column], row["rcpt"]))
                for row in self.loopback.rows("d,b")
                if row[column]
            ],
            lives=self.lives,
            settled_within_s=settled_within_s,
            deaths=self._deaths(),
        )

    def _deaths(self) -> list[float]:
        """Of workers, as logged: one that is started again may die at the failpoint again."""
        found = DEATH.findall(self.loopback.told()) if self.workers > 1 else []
        return [time.mktime(time.strptime(one, "%Y-%m-%d %H:%M:%S")) for one in found]

    def rows_of(self, ids: Collection[str]) -> list[str]:
        """Their rows in short, for whoever looks for the reason."""
        column = "header_X-Petrel-Test-Id"
        return [
            ",".join(
                row[name]
                for name in ("type", "timeLogged", "timeQueued", "rcpt", "dsnStatus", "dsnDiag")
            )
            for row in self.loopback.rows("d,b")
            if row[column] and _id(row[column], row["rcpt"]) in ids
        ]

    def _configure(self, out: int = 5) -> None:
        self.loopback.configure(
            top=f"total-max-smtp-out {CONNECTIONS_MAX}\nworkers {self.workers}\n{self.top}",
            domain=f"max-smtp-out {out}",
            acct="records d,b\nrecord-fields d *,header_X-Petrel-Test-Id\n"
            "record-fields b *,header_X-Petrel-Test-Id",
            is_sender_told=True,
        )

    async def live(self, how: str, body: Callable[[], Awaitable[None]], **environment: str) -> None:
        """One life under load: start, do what body does, and die by kill -9."""
        daemon = self.loopback.daemon
        self._began = time.time()
        try:
            await daemon.start(**environment)
        except DaemonFailedError:
            # Accounting is caught up before it listens: that is a place to die at, too.
            # A worker that dies before all serve ends the daemon, which is no kill.
            is_planned = bool(environment.get("PETREL_FAILPOINT"))
            if not is_planned or (self.workers == 1 and daemon.exit_code != KILLED):
                raise
        async with self._load():
            await body()
            ended = time.time()
            daemon.kill()
        assert self.workers > 1 or daemon.exit_code == KILLED, daemon.said()
        self.lives.append(Life(self._began, ended, how))

    async def _live(self, plan: Plan) -> None:
        """Die as planned."""
        daemon = self.loopback.daemon

        async def body() -> None:
            if self.workers > 1 and daemon.is_running:
                await self._lose_worker(plan)
            elif plan.failpoint:
                await until(lambda: not daemon.is_running, FAILPOINT_S, lambda: plan.how)
            else:
                await asyncio.sleep(plan.after_s)

        how = plan.how if self.workers == 1 else "all"
        await self.live(how, body, PETREL_FAILPOINT=plan.failpoint)

    async def _lose_worker(self, plan: Plan) -> None:
        """One worker dies as planned, which ends a life; the others go on for a while."""
        daemon = self.loopback.daemon
        workers = daemon.children()
        how = plan.how
        try:
            if not plan.failpoint:
                await asyncio.sleep(plan.after_s)
                raise TimeoutError
            async with asyncio.timeout(FAILPOINT_S):
                while not set(workers) - set(daemon.children()):
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            # Which worker gets what is by chance: one may never get there.
            how = plan.how if not plan.failpoint else f"{plan.how} not reached"
            os.kill(self.rng.choice(workers), signal.SIGKILL)
        self.lives.append(Life(self._began, time.time(), how))
        # The sink may have to read yet what the dead has sent.
        await asyncio.sleep(HEARD_S)
        self._began = time.time()
        await asyncio.sleep(self.rng.uniform(0.0, LIFE_S_MAX))

    async def drain(self) -> None:
        """The last life: everything that waits is delivered or given up."""
        daemon = self.loopback.daemon
        began = time.time()
        await daemon.start()
        await until(lambda: is_answered(self.loopback.spool / NAME), FAILPOINT_S)
        await self.loopback.whole()
        for command in (
            Request(command="resume queue", arguments={"queues": "*/*"}),
            Request(command="set queue", arguments={"queues": "*/*", "mode": "normal"}),
        ):
            assert await self._ask(command), daemon.said()
        deadline = began + DRAIN_S
        empty = 0
        while empty < 2:
            # Workers are asked one by one, and mail may be on its way between two of them.
            empty = 0 if (waiting := await self._waiting()) else empty + 1
            assert time.time() < deadline, f"{waiting} recipients still wait\n{daemon.said()}"
        assert await daemon.stop() == 0, daemon.said()
        self.lives.append(Life(began, time.time(), "stopped"))
        assert [_waits_in(spool) for spool in self.loopback.spools] == [0] * self.workers

    async def _waiting(self) -> int:
        said = await self.loopback.daemon.command("--json", "show", "status")
        assert said.code == 0, said.text
        return int(json.loads(said.text)["data"]["status"]["spool"]["totalRcp"])

    # Load

    @contextlib.asynccontextmanager
    async def _load(self) -> AsyncIterator[None]:
        """Messages and commands for as long as somebody listens."""
        loads = (self._small, self._large, self._several, self._operate)
        tasks = [asyncio.create_task(load()) for load in loads]
        try:
            yield
            await asyncio.wait(tasks, timeout=LOAD_ENDS_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _small(self) -> None:
        while self.loopback.daemon.is_running:
            injected = await inject(
                *self.loopback.address, messages=100, connections=5, domains=DOMAINS
            )
            self.accepted.update(injected.accepted)

    async def _large(self) -> None:
        """Content that stands in a file of its own."""
        while self.loopback.daemon.is_running:
            # Whoever is broken off or refused tries again, as any client does.
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                name = f"large-{uuid.uuid4().hex}"
                letter = Letter(f"{name}@{DOMAINS[0]}", f"X-Petrel-Test-Id: {name}\r\n", LARGE_BODY)
                await self.loopback.submit(letter)
                self.accepted.add(name)
            await asyncio.sleep(0)

    async def _several(self) -> None:
        """Messages whose recipients go to several queues, and some to one."""
        smtp = aiosmtplib.SMTP(
            hostname=self.loopback.address[0], port=self.loopback.address[1],
            local_hostname="client.sender.example", start_tls=False, timeout=30,
        )  # fmt: skip
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await smtp.connect()
            while self.loopback.daemon.is_running:
                name = f"several-{uuid.uuid4().hex}*"
                rcpts = [f"{name[:-1]}-{n}@{DOMAINS[n // 2]}" for n in range(RCPTS)]
                letter = Letter(rcpts[0], f"X-Petrel-Test-Id: {name}\r\n")
                await smtp.sendmail(letter.mail_from, rcpts, letter.content)
                self.accepted.update(_id(name, rcpt) for rcpt in rcpts)
        smtp.close()

    # What operators do

    async def _operate(self) -> None:
        """One command after another, of every kind that changes what waits."""
        rng = self.rng
        while self.loopback.daemon.is_running:
            await asyncio.sleep(rng.uniform(0.05, 0.3))
            queues = f"{rng.choice(DOMAINS)}/*"
            kind = rng.randrange(8)
            if kind == 0:
                self._configure(rng.randint(1, 8))
            await self._ask(
                (
                    Request(command="reload"),
                    Request(command="pause queue", arguments={"queues": queues}),
                    Request(command="resume queue", arguments={"queues": "*/*"}),
                    Request(command="set queue", arguments={"queues": queues, "mode": "backoff"}),
                    Request(command="set queue", arguments={"queues": "*/*", "mode": "normal"}),
                    Request(command="schedule", arguments={"queues": queues}),
                    Request(command="delete", arguments={"queue": queues}),
                    Request(command="rotate acct"),
                )[kind]
            )

    async def _ask(self, request: Request) -> bool:
        """Whether the daemon lived to confirm it; a refusal is no harm."""
        said: list[str] = []
        path = self.loopback.spool / NAME
        try:
            end = await asyncio.to_thread(ask, path, request, out=said.append, error=said.append)
        except (NoDaemonError, OSError):
            return False
        self.commands += end == 0
        return end == 0


def _waits_in(spool: Path) -> int:
    """How many recipients wait in the spool of a worker that has stopped."""
    with contextlib.closing(sqlite3.connect(spool / "spool.db")) as connection:
        (count,) = connection.execute("SELECT COUNT(*) FROM recipient").fetchone()
        return int(count)


def _id(test_id: str, rcpt: str) -> str:
    return test_id + rcpt if test_id.endswith("*") else test_id
