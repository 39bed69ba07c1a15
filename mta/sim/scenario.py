"""A seeded story of days: a sender, providers in all moods, operators, faults, restarts."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from mta.sim.policy import Pace, Policy, QueueRules, VmtaRules
from mta.sim.profile import STAGES, Profile
from mta.sim.submitter import Letter
from mta.units import DataRate, Rate

HOUR_S: Final = 3600
DAY_S: Final = 86400
MESSAGES: Final = 60
"""Of a story of any length; a load of its own is another test's subject."""

OperatorWord = Literal["pause", "resume", "backoff", "normal", "schedule", "delete"]
Trouble = Literal["refusing", "silent", "slow", "cut", "servfail", "dns-silent"]


@dataclass(frozen=True, slots=True)
class Submit:
    """An application sends these, over one connection."""

    letters: tuple[Letter, ...]


@dataclass(frozen=True, slots=True)
class Operate:
    """An operator says a word about queues."""

    word: OperatorWord
    pattern: str


@dataclass(frozen=True, slots=True)
class Reload:
    """Another configuration."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class Restart:
    """Down for so long."""

    down_s: float


@dataclass(frozen=True, slots=True)
class Disturb:
    """Something is wrong with a domain's hosts or names, for so long."""

    trouble: Trouble
    domain: str
    for_s: float


Event = Submit | Operate | Reload | Restart | Disturb


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A domain and who receives for it."""

    domain: str
    hosts: tuple[tuple[str, str], ...]
    """Names and addresses of its MX, best first."""
    profile: Profile
    latency_s: float
    jitter_s: float
    is_dead: bool = False
    """Its first host never answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What happens, and when."""

    seed: int
    days: float
    sites: tuple[Site, ...]
    policy: Policy
    commit_s: float
    """The longest a commit of the spool takes."""
    events: tuple[tuple[float, Event], ...] = field(repr=False)


def scenario(seed: int, days: float, messages: int = MESSAGES) -> Scenario:
    """The story of a seed."""
    return _Author(seed, days, messages).write()


class _Author:
    """Throws the dice, always in the same order."""

    def __init__(self, seed: int, days: float, messages: int) -> None:
        self._seed = seed
        self._days = days
        self._messages = messages
        self._dice = random.Random(seed)  # noqa: S311 - dice

    def write(self) -> Scenario:
        dice = self._dice
        sites = tuple(self._site(number) for number in range(dice.randint(2, 5)))
        shared = self._shared(sites)
        policy = self._policy(shared)
        events = [*self._traffic(shared, policy), *self._disturbances(shared)]
        events += self._operators(shared, policy)
        return Scenario(
            seed=self._seed,
            days=self._days,
            sites=shared,
            policy=policy,
            commit_s=dice.choice((0.0, 0.0, 0.02)),
            events=tuple(sorted(events, key=lambda event: event[0])),
        )

    def _chance(self, probability: float) -> bool:
        return self._dice.random() < probability

    def _when(self) -> float:
        return self._dice.uniform(0, self._days * DAY_S)

    # Providers

    def _site(self, number: int) -> Site:
        dice = self._dice
        domain = f"d{number}.example"
        hosts = tuple(
            (f"mx{host}.{domain}", f"198.51.{100 + number}.{host}")
            for host in range(1, dice.randint(1, 3) + 1)
        )
        return Site(
            domain=domain,
            hosts=hosts,
            profile=self._profile(),
            latency_s=dice.choice((0.001, 0.02, 0.1)),
            jitter_s=dice.choice((0.0, 0.0, 0.05)),
            is_dead=self._chance(0.1),
        )

    def _shared(self, sites: tuple[Site, ...]) -> tuple[Site, ...]:
        """Sometimes two domains are received for by the same hosts."""
        if len(sites) > 2 and self._chance(0.3):
            first, second, *rest = sites
            return (first, replace(second, hosts=first.hosts, is_dead=first.is_dead), *rest)
        return sites

    def _profile(self) -> Profile:
        dice = self._dice
        moods: tuple[Callable[[], Profile], ...] = (
            Profile,
            lambda: Profile(messages_per_connection=dice.randint(1, 10)),
            lambda: Profile(connections_per_ip=dice.randint(1, 4)),
            lambda: Profile(messages_per_second=dice.randint(1, 5), defer=0.02),
            lambda: Profile(greylist_tries=dice.randint(1, 3)),
            lambda: Profile(delay_s=dice.choice((0.5, 5.0, 60.0, 400.0))),
            lambda: Profile(refuse=0.3, defer=0.3),
            lambda: Profile(drop_at=dice.choice(STAGES), drop=dice.choice((0.1, 0.5, 1.0))),
            lambda: Profile(pipelining=False, defer=0.1),
            lambda: Profile(defer=1.0),
        )
        return dice.choice(moods)()

    # The sender

    def _rate(self, *limits: int) -> Rate | None:
        if self._chance(0.4):
            return None
        return Rate(self._dice.choice(limits), self._dice.choice((1, 60, 900, 3600)))

    def _data_rate(self) -> DataRate | None:
        """Of letters of 300 and of 5000 octets: some do not fit at all, and go alone."""
        if self._chance(0.85):
            return None
        return DataRate(
            self._dice.choice((1 << 10, 8 << 10, 64 << 10)), self._dice.choice((60, 900))
        )

    def _pace(self) -> Pace:
        return Pace(
            data_rate=self._data_rate(),
            connections=self._dice.choice((1, 1, 2, 5, 20)),
            msg_rate=self._rate(1, 3, 10, 50),
            connect_rate=self._rate(1, 2, 10),
        )

    def _rules(self) -> QueueRules:
        dice = self._dice
        normal, backoff = self._pace(), self._pace()
        return QueueRules(
            normal=normal,
            backoff=replace(
                backoff,
                # What is not given in backoff is as in normal mode.
                msg_rate=backoff.msg_rate or normal.msg_rate,
                connect_rate=backoff.connect_rate or normal.connect_rate,
                data_rate=backoff.data_rate or normal.data_rate,
            ),
            retry_after=dice.choice(((600,), (60, 600, HOUR_S), (4 * HOUR_S,))),
            backoff_retry_after=dice.choice(((HOUR_S,), (600, 2 * HOUR_S))),
            retry_recipients_after=dice.choice((300, 1800, 2 * HOUR_S)),
            bounce_after=dice.choice((3 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S + HOUR_S // 2)),
            source_connections=dice.choice((None, None, None, 1, 2)),
            source_msg_rate=self._rate(1, 5, 20) if self._chance(0.2) else None,
            source_connect_rate=self._rate(1, 5) if self._chance(0.2) else None,
            source_data_rate=self._data_rate(),
            priority=dice.choice((50, 50, 10, 90)),
            rampup=dice.choice((0, 0, 0, 5, 60)),
            max_msg_per_connection=dice.choice((0, 0, 1, 5)),
            max_rcpt_per_message=dice.choice((1, 2, 1000)),
            connection_idle_timeout=dice.choice((0, 5, 60)),
            backoff_to_normal_after=dice.choice((600, 4 * HOUR_S)),
            flags=tuple(
                flag
                for flag in (
                    "retry-upon-new-mail",
                    "backoff-upon-all-sources-disabled",
                    "backoff-to-normal-after-delivery",
                    "smtp-421-means-mx-unavailable",
                    "bounce-upon-transfer-failure",
                    "allow-priority-interruption-during-transfer",
                )
                if self._chance(0.2)
            ),
        )

    def _policy(self, sites: tuple[Site, ...]) -> Policy:
        dice = self._dice
        domains = {site.domain: self._rules() for site in sites}
        vmtas = {}
        for number in range(1, dice.randint(1, 3) + 1):
            vmtas[f"vmta{number}"] = VmtaRules(
                ips=tuple(f"10.0.{number}.{ip}" for ip in range(1, dice.randint(1, 3) + 1)),
                connections=dice.choice((None, 1, 2, 5)),
                msg_rate=self._rate(1, 5, 20) if self._chance(0.4) else None,
                data_rate=self._data_rate(),
                domains={
                    domain: replace(self._rules(), bounce_after=rules.bounce_after)
                    for domain, rules in domains.items()
                    if self._chance(0.3)
                },
            )
        return Policy(
            total=dice.choice((1, 3, 10, 1000)),
            host_connections=dice.choice((None, None, 1, 2)),
            mx_connections=dice.choice((None, None, None, 1, 3)),
            vmtas=vmtas,
            domains=domains,
            patterns=tuple(self._patterns()),
        )

    def _patterns(self) -> Iterator[str]:
        actions = (
            "mode=backoff",
            "mode=backoff,backoff-to-normal-after=20m",
            "disable-source-ip,reenable-after=30m",
            "disable-source-ip,reenable-after=2h",
            "defer-queue",
            "skip-mx",
            "bounce-queue",
            "bounce-rcpt",
            "mode=backoff,disable-source-ip,reenable-after=10m",
        )
        for text in (
            "4.7.28",
            "too many connections",
            "too many messages",
            "greylisted",
            "try again later",
            "user unknown",
            "refused by policy",
        ):
            if self._chance(0.4):
                yield f"/{text}/ {self._dice.choice(actions)}"

    # What happens

    def _traffic(self, sites: tuple[Site, ...], policy: Policy) -> Iterator[tuple[float, Event]]:
        dice = self._dice
        left, number = self._messages, 0
        while left > 0:
            at = self._when()
            burst = min(left, dice.choice((1, 3, 10, 40)))
            left -= burst
            letters = []
            vmta = dice.choice(list(policy.vmtas))
            domains = [dice.choice(sites).domain for _ in range(dice.choice((1, 1, 2)))]
            for _ in range(burst):
                number += 1
                rcpts = [
                    f"u{number}.{n}@{dice.choice(domains)}"
                    for n in range(dice.choice((1, 1, 1, 3)))
                ]
                letters.append(
                    Letter(
                        test_id=str(number),
                        mail_from=dice.choice(("", f"news{dice.randint(1, 3)}@sender.example")),
                        rcpts=tuple(rcpts),
                        vmta=vmta,
                        job_id=dice.choice(("", "job1")),
                        size=dice.choice((300, 300, 5000)),
                    )
                )
            yield at, Submit(tuple(letters))

    def _disturbances(self, sites: tuple[Site, ...]) -> Iterator[tuple[float, Event]]:
        troubles: tuple[Trouble, ...] = (
            "refusing", "silent", "slow", "cut", "servfail", "dns-silent",
        )  # fmt: skip
        for _ in range(self._dice.randint(0, 6)):
            trouble = self._dice.choice(troubles)
            for_s = self._dice.choice((30.0, 1800.0, 6.0 * HOUR_S))
            yield self._when(), Disturb(trouble, self._dice.choice(sites).domain, for_s)

    def _operators(self, sites: tuple[Site, ...], policy: Policy) -> Iterator[tuple[float, Event]]:
        dice = self._dice
        words: tuple[OperatorWord, ...] = ("pause", "backoff", "normal", "schedule", "delete")
        for _ in range(dice.randint(0, 8)):
            at = self._when()
            domain = dice.choice([*(site.domain for site in sites), "*"])
            pattern = f"{domain}/{dice.choice([*policy.vmtas, '*'])}"
            word = dice.choice(words)
            yield at, Operate(word, pattern)
            if word == "pause":
                yield at + dice.uniform(60, 8 * HOUR_S), Operate("resume", pattern)
        for _ in range(dice.choice((0, 0, 1, 3))):
            changed = self._changed(policy)
            yield self._when(), Reload(changed)
        for _ in range(dice.choice((0, 0, 1, 2))):
            yield self._when(), Restart(dice.choice((1.0, 600.0)))

    def _changed(self, policy: Policy) -> Policy:
        """The same queues under other limits; mail is given up at the same age."""
        domains = {
            domain: replace(self._rules(), bounce_after=rules.bounce_after)
            for domain, rules in policy.domains.items()
        }
        vmtas = {
            name: replace(
                vmta,
                connections=self._dice.choice((None, 1, 3)),
                domains={
                    domain: replace(self._rules(), bounce_after=rules.bounce_after)
                    for domain, rules in vmta.domains.items()
                },
            )
            for name, vmta in policy.vmtas.items()
        }
        return replace(policy, domains=domains, vmtas=vmtas, total=self._dice.choice((1, 5, 1000)))
