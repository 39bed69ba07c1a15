"""Three books kept by three parties, and what it takes for them to agree.

The injector knows what was answered 250, the sink what it took, the accounting files
what the daemon says became of it. An id names one message to one recipient; times are
epoch seconds. A daemon that is killed may not have heard the sink's answer, and will then
deliver again: only such receipts may be double, only a few, and only late ones.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple


class Receipt(NamedTuple):
    """The sink answered 250 to the content of a message."""

    id: str
    time: float


class Life(NamedTuple):
    """One life of the daemon; the last one is not killed but stopped."""

    began: float
    ended: float
    how: str


@dataclass(frozen=True)
class Balance:
    """What reconciliation found; all but the first two groups must be empty."""

    lives: Sequence[Life]
    accepted: int
    delivered: int
    bounced: int
    unanswered: int
    """Not answered 250 before a kill, and carried through all the same."""
    doubled: Sequence[int]
    """Receipts that repeated one of the life, per life."""
    lost: Collection[str]
    """Answered 250, and neither taken by the sink nor accounted as bounced."""
    unaccounted: Collection[str]
    """Taken by the sink or answered 250, without a row."""
    accounted_twice: Collection[str]
    invented: Collection[str]
    """Accounted as delivered, and never taken by the sink."""
    contradicted: Collection[str]
    """Accounted as bounced, and taken by the sink, though its answer cannot have been lost."""
    doubled_early: Mapping[str, str]
    """Delivered again though the first receipt was no longer in flight at a kill; when that was."""

    def problems(self, in_flight_max: int) -> list[str]:
        """What is wrong, in words; `in_flight_max` bounds what one kill may double."""
        kinds = ("lost", "unaccounted", "accounted_twice", "invented", "contradicted")
        found = [
            f"{kind}: {len(ids)}, such as {sorted(ids)[:3]}"
            for kind in kinds
            if (ids := getattr(self, kind))
        ]
        if self.doubled_early:
            some = sorted(self.doubled_early.items())[:3]
            found.append(f"doubled_early: {len(self.doubled_early)}, such as {some}")
        return found + [
            f"kill {number} doubled {count}, and at most {in_flight_max} were in flight"
            for number, count in enumerate(self.doubled, 1)
            if count > in_flight_max
        ]

    def table(self) -> str:
        """Every life, and the summary, for people."""
        rows = (
            f"  {life.how:28} {life.ended - life.began:7.2f} {doubled:>7}"
            for life, doubled in zip(self.lives, self.doubled, strict=True)
        )
        head = f"  {'killed at':28} {'seconds':>7} {'doubled':>7}"
        return "\n".join([head, *rows, "", self.summary()])

    def summary(self) -> str:
        """What all lives together came to, for people."""
        rows = [
            ("kills", len(self.lives) - 1),
            ("answered 250", self.accepted),
            ("carried through unanswered", self.unanswered),
            ("accounted delivered", self.delivered),
            ("accounted bounced", self.bounced),
            ("lost", len(self.lost)),
            ("doubled", sum(self.doubled)),
            ("doubled by the worst kill", max(self.doubled, default=0)),
            ("without a row", len(self.unaccounted)),
            ("with two rows", len(self.accounted_twice)),
            ("rows the sink denies", len(self.invented) + len(self.contradicted)),
        ]
        return "\n".join(f"  {what:28} {count:>7}" for what, count in rows)


def reconcile(
    *,
    accepted: Collection[str],
    receipts: Iterable[Receipt],
    rows: Iterable[tuple[str, str]],
    lives: Sequence[Life],
    settled_within_s: float,
    deaths: Collection[float] = (),
) -> Balance:
    """Compare the books when all queues are empty; `rows` are (type `d` or `b`, id).

    A receipt older than `settled_within_s` at a kill must have been settled. `deaths` are of
    workers beside those that ended a life, in whole seconds.
    """
    by_id: dict[str, list[float]] = {}
    for receipt in sorted(receipts, key=lambda r: r.time):
        by_id.setdefault(receipt.id, []).append(receipt.time)
    doubled, early = _doubled(by_id, lives, settled_within_s, deaths)

    listed = list(rows)
    outcomes = Counter(name for _, name in listed)
    delivered = {name for kind, name in listed if kind == "d"}
    bounced = {name for kind, name in listed if kind == "b"}
    return Balance(
        lives=lives,
        accepted=len(accepted),
        delivered=len(delivered),
        bounced=len(bounced),
        unanswered=len((by_id.keys() | bounced) - set(accepted)),
        doubled=doubled,
        lost=set(accepted) - by_id.keys() - bounced,
        unaccounted=(by_id.keys() | set(accepted)) - outcomes.keys(),
        accounted_twice={name for name, count in outcomes.items() if count > 1},
        invented=delivered - by_id.keys(),
        contradicted={
            name
            for name in bounced & by_id.keys()
            if not _in_flight(by_id[name], lives, settled_within_s)
        },
        doubled_early=early,
    )


def _in_flight(times: Sequence[float], lives: Sequence[Life], settled_within_s: float) -> bool:
    """Whether the sink's answer to the last receipt may have been lost in a kill.

    The recipient still waits then, and an operator may delete it.
    """
    begins = [life.began for life in lives]
    life = max(bisect_right(begins, times[-1]) - 1, 0)
    return life < len(lives) - 1 and times[-1] >= lives[life].ended - settled_within_s


def _doubled(
    by_id: dict[str, list[float]],
    lives: Sequence[Life],
    settled_within_s: float,
    deaths: Collection[float],
) -> tuple[list[int], dict[str, str]]:
    """How many receipts each life left to be repeated, and which it should not have."""
    begins = [life.began for life in lives]
    doubled = [0] * len(lives)
    early = {}
    for name, times in by_id.items():
        for time, again in pairwise(times):
            life = max(bisect_right(begins, time) - 1, 0)
            doubled[life] += 1
            if any(
                death - settled_within_s <= time <= death + 1 and death <= again for death in deaths
            ):
                continue
            if again <= lives[life].ended or time < lives[life].ended - settled_within_s:
                before = lives[life].ended - time
                early[name] = (
                    f"first {before:.1f} s before the end of life {life + 1} ({lives[life].how}), "
                    f"again {again - time:.1f} s after that"
                )
    return doubled, early
