"""Operations on their way to the writer: what is asked in one turn of the loop goes together.

The writer's thread is woken once for all of them, and commits them as one. A message has a client
who waits for it, but one sync for twenty takes little longer than one for each: while other
clients are in the middle of a message it waits for theirs, a millisecond at most, but not for
those that are long about it. An outcome has nobody who waits for it, so it is patient: it goes
with the next operation that somebody waits for, and one sync is for both. The order of operations
is kept.
"""

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from mta.model.arrivals import Arrivals
    from mta.spool.operations import Accept, Operation

PATIENT_S: Final = 0.01
"""How long an outcome waits for company. Outcomes that wait are delivered twice if the daemon
crashes; how many may be, the ledger bounds (`UNSETTLED_MAX`), not this."""
PATIENT_MAX: Final = 64
"""Outcomes that are worth a sync of their own."""
COMPANY_S: Final = 0.001
"""How long a message waits for those that other clients are sending."""
COMPANY_MAX: Final = 32
"""Messages that are worth a sync of their own."""


class Inbox:
    """Used on the loop's thread only; `pass_on` gets whole batches, in order."""

    __slots__ = (
        "_arrivals",
        "_company",
        "_is_due",
        "_is_urgent",
        "_loop",
        "_messages",
        "_operations",
        "_pass_on",
        "_patience",
    )

    def __init__(self, pass_on: "Callable[[list[Operation]], None]", arrivals: "Arrivals") -> None:
        self._pass_on = pass_on
        self._arrivals = arrivals
        self._loop = asyncio.get_running_loop()
        self._operations: list[Operation] = []
        self._messages = 0
        """How many of them may wait for company."""
        self._is_urgent = False
        """Whether one of them may not."""
        self._is_due = False
        """Whether the end of this turn is to be waited for."""
        self._patience: asyncio.TimerHandle | None = None
        self._company: asyncio.TimerHandle | None = None

    def put(self, operation: "Operation") -> None:
        """Have an operation done that somebody waits for."""
        self._operations.append(operation)
        self._is_urgent = True
        self._be_due()

    def put_message(self, message: "Accept") -> None:
        """Have a message committed, together with those that come now."""
        self._operations.append(message)
        self._messages += 1
        self._be_due()

    def put_patient(self, operation: "Operation") -> None:
        """Have an operation done that nobody waits for."""
        self._operations.append(operation)
        if self._is_due or self._company is not None:
            return
        if len(self._operations) >= PATIENT_MAX:
            self.empty()
        elif self._patience is None:
            self._patience = self._loop.call_later(PATIENT_S, self._lose_patience)

    def empty(self) -> None:
        """Pass on what there is."""
        self._messages = 0
        self._is_urgent = False
        if self._company is not None:
            self._company.cancel()
            self._company = None
        if self._operations:
            operations, self._operations = self._operations, []
            self._pass_on(operations)

    def _be_due(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._is_due = False
        is_worth_it = self._is_urgent or not 0 < self._messages < COMPANY_MAX
        if is_worth_it or not self._arrivals.are_expected(self._loop.time()):
            self.empty()
        elif self._company is None:
            self._company = self._loop.call_later(COMPANY_S, self.empty)

    def _lose_patience(self) -> None:
        self._patience = None
        self.empty()
