"""The directives of `<virtual-mta>` and `<virtual-mta-pool>`."""

from dataclasses import dataclass
from typing import ClassVar

from mta.model.domain_key import DomainKey
from mta.settings.directive import directive, repeated
from mta.settings.dkim_kinds import DOMAIN_KEY
from mta.settings.kinds import (
    BOOLEAN,
    COUNT,
    DATA_RATE,
    FILE,
    HEADER_FIELD,
    HOST,
    LIST,
    RATE,
    RAW,
    REWRITE_LIST,
    SOURCE_HOST,
    SOURCE_IP,
    TEXT,
    VMTA_OR_POOL,
    choice,
)
from mta.units import UNLIMITED, DataRate, Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class VmtaDirectives:
    """What `<virtual-mta>` may say."""

    scope: ClassVar[str] = "virtual-mta"

    include: tuple[str, ...] = repeated(
        RAW,
        "Reads another configuration file at that point, in the scope where it appears. "
        "Wildcards allowed. URLs must be absolute, without user info, query or fragment.",
    )
    host_names: tuple[str, ...] = repeated(
        HOST,
        "The EHLO name of source addresses that have none of their own, in place of the global "
        "one. The first counts.",
        name="host-name",
        default_text="as the global one",
    )
    smtp_source_host: tuple[tuple[str, str], ...] = repeated(
        SOURCE_HOST,
        "Local address (or every local address inside the CIDR, except 127.0.0.1) and the "
        "HELO name used for outbound connections; several are used round robin.",
    )
    smtp_proxy_source_host: tuple[str, ...] = repeated(
        TEXT,
        "Like smtp-source-host but connects through an HAProxy-protocol proxy that will use "
        "PROXY-CLIENT-IP. Rotated round robin; disabled-IP logic works on the proxy client "
        "IP.",
        not_yet=True,
    )
    use_proxy: tuple[str, ...] = directive(
        LIST,
        (),
        "Outbound proxies in strict fail-over order (no load balancing). Global value "
        "inherited by VirtualMTAs. Incompatible with smtp-proxy-source-host.",
        not_yet=True,
    )
    domain_key: tuple[DomainKey, ...] = repeated(
        DOMAIN_KEY,
        "DKIM private key. Keys are tried in order; the first whose domain equals or is a "
        "parent of the signing identity domain is used; * matches anything and should be "
        "last.",
    )
    include_headers_from: str = directive(
        FILE,
        "",
        "File with header lines inserted right after the Received header. Global and "
        "VirtualMTA files are both applied.",
    )
    enable_signals: str = directive(
        TEXT,
        "",
        "Whether events are uploaded; VirtualMTA beats pool beats global. subaccount only "
        "with true.",
        not_yet=True,
    )
    rewrite_list: str = directive(
        REWRITE_LIST,
        "",
        "Attach a <rewrite-list>. Also valid in virtual-mta and virtual-mta-pool.",
    )
    max_smtp_out: int = directive(
        COUNT,
        UNLIMITED,
        "domain: connections for one queue (domain+VirtualMTA), independent of the same "
        "domain in other VirtualMTAs. virtual-mta: connections over all queues of that "
        "VirtualMTA.",
    )
    max_smtp_msg_rate: Rate | None = directive(
        RATE,
        None,
        "Attempted recipients per time unit over all queues of the VirtualMTA.",
    )
    max_smtp_data_volume_rate: DataRate | None = directive(
        DATA_RATE,
        None,
        "Bytes delivered per time unit over the VirtualMTA.",
    )
    cold_virtual_mta: tuple[str, ...] = repeated(
        VMTA_OR_POOL,
        "VirtualMTA that receives the first N messages per domain and day; several are used "
        "round robin with the limit applying to each.",
    )
    auto_cold_virtual_mta: str = directive(
        TEXT,
        "",
        "Automatically created cold companion VirtualMTA (name ending -cold).",
        no_effect="PowerMTA 4.5 gave it up; use cold-virtual-mta",
    )
    proxy_protocol: str = directive(
        choice("1", "2"),
        "1",
        "HAProxy protocol version for smtp-proxy-source-host.",
        not_yet=True,
    )
    smtp_source_ip: tuple[tuple[str, str], ...] = repeated(
        SOURCE_IP,
        "An address to send from; host-name is the EHLO name that goes with it.",
        is_ours=True,
    )
    max_msg_rate: Rate | None = directive(
        RATE,
        None,
        "Most recipients attempted through the VirtualMTA as a whole, all queues together.",
        is_ours=True,
    )
    add_header: tuple[str, ...] = repeated(
        HEADER_FIELD,
        "A header field that messages through this VirtualMTA leave with; it replaces "
        "fields of its name.",
        is_ours=True,
    )
    add_received_header: bool = directive(
        BOOLEAN,
        True,
        "Whether messages leave with a Received field of ours.",
        is_ours=True,
    )
    hide_received_header: bool = directive(
        BOOLEAN,
        False,
        "Remove the Received fields a message came with, and keep the submitting host out of ours.",
        is_ours=True,
    )
    process_bounces: bool = directive(
        BOOLEAN,
        False,
        "Process returned bounces.",
        not_yet=True,
        is_ours=True,
    )
    process_fbl: bool = directive(
        BOOLEAN,
        False,
        "Process feedback reports.",
        not_yet=True,
        is_ours=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDirectives:
    """What `<virtual-mta-pool>` may say."""

    scope: ClassVar[str] = "virtual-mta-pool"

    domain_key: tuple[DomainKey, ...] = repeated(
        DOMAIN_KEY,
        "DKIM private key. Keys are tried in order; the first whose domain equals or is a "
        "parent of the signing identity domain is used; * matches anything and should be "
        "last.",
    )
    include_headers_from: str = directive(
        FILE,
        "",
        "File with header lines inserted right after the Received header. Global and "
        "VirtualMTA files are both applied.",
    )
    enable_signals: str = directive(
        TEXT,
        "",
        "Whether events are uploaded; VirtualMTA beats pool beats global. subaccount only "
        "with true.",
        not_yet=True,
    )
    rewrite_list: str = directive(
        REWRITE_LIST,
        "",
        "Attach a <rewrite-list>. Also valid in virtual-mta and virtual-mta-pool.",
    )
    max_smtp_out: int = directive(
        COUNT,
        UNLIMITED,
        "domain: connections for one queue (domain+VirtualMTA), independent of the same "
        "domain in other VirtualMTAs. virtual-mta: connections over all queues of that "
        "VirtualMTA.",
    )
    max_smtp_msg_rate: Rate | None = directive(
        RATE,
        None,
        "Attempted recipients per time unit over all queues of the VirtualMTA.",
    )
    max_smtp_data_volume_rate: DataRate | None = directive(
        DATA_RATE,
        None,
        "Bytes delivered per time unit over the VirtualMTA.",
    )
    cold_virtual_mta: tuple[str, ...] = repeated(
        VMTA_OR_POOL,
        "VirtualMTA that receives the first N messages per domain and day; several are used "
        "round robin with the limit applying to each.",
    )
    virtual_mta: tuple[str, ...] = repeated(
        VMTA_OR_POOL,
        "Member of the pool. May refer to a VirtualMTA defined later.",
    )
