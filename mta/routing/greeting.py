"""By which name this host greets a client. Guide: host-name (2020).

The VirtualMTA that the source's `default-virtual-mta` names decides, by its own `host-name`;
then the `smtp-source-host` whose address the client connected to, first that of this
VirtualMTA, then that of any; then the global `host-name`. A pool has no name.
"""

from ipaddress import ip_address, ip_network
from typing import Protocol

from mta.model.queue_key import BY_SOURCE_IP


class GreetingVmta(Protocol):
    """What of a VirtualMTA the name depends on."""

    @property
    def host_name(self) -> str: ...
    @property
    def smtp_source_host(self) -> tuple[tuple[str, str], ...]: ...


class GreetingRoot(Protocol):
    """What of the global directives the name depends on."""

    @property
    def host_name(self) -> str: ...
    @property
    def smtp_source_host(self) -> tuple[tuple[str, str], ...]: ...


class GreetingConfiguration(Protocol):
    """What of a configuration the name depends on."""

    @property
    def root(self) -> GreetingRoot: ...
    def vmta(self, name: str) -> GreetingVmta | None: ...
    def vmta_sending_from(self, ip: str) -> GreetingVmta | None: ...


def greeting_name(
    configuration: GreetingConfiguration, default_virtual_mta: str, local_ip: str
) -> str:
    """The name for a client that connected to local_ip, and whose source says that."""
    root = configuration.root
    sending = configuration.vmta_sending_from(local_ip)
    name = default_virtual_mta
    is_by_ip = name.lower() == BY_SOURCE_IP
    chosen = sending if is_by_ip else configuration.vmta(name) if name else None
    if chosen is not None and chosen.host_name != root.host_name:
        return chosen.host_name
    hosts = [
        *(chosen.smtp_source_host if chosen is not None else ()),
        *(sending.smtp_source_host if sending is not None else ()),
        *root.smtp_source_host,
    ]
    return next((host for ip, host in hosts if host and _is(ip, local_ip)), root.host_name)


def _is(text: str, ip: str) -> bool:
    """Whether an address, or a network but for 127.0.0.1, is that of a listener."""
    if "/" not in text:
        return text == ip
    return ip != "127.0.0.1" and ip_address(ip) in ip_network(text)
