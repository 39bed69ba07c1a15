"""Operations on their way to the writer: what is asked in one turn of the loop goes together.

The writer's thread is woken once for all of them, and commits them as one. An outcome has
nobody who waits for it, so it is patient: it goes with the next operation that somebody waits
for, and one sync is for both. The order of operations is kept.
"""

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from mta.spool.operations import Operation

PATIENT_S: Final = 0.01
"""How long an outcome waits for company. Outcomes that wait are delivered twice if the daemon
crashes; how many may be, the ledger bounds (`UNSETTLED_MAX`), not this."""
PATIENT_MAX: Final = 64
"""Outcomes that are worth a sync of their own."""


class Inbox:
    """Used on the loop's thread only; `pass_on` gets whole batches, in order."""

    __slots__ = ("_is_due", "_loop", "_operations", "_pass_on", "_patience")

    def __init__(self, pass_on: "Callable[[list[Operation]], None]") -> None:
        self._pass_on = pass_on
        self._loop = asyncio.get_running_loop()
        self._operations: list[Operation] = []
        self._is_due = False
        """Whether they go at the end of this turn."""
        self._patience: asyncio.TimerHandle | None = None

    def put(self, operation: "Operation") -> None:
        """Have an operation done that somebody waits for."""
        self._operations.append(operation)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self.empty)

    def put_patient(self, operation: "Operation") -> None:
        """Have an operation done that nobody waits for."""
        self._operations.append(operation)
        if self._is_due:
            return
        if len(self._operations) >= PATIENT_MAX:
            self.empty()
        elif self._patience is None:
            self._patience = self._loop.call_later(PATIENT_S, self._lose_patience)

    def empty(self) -> None:
        """Pass on what there is."""
        self._is_due = False
        if self._operations:
            operations, self._operations = self._operations, []
            self._pass_on(operations)

    def _lose_patience(self) -> None:
        self._patience = None
        self.empty()
