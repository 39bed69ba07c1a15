"""What all queues of one VirtualMTA share: connections, recipients tried, octets delivered."""

from typing import TYPE_CHECKING

from mta.queues.limits import RateLimit, Slots
from mta.queues.trials import Trials
from mta.units import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mta.config.configuration import Configuration, VirtualMtaSettings

LEVEL = "virtual-mta"


class VmtaBudget:
    """The limits of one VirtualMTA."""

    __slots__ = ("data", "limits", "msg", "name", "rates", "slots", "trials")

    def __init__(self, name: str, *, is_lent: bool) -> None:
        self.name = name
        self.slots = Slots("max-smtp-out", name, UNLIMITED, LEVEL, is_lent=is_lent)
        self.trials = Trials(self.slots)
        self.msg = RateLimit("max-smtp-msg-rate", name, LEVEL, is_shared=True, is_lent=is_lent)
        self.data = RateLimit(
            "max-smtp-data-volume-rate",
            name,
            LEVEL,
            is_octets=True,
            is_shared=True,
            is_lent=is_lent,
        )
        self.limits: tuple[Slots | RateLimit, ...] = (self.slots, self.msg, self.data)
        self.rates: tuple[RateLimit, ...] = ()
        """Those a transaction has to pass, where they limit anything."""

    def follow(self, vmta: "VirtualMtaSettings | None", now: float) -> bool:
        """Follow a new configuration; what is in use stays until it is given back.

        True if that changed anything.
        """
        wanted = (
            (UNLIMITED, None, None)
            if vmta is None
            else (vmta.max_smtp_out, vmta.max_msg_rate, vmta.max_data_volume_rate)
        )
        if wanted == (self.slots.whole, self.msg.ceiling, self.data.ceiling):
            return False
        out, msg, data = wanted
        self.slots.follow(out)
        self.msg.resize(msg, now)
        self.data.resize(data, now)
        self.rates = tuple(one for one in (self.msg, self.data) if one.ceiling is not None)
        return True


class VmtaBudgets:
    """The budgets of all VirtualMTAs that have or had a queue."""

    def __init__(self, configuration: "Configuration", *, is_lent: bool) -> None:
        self._configuration = configuration
        self._is_lent = is_lent
        self._budgets: dict[str, VmtaBudget] = {}

    def of(self, name: str, now: float) -> VmtaBudget:
        """The budget of a VirtualMTA, made if there is none."""
        budget = self.found(name)
        if budget is None:
            budget = self._budgets[name.lower()] = VmtaBudget(name, is_lent=self._is_lent)
            budget.follow(self._configuration.vmta(name), now)
        return budget

    def found(self, name: str) -> VmtaBudget | None:
        """The budget of a VirtualMTA, if it has or had any queue."""
        return self._budgets.get(name.lower())

    def __iter__(self) -> "Iterator[VmtaBudget]":
        return iter(self._budgets.values())

    def reload(self, configuration: "Configuration", now: float) -> "Iterator[VmtaBudget]":
        """Follow a new configuration; those that changed, one after another."""
        self._configuration = configuration
        for budget in self:
            if budget.follow(configuration.vmta(budget.name), now):
                yield budget
