"""The books of a simulation: every recipient accepted is queued or settled, once, and not both.

Three accounts are compared: what the daemon answered 250, what its spool and accounting
files say, and what the providers took.
"""

import csv
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mta import clock
from mta.sim.findings import Findings
from mta.sim.provider import Received

LATE_S: Final = 70
"""How late mail may be given up: a queue at rest is swept once a minute."""


@dataclass(slots=True)
class _File:
    """One piece of the accounting file, read so far."""

    octets: int = 0
    header: list[str] = field(default_factory=list)


class Books:
    """Addresses are unique: a recipient is named by his."""

    def __init__(
        self,
        findings: Findings,
        now: Callable[[], float],
        directory: Path,
        *,
        bounce_after: Callable[[str, str], int],
        flying: Callable[[], set[str]],
    ) -> None:
        """`flying` are recipients in a transaction at this moment."""
        self.accepted: dict[str, float] = {}
        """Recipients of messages answered 250, and when."""
        self.rows: Counter[str] = Counter()
        """Accounting rows by type."""
        self.settled: dict[str, str] = {}
        """Recipients delivered (`d`) or bounced (`b`)."""
        self._findings = findings
        self._now = now
        self._directory = directory
        self._bounce_after = bounce_after
        self._flying = flying
        self._pieces: dict[Path, _File] = {}

    def compare(self) -> None:
        """Everything that was accepted is in exactly one place, and nothing is too old."""
        spool = sqlite3.connect(f"file:{self._directory}/spool/spool.db?mode=ro", uri=True)
        try:
            rows = spool.execute(
                "SELECT address, domain, vmta, json_extract(envelope, '$.time_queued')"
                " FROM recipient JOIN queue ON queue.id = recipient.queue"
                " JOIN message ON message.id = recipient.id >> 16"
            ).fetchall()
            good = {
                Path(file): octets
                for _, file, octets in spool.execute("SELECT name, file, octets FROM position")
            }
            outbox = [
                record
                for (body,) in spool.execute("SELECT body FROM record ORDER BY id")
                for record in json.loads(body)
            ]
        finally:
            spool.close()
        self._read(good)
        waiting = dict(self.settled)
        for kind, values in outbox:
            self._settle(waiting, kind, values.get("rcpt", ""))
        self._judge(Counter(row[0] for row in rows), waiting)
        self._check_age(rows)

    def _check_age(self, rows: list[tuple[str, str, str, float]]) -> None:
        flying = self._flying()
        for address, domain, vmta, time_queued in rows:
            age = clock.now() - time_queued
            if age > self._bounce_after(domain, vmta) + LATE_S and address not in flying:
                text = f"{address} of {domain}/{vmta} is {age:.0f} s old: bounce-after"
                self._findings.add(self._now(), text)

    def _read(self, good: dict[Path, int]) -> None:
        """Rows of the files, up to where the spool says they are good."""
        for path in sorted(self._directory.glob("acct*.csv")):
            piece = self._pieces.setdefault(path, _File())
            upto = good.get(path, path.stat().st_size)
            if upto <= piece.octets:
                continue
            with path.open("rb") as file:
                file.seek(piece.octets)
                text = file.read(upto - piece.octets).decode()
            piece.octets = upto
            for row in csv.reader(text.splitlines()):
                if row[0] == "type":
                    piece.header = row
                    continue
                values = dict(zip(piece.header, row, strict=False))
                self.rows[row[0]] += 1
                self._settle(self.settled, row[0], values.get("rcpt", ""))

    def _settle(self, settled: dict[str, str], kind: str, address: str) -> None:
        if kind not in ("d", "b"):
            return
        if address in settled:
            self._findings.add(self._now(), f"{address} is settled twice: {settled[address]}{kind}")
        settled[address] = kind

    def _judge(self, queued: Counter[str], settled: dict[str, str]) -> None:
        add, now = self._findings.add, self._now()
        for address, count in queued.items():
            if count > 1:
                add(now, f"{address} is queued {count} times")
            if address in settled:
                add(now, f"{address} is queued and settled ({settled[address]})")
        for address, at in self.accepted.items():
            if address not in queued and address not in settled:
                add(now, f"{address}, accepted at {at:.3f} s, is neither queued nor settled")

    def finish(self, journals: Iterable[list[Received]], ambiguous: Counter[str]) -> None:
        """Nothing waits any more, and the providers have what was delivered, once each.

        Twice at most for each time a provider took the content and could not say so.
        """
        add, now = self._findings.add, self._now()
        taken = Counter(received.rcpt for journal in journals for received in journal)
        for address in self.accepted:
            kind = self.settled.get(address)
            if kind is None:
                add(now, f"{address} was never settled")
            elif kind == "d" and not taken[address]:
                add(now, f"{address} is accounted as delivered, and nobody has it")
            elif taken[address] > (kind == "d") + ambiguous[address]:
                add(now, f"{address} ({kind}) was taken {taken[address]} times")
