"""Which VirtualMTA a recipient's mail goes through. Guide: selecting a VirtualMTA.

First that says anything wins: the X-Virtual-MTA header where the source processes it, the
`virtual-mta` lines of the domain, the source's `default-virtual-mta`, `{default}`. Each may
name a pool; its members serve in turn. Mail for one domain in one message should be asked
for once, so that its recipients can share a transaction.
"""

from typing import Final, NamedTuple, Protocol

from mta.model.queue_key import DEFAULT_VMTA
from mta.routing.pool import Turns

BY_SOURCE_IP: Final = "by-smtp-source-ip"
"""A `default-virtual-mta` that means the VirtualMTA sending from the address listened on."""


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
    @property
    def smtp_source_host(self) -> tuple[tuple[str, str], ...]: ...


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
    def vmta_names(self) -> tuple[str, ...]: ...
    def pool(self, name: str) -> SelectPool | None: ...
    def domain_vmtas(self, domain: str) -> tuple[str, ...]: ...


class Choice(NamedTuple):
    """A VirtualMTA, and the pool it was chosen from if any; or why there is none.

    `error` begins with the enhanced code and answers the submitter with a 550. The name
    of a VirtualMTA that does not exist is a choice, too: its mail bounces with 5.3.5.
    """

    vmta: str
    pool: str = ""
    error: str = ""


_DEFAULT: Final = Choice(DEFAULT_VMTA)


def choose(
    configuration: SelectConfiguration,
    source: SelectSource,
    domain: str,
    x_virtual_mta: str | None,
    turns: Turns,
    *,
    listener_ip: str = "",
) -> Choice:
    """The VirtualMTA for mail to domain.

    `x_virtual_mta` is the value of the header; None if the message has none.
    """
    if x_virtual_mta is not None and source.process_x_virtual_mta:
        return _requested(configuration, source, domain, x_virtual_mta.strip(), turns)
    names = configuration.domain_vmtas(domain)
    if names:
        name = names[0] if len(names) == 1 else turns.next(" ".join(names), names, domain)
        return _resolve(configuration, name, domain, turns) or Choice(name)
    name = source.default_virtual_mta
    if not name:
        return _DEFAULT
    if name == BY_SOURCE_IP:
        return _sending_from(configuration, listener_ip)
    return _resolve(configuration, name, domain, turns) or Choice(name)


def _requested(
    configuration: SelectConfiguration, source: SelectSource, domain: str, name: str, turns: Turns
) -> Choice:
    """What the header asks for."""
    if not name and source.allow_empty_x_virtual_mta:
        return _DEFAULT
    choice = _resolve(configuration, name, domain, turns) if name else None
    if choice is not None:
        return choice
    if source.reject_invalid_virtual_mta:
        return Choice("", error=f"5.5.0 specified Virtual MTA '{name}' does not exist")
    fallback = configuration.root.invalid_virtual_mta_fallback
    if fallback:
        return _resolve(configuration, fallback, domain, turns) or Choice(fallback)
    return Choice(name) if name else _DEFAULT


def _resolve(
    configuration: SelectConfiguration, name: str, domain: str, turns: Turns
) -> Choice | None:
    """The VirtualMTA of that name, or the next member of the pool of that name."""
    pool = configuration.pool(name)
    if pool is not None and pool.virtual_mta:
        return Choice(turns.next(pool.name, pool.virtual_mta, domain), pool.name)
    vmta = configuration.vmta(name)
    return None if vmta is None else Choice(vmta.name)


def _sending_from(configuration: SelectConfiguration, ip: str) -> Choice:
    """The VirtualMTA one of whose source addresses is ip."""
    for name in configuration.vmta_names():
        vmta = configuration.vmta(name)
        if vmta is not None and any(address == ip for address, _ in vmta.smtp_source_host):
            return Choice(vmta.name)
    return _DEFAULT
