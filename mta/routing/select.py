"""Which VirtualMTA a recipient's mail goes through. Guide: selecting a VirtualMTA.

First that says anything wins: `*vmta` of a mail merge, the X-Virtual-MTA header where the source
processes it, the `pattern-list` of the source, the `virtual-mta` lines of the domain, the source's
`default-virtual-mta`, `{default}`. The first three are asked once for a message (`wish`). Each
may name a pool; its members serve in turn. Mail for one domain in one message should be asked
for once, so that its recipients can share a transaction.
"""

from typing import Final, NamedTuple, Protocol

from mta.model.queue_key import BY_SOURCE_IP, DEFAULT_VMTA, NO_VMTA
from mta.routing.pattern_match import Match
from mta.routing.pool import Turns

NAME_SHOWN_MAX: Final = 100
"""Of a name that comes with a message."""


class SelectSource(Protocol):
    """What the choice depends on in the rules for a client."""

    @property
    def process_x_virtual_mta(self) -> bool: ...
    @property
    def allow_empty_x_virtual_mta(self) -> bool: ...
    @property
    def reject_invalid_virtual_mta(self) -> bool: ...
    @property
    def default_virtual_mta(self) -> str: ...


class SelectVmta(Protocol):
    """What the choice needs of a VirtualMTA."""

    @property
    def name(self) -> str: ...


class SelectPool(Protocol):
    """What the choice needs of a pool."""

    @property
    def name(self) -> str: ...
    @property
    def virtual_mta(self) -> tuple[str, ...]: ...


class SelectRoot(Protocol):
    """What the choice depends on among the global directives."""

    @property
    def invalid_virtual_mta_fallback(self) -> str: ...


class SelectConfiguration(Protocol):
    """What the choice depends on in a configuration."""

    @property
    def root(self) -> SelectRoot: ...
    def vmta(self, name: str) -> SelectVmta | None: ...
    def vmta_sending_from(self, ip: str) -> SelectVmta | None: ...
    def pool(self, name: str) -> SelectPool | None: ...
    def domain_vmtas(self, domain: str) -> tuple[str, ...]: ...


class Wish(NamedTuple):
    """What a message as a whole asks for: a VirtualMTA or pool, or nothing (None).

    `error` begins with the enhanced code and answers the submitter with a 550. `by` says
    which lines decided, where it was not the message alone.
    """

    name: str | None = None
    by: str = ""
    error: str = ""


class Choice(NamedTuple):
    """A VirtualMTA, and the pool it was chosen from if any.

    The name of a VirtualMTA that does not exist is a choice, too: its mail bounces with 5.3.5.
    """

    vmta: str
    pool: str = ""


NO_WISH: Final = Wish()
_DEFAULT: Final = Choice(DEFAULT_VMTA)


def wish(
    configuration: SelectConfiguration,
    source: SelectSource,
    x_virtual_mta: str | None,
    match: Match | None,
) -> Wish:
    """What a message asks for. `x_virtual_mta` is the value of the header, None without one."""
    if x_virtual_mta is not None and source.process_x_virtual_mta:
        return requested(configuration, source, x_virtual_mta.strip())
    if match is None or match.selection.virtual_mta is None:
        return NO_WISH
    name = match.selection.virtual_mta or DEFAULT_VMTA
    return Wish(name, f"pattern-list {match.name} ({match.place})")


def choose(
    configuration: SelectConfiguration,
    source: SelectSource,
    domain: str,
    wanted: str | None,
    turns: Turns,
    *,
    listener_ip: str = "",
) -> Choice:
    """The VirtualMTA for mail to domain in a message that asks for `wanted`."""
    if wanted is not None:
        return _resolve(configuration, wanted, domain, turns, listener_ip)
    names = configuration.domain_vmtas(domain)
    if names:
        name = names[0] if len(names) == 1 else turns.next(" ".join(names), names, domain)
        return _resolve(configuration, name, domain, turns, listener_ip)
    name = source.default_virtual_mta
    return _resolve(configuration, name, domain, turns, listener_ip) if name else _DEFAULT


def requested(configuration: SelectConfiguration, source: SelectSource, name: str) -> Wish:
    """What a message asks for by a name that came with it."""
    if not name and source.allow_empty_x_virtual_mta:
        return Wish(DEFAULT_VMTA)
    if name and (configuration.vmta(name) is not None or _members(configuration, name)):
        return Wish(name)
    shown = "".join(c if c.isprintable() else "?" for c in name[:NAME_SHOWN_MAX])
    if source.reject_invalid_virtual_mta:
        text = shown.encode("ascii", "replace").decode()
        return Wish("", error=f"5.5.0 specified Virtual MTA '{text}' does not exist")
    fallback = configuration.root.invalid_virtual_mta_fallback
    if fallback:
        return Wish(fallback, f"invalid-virtual-mta-fallback, as it asked for '{shown}'")
    # What it stands for is for the configuration to ask, not for a message.
    return Wish(NO_VMTA if name.lower() in ("", BY_SOURCE_IP) else shown)


def _members(configuration: SelectConfiguration, name: str) -> tuple[str, ...]:
    pool = configuration.pool(name)
    return pool.virtual_mta if pool is not None else ()


def _resolve(
    configuration: SelectConfiguration, name: str, domain: str, turns: Turns, listener_ip: str
) -> Choice:
    """The VirtualMTA of that name, or the next member of the pool of that name."""
    pool = configuration.pool(name)
    if pool is not None and pool.virtual_mta:
        return Choice(turns.next(pool.name, pool.virtual_mta, domain), pool.name)
    if name.lower() == BY_SOURCE_IP:
        vmta = configuration.vmta_sending_from(listener_ip)
        return Choice(vmta.name) if vmta is not None else _DEFAULT
    vmta = configuration.vmta(name)
    return Choice(name if vmta is None else vmta.name)
