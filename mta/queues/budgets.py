"""Limits above a queue: of all outbound connections together, and of each VirtualMTA.

A budget lends slots. A queue that is refused waits its turn; a slot that comes back wakes
the queue that has waited longest. Idle connections hold slots too, so the one idle for
longest is given up before a queue that has work is refused for good.
"""

from typing import TYPE_CHECKING

from mta.queues.rates import RollingRate
from mta.units import UNLIMITED, Rate

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.queues.connection import Connection
    from mta.queues.queue import Queue


class Slots:
    """At most `ceiling` connections at once."""

    __slots__ = ("ceiling", "directive", "idle", "scope", "used", "waiting")

    def __init__(self, directive: str, scope: str, ceiling: int) -> None:
        self.directive = directive
        self.scope = scope
        self.ceiling = ceiling
        self.used = 0
        self.waiting: dict[Queue, None] = {}
        """Queues refused, in the order they asked."""
        self.idle: dict[Connection, None] = {}
        """Idle connections that hold a slot, longest idle first."""

    @property
    def is_exhausted(self) -> bool:
        return self.used >= self.ceiling

    def take(self) -> None:
        assert self.used < self.ceiling
        self.used += 1

    def release(self) -> None:
        assert self.used > 0
        self.used -= 1


class VmtaBudget:
    """What all queues of one VirtualMTA share."""

    __slots__ = ("max_msg_rate", "msg_rate", "name", "slots")

    def __init__(self, name: str, *, max_smtp_out: int, max_msg_rate: Rate | None) -> None:
        self.name = name
        self.slots = Slots("max-smtp-out", name, max_smtp_out)
        self.max_msg_rate = max_msg_rate
        self.msg_rate = RollingRate(max_msg_rate)

    def resize(self, *, max_smtp_out: int, max_msg_rate: Rate | None, now: float) -> None:
        """Follow a new configuration; what is in use stays until it is given back."""
        self.slots.ceiling = max_smtp_out
        self.max_msg_rate = max_msg_rate
        self.msg_rate.resize(max_msg_rate, now)


class VmtaBudgets:
    """The budgets of all VirtualMTAs that have or had a queue."""

    def __init__(self, configuration: "Configuration") -> None:
        self._configuration = configuration
        self._budgets: dict[str, VmtaBudget] = {}

    def of(self, name: str) -> VmtaBudget:
        """The budget of a VirtualMTA, made if there is none."""
        budget = self.found(name)
        if budget is None:
            out, rate = self._limits(name)
            budget = VmtaBudget(name, max_smtp_out=out, max_msg_rate=rate)
            self._budgets[name.lower()] = budget
        return budget

    def found(self, name: str) -> VmtaBudget | None:
        """The budget of a VirtualMTA, if it has or had any queue."""
        return self._budgets.get(name.lower())

    def reload(self, configuration: "Configuration", now: float) -> None:
        """Follow a new configuration."""
        self._configuration = configuration
        for budget in self._budgets.values():
            out, rate = self._limits(budget.name)
            if (out, rate) != (budget.slots.ceiling, budget.max_msg_rate):
                budget.resize(max_smtp_out=out, max_msg_rate=rate, now=now)

    def _limits(self, name: str) -> tuple[int, "Rate | None"]:
        vmta = self._configuration.vmta(name)
        return (UNLIMITED, None) if vmta is None else (vmta.max_smtp_out, vmta.max_msg_rate)
