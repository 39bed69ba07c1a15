"""The global directives."""

from dataclasses import dataclass
from typing import ClassVar

from mta.model.domain_key import DomainKey
from mta.settings.directive import directive, repeated
from mta.settings.dkim_kinds import DOMAIN_KEY
from mta.settings.kinds import (
    BOOLEAN,
    CERTIFICATE,
    CIDR,
    COUNT,
    DIRECTORY,
    EMAIL,
    FILE,
    HEADER_FIELD,
    HOST,
    INTERVAL,
    IP,
    IP_PORT,
    LIST,
    MEGABYTES,
    MX_PATTERN,
    NUMBER,
    RAW,
    RULE,
    SECRET,
    SENDER_FIELD,
    SIZE,
    SOURCE_HOST,
    TEXT,
    VMTA_OR_POOL,
    WORD,
    WORKERS,
    choice,
    number,
    pair,
)
from mta.units import UNLIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class RootSettings:
    """What holds for the daemon as a whole."""

    scope: ClassVar[str] = "global"

    include: tuple[str, ...] = repeated(
        RAW,
        "Reads another configuration file at that point, in the scope where it appears. "
        "Wildcards allowed. URLs must be absolute, without user info, query or fragment.",
    )
    postmaster: tuple[str, ...] = repeated(
        EMAIL,
        "Responsible person; receives what is written to postmaster and abuse at a name of this "
        "host, unless an alias says otherwise.",
    )
    host_names: tuple[str, ...] = repeated(
        HOST,
        "A name of this host; the first is the main one, for the greeting and EHLO. Mail "
        "addressed to any of them is accepted as if by relay-domain.",
        name="host-name",
        default_text="the name of the host",
    )
    host_id: int = directive(
        COUNT,
        0,
        "Server number mixed into generated Message-IDs so several servers do not collide.",
        no_effect="message ids carry the shard that made them",
    )
    domain_suffix: str = directive(
        TEXT,
        "",
        "Suffix appended to unqualified address domains.",
    )
    name_server: tuple[str, ...] = repeated(
        IP_PORT,
        "DNS resolver to use; several are used in rotation.",
        needs_restart=True,
    )
    edns_udp_length: int = directive(
        NUMBER,
        0,
        "Maximum EDNS0 UDP payload advertised in MX/A/AAAA queries.",
        not_yet=True,
    )
    smtp_listener: tuple[str, ...] = repeated(
        RAW,
        "Listening address and port; 0/0 is every address. source=NAME applies the named "
        "<source> on top of the IP-matched settings for connections to this address.",
        needs_restart=True,
    )
    smtp_ip: str = directive(
        IP,
        "",
        "Old listening address; use smtp-listener.",
        needs_restart=True,
        means="smtp-listener",
    )
    smtp_port: int = directive(
        COUNT,
        25,
        "Old listening port; use smtp-listener.",
        needs_restart=True,
        means="smtp-listener",
    )
    smtp_await_slot: bool = directive(
        BOOLEAN,
        False,
        "true: hold new inbound connections until a slot frees; false: answer 421 and close.",
    )
    smtp_server_tls_certificate: tuple[str, str] = directive(
        CERTIFICATE,
        ("", ""),
        "PEM certificate and key used for inbound STARTTLS, and the password of the key if it "
        "has one.",
    )
    smtp_server_tls_ca_file: str = directive(
        FILE,
        "",
        "CA bundle used to verify client certificates on inbound connections.",
    )
    smtp_server_tls_allow_sslv3: bool = directive(
        BOOLEAN,
        False,
        "Allowed SSLv3 inbound; no longer supported.",
        no_effect="SSLv3 is never spoken",
    )
    smtp_server_tls_allow_tlsv1: bool = directive(
        BOOLEAN,
        False,
        "Allow TLS 1.0 inbound.",
    )
    smtp_server_tls_allow_tlsv1_1: bool = directive(
        BOOLEAN,
        False,
        "Allow TLS 1.1 inbound.",
        name="smtp-server-tls-allow-tlsv1.1",
    )
    smtp_server_tls_allow_tlsv1_2: bool = directive(
        BOOLEAN,
        True,
        "Allow TLS 1.2 inbound.",
        name="smtp-server-tls-allow-tlsv1.2",
    )
    smtp_server_tls_allow_tlsv1_3: bool = directive(
        BOOLEAN,
        True,
        "Allow TLS 1.3 inbound.",
        name="smtp-server-tls-allow-tlsv1.3",
    )
    smtp_server_tls_ciphers: str = directive(
        TEXT,
        "",
        "Ciphers for inbound TLS up to 1.2.",
    )
    smtp_server_tls_v1_3_ciphersuites: str = directive(
        TEXT,
        "",
        "Ciphersuites for inbound TLS 1.3. The name is irregular: elsewhere it ends in "
        "tlsv1.3-ciphersuites.",
        name="smtp-server-tls-v1.3-ciphersuites",
        no_effect="the TLS library's own suites serve; all of them are sound",
    )
    smtp_server_tls_dh_key_length: str = directive(
        choice("1024", "2048", "4096"),
        "1024",
        "DH parameter size for inbound TLS 1.1/1.2.",
        no_effect="the TLS library chooses",
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
    total_max_smtp_out: int = directive(
        COUNT,
        1200,
        "Cap on simultaneous outbound connections of the whole server; values over ~7500 "
        "are discouraged.",
    )
    total_max_smtp_in: int = directive(
        COUNT,
        100,
        "Cap on simultaneous inbound connections.",
    )
    total_max_file: int = directive(
        COUNT,
        0,
        "Seen once with a comment saying it is the number of threads writing file "
        "deliveries; presumably the file-queue analogue of total-max-smtp-out.",
        not_yet=True,
    )
    max_memory_usage_percent: int = directive(
        number(1, 100),
        90,
        "Above this share of physical memory MAIL FROM is answered with 452 4.3.2 Server "
        "resources temporarily exhausted.",
        no_effect="memory is bounded otherwise",
    )
    spool: tuple[str, ...] = repeated(
        DIRECTORY,
        "One-line form of <spool>.",
        needs_restart=True,
    )
    spool_delete_corrupted: bool = directive(
        BOOLEAN,
        False,
        "Delete spool files that cannot be decoded instead of leaving them.",
        no_effect="the spool is a database",
    )
    spool_min_free_space: int = directive(
        MEGABYTES,
        0,
        "Stop accepting mail when free space is below this many megabytes.",
        needs_restart=True,
        means="min-free-space",
    )
    spool_max_recipients: str = directive(
        WORD,
        "auto",
        "Upper bound on queued recipients over all spools; further submissions get a "
        "transient error.",
        not_yet=True,
    )
    sync_msg_create: bool = directive(
        BOOLEAN,
        True,
        "Sync to disk before a message is answered 250; false trades durability for speed.",
        needs_restart=True,
    )
    sync_msg_update: bool = directive(
        BOOLEAN,
        True,
        "Sync to disk when a recipient is done with; false risks more repeated deliveries "
        "after a crash.",
        needs_restart=True,
    )
    run_as_root: bool = directive(
        BOOLEAN,
        True,
        "Run as root or as user pmta. Change needs a restart.",
        no_effect="the service manager decides under which user the daemon runs",
        needs_restart=True,
    )
    thread_min_priority: int = directive(
        COUNT,
        15,
        "Nice value of the slow end of the thread priority range.",
        no_effect="there are no such threads here",
    )
    thread_max_priority: int = directive(
        COUNT,
        0,
        "Nice value of the fast end of the thread priority range.",
        no_effect="there are no such threads here",
    )
    thread_reuse: bool = directive(
        BOOLEAN,
        True,
        "Keep finished threads for reuse.",
        no_effect="there are no such threads here",
    )
    custom_dsn_from_header: str = directive(
        SENDER_FIELD,
        "",
        "Text of the From header in locally generated DSNs.",
    )
    dsn_failed_from_template: str = directive(
        SENDER_FIELD,
        "",
        "Template for the From header of failure DSNs.",
    )
    dsn_failed_subject_template: str = directive(
        TEXT,
        "",
        "Template for the Subject of failure DSNs.",
    )
    dsn_failed_body_template_from: str = directive(
        FILE,
        "",
        "File with the body template of failure DSNs. Variables: hostname, originator, "
        "recipient, subject, retryAfter, bounceAfter, date, timeQueued, response.",
    )
    mailmerge_expands_undefined_variables: bool = directive(
        BOOLEAN,
        True,
        "false leaves [var] untouched when var is not defined, instead of expanding to nothing.",
    )
    pmc_acct_min_free_space: int = directive(
        SIZE,
        UNLIMITED,
        "Low-disk threshold under which data for the separate management console is discarded.",
        no_effect="there is no management console",
    )
    track_time_first_attempt: bool = directive(
        BOOLEAN,
        False,
        "Record the time of the first delivery attempt so it can appear in d, b and t records.",
        no_effect="not a column of these accounting files",
    )
    volume_audit_api_key: str = directive(
        SECRET,
        "",
        "Key needed by volume-based licences to report traffic.",
        no_effect="there is no volume to audit",
    )
    alias: tuple[str, ...] = repeated(
        TEXT,
        "Forwarding. Source is a full address, *@domain, or a bare local part (which then "
        "matches only local host names). No regex.",
    )
    relay_domain: tuple[str, ...] = repeated(
        TEXT,
        "Recipient domains accepted from anyone.",
        default_text="local host names",
    )
    relay_address: tuple[str, ...] = repeated(
        RULE,
        "Recipient addresses accepted from anyone.",
    )
    relay_debug: bool = directive(
        BOOLEAN,
        False,
        "Return 4xx rather than 5xx for relay denials.",
    )
    domain_key: tuple[DomainKey, ...] = repeated(
        DOMAIN_KEY,
        "DKIM private key. Keys are tried in order; the first whose domain equals or is a "
        "parent of the signing identity domain is used; * matches anything and should be "
        "last.",
    )
    invalid_virtual_mta_fallback: str = directive(
        VMTA_OR_POOL,
        "",
        "VirtualMTA used when a submitted message asks for a non-existent one; needs "
        "reject-invalid-virtual-mta false in the source. Not used for reroute directives.",
    )
    include_headers_from: str = directive(
        FILE,
        "",
        "File with header lines inserted right after the Received header. Global and "
        "VirtualMTA files are both applied.",
    )
    domain_macro: tuple[str, ...] = repeated(
        TEXT,
        "Defines a list usable as $NAME in domain patterns, relay-domain, address-list "
        "domain and domain-key. Name: letters, digits, underscore.",
    )
    pickup: str = directive(
        TEXT,
        "",
        "Directory scanned for message files and the directory for rejected files. "
        "Capitalised Pickup occurs in working configs.",
        not_yet=True,
    )
    pickup_retry_interval: int = directive(
        INTERVAL,
        0,
        "No longer used.",
        no_effect="PowerMTA no longer uses it, either",
    )
    pickup_remove_dot: bool = directive(
        BOOLEAN,
        False,
        "Undo dot-stuffing found in pickup files.",
        not_yet=True,
    )
    reroute_to_virtual_mta: str = directive(
        VMTA_OR_POOL,
        "",
        "Move mail of the matching queue to the same domain in another VirtualMTA or pool; "
        "empty string clears an inherited value.",
    )
    mx_connection_limit: tuple[tuple[str, int], ...] = repeated(
        pair(MX_PATTERN, COUNT, "MX-PATTERN N"),
        "Connections allowed per matching MX host and per local source IP. MX rollup is the "
        "preferred tool.",
    )
    ip_connection_limit: tuple[tuple[str, int], ...] = repeated(
        pair(CIDR, COUNT, "CIDR N"),
        "Same as mx-connection-limit but keyed on the remote IP. Partial dotted prefixes "
        "such as 173.194/16 are valid.",
    )
    http_mgmt_port: int = directive(
        COUNT,
        8080,
        "Port of the web monitor; change needs a restart of the pmtahttp service.",
        not_yet=True,
        needs_restart=True,
    )
    http_redirect_to_https: bool = directive(
        BOOLEAN,
        True,
        "Redirect plain HTTP to HTTPS.",
        not_yet=True,
    )
    http_access: tuple[str, ...] = repeated(
        TEXT,
        "Access level of the web monitor per client address. monitor = read only, operator "
        "= plus view configuration and run commands, admin = plus edit.",
        not_yet=True,
    )
    http_mgmt_source: tuple[str, ...] = repeated(
        CIDR,
        "Use http-access.",
        not_yet=True,
        means="http-access",
    )
    no_http_mgmt_source: tuple[str, ...] = repeated(
        CIDR,
        "Use http-access ... none.",
        not_yet=True,
        means="http-access",
    )
    http_csrf_protection: bool = directive(
        BOOLEAN,
        True,
        "Forbid state-changing GETs and require an API key or CSRF token on POST.",
        not_yet=True,
    )
    http_api_key: tuple[str, ...] = repeated(
        SECRET,
        "Key accepted in X-API-Key with full admin rights.",
        not_yet=True,
    )
    http_strict_transport_security_max_age: int = directive(
        COUNT,
        0,
        "HSTS max-age.",
        not_yet=True,
    )
    http_tls_allow_sslv3: bool = directive(
        BOOLEAN,
        False,
        "Allowed SSLv3 on the web monitor.",
        no_effect="SSLv3 is never spoken",
    )
    http_tls_allow_tlsv1: bool = directive(
        BOOLEAN,
        False,
        "Allow TLS 1.0 on the web monitor.",
        not_yet=True,
    )
    http_tls_allow_tlsv1_1: bool = directive(
        BOOLEAN,
        False,
        "Allow TLS 1.1 on the web monitor.",
        name="http-tls-allow-tlsv1.1",
        not_yet=True,
    )
    http_tls_allow_tlsv1_2: bool = directive(
        BOOLEAN,
        True,
        "Allow TLS 1.2 on the web monitor.",
        name="http-tls-allow-tlsv1.2",
        not_yet=True,
    )
    http_tls_allow_tlsv1_3: bool = directive(
        BOOLEAN,
        True,
        "Allow TLS 1.3 on the web monitor.",
        name="http-tls-allow-tlsv1.3",
        not_yet=True,
    )
    http_tls_ciphers: str = directive(
        TEXT,
        "",
        "Web monitor ciphers up to TLS 1.2.",
        not_yet=True,
    )
    http_tls_tlsv1_3_ciphersuites: str = directive(
        TEXT,
        "",
        "Web monitor TLS 1.3 suites.",
        name="http-tls-tlsv1.3-ciphersuites",
        not_yet=True,
    )
    http_tls_dh_key_length: str = directive(
        choice("1024", "2048", "4096"),
        "1024",
        "DH size for the web monitor.",
        no_effect="the TLS library chooses",
    )
    http_tls_ca_file: str = directive(
        FILE,
        "",
        "CA bundle to verify web monitor clients.",
        not_yet=True,
    )
    http_log_tls: bool = directive(
        BOOLEAN,
        False,
        "Log TLS negotiation of the web monitor.",
        not_yet=True,
    )
    http_log_data: bool = directive(
        BOOLEAN,
        False,
        "Log web monitor exchanges in full.",
        not_yet=True,
    )
    http_log_requests: bool = directive(
        BOOLEAN,
        False,
        "Log web monitor requests.",
        not_yet=True,
    )
    http_default_max_items: int = directive(
        COUNT,
        10,
        "Rows in the monitor top-N pages.",
        not_yet=True,
    )
    http_default_sort_order: str = directive(
        choice("rcpt", "name", "size"),
        "rcpt",
        "Sort order of the monitor top-N pages.",
        not_yet=True,
    )
    log_file: str = directive(
        FILE,
        "",
        "Main log. Absolute path on Unix. Also determines the place of the HTTP and SNMP "
        "logs. Missing = startup error.",
        needs_restart=True,
    )
    log_rotate: int = directive(
        COUNT,
        8,
        "Number of log files kept including the current one; 1 keeps only the current, 0 "
        "disables rotation.",
    )
    log_auto_rotation: bool = directive(
        BOOLEAN,
        True,
        "Rotate automatically at midnight.",
    )
    log_file_world_readable: bool = directive(
        BOOLEAN,
        False,
        "Make log files readable by everyone.",
    )
    enable_signals: str = directive(
        TEXT,
        "",
        "Whether events are uploaded; VirtualMTA beats pool beats global. subaccount only "
        "with true.",
        not_yet=True,
    )
    dummy_smtp_ip: str = directive(
        IP,
        "",
        "Address of the built-in blackhole SMTP sink.",
        not_yet=True,
    )
    dummy_smtp_port: int = directive(
        COUNT,
        0,
        "Port of the sink.",
        not_yet=True,
    )
    dummy_smtp_await_slot: bool = directive(
        BOOLEAN,
        False,
        "Queue instead of 421 when no slot is free on the sink.",
        not_yet=True,
    )
    dummy_smtp_has_chunking: bool = directive(
        BOOLEAN,
        False,
        "Sink advertises CHUNKING.",
        not_yet=True,
    )
    dummy_smtp_has_pipelining: bool = directive(
        BOOLEAN,
        False,
        "Sink advertises PIPELINING.",
        not_yet=True,
    )
    dummy_smtp_has_verp: bool = directive(
        BOOLEAN,
        False,
        "Sink advertises VERP.",
        not_yet=True,
    )
    dummy_smtp_latency: int = directive(
        COUNT,
        0,
        "Artificial delay of the sink.",
        not_yet=True,
    )
    dummy_smtp_update_stats: bool = directive(
        BOOLEAN,
        True,
        "Count sink traffic in the statistics.",
        not_yet=True,
    )
    dummy_smtp_has_mailmerge: bool = directive(
        BOOLEAN,
        False,
        "Sink advertises the mail-merge extensions.",
        not_yet=True,
    )
    dummy_smtp_blacklist: str = directive(
        FILE,
        "",
        "File driving which sink recipients are rejected.",
        not_yet=True,
    )
    dummy_smtp_log_blacklist: bool = directive(
        BOOLEAN,
        False,
        "Log sink rejections.",
        not_yet=True,
    )
    dummy_smtp_blacklist_bounce_method: str = directive(
        TEXT,
        "",
        "How the sink chooses rejections.",
        not_yet=True,
    )
    dummy_smtp_blacklist_bounce_percent: int = directive(
        COUNT,
        0,
        "Share of sink traffic to reject.",
        not_yet=True,
    )
    add_header: tuple[str, ...] = repeated(
        HEADER_FIELD,
        "A header field that every message leaves with; it replaces fields of its name.",
        is_ours=True,
    )
    allow_open_relay: bool = directive(
        BOOLEAN,
        False,
        "Start although anybody may relay. Without it such a configuration is refused.",
        is_ours=True,
    )
    workers: int = directive(
        WORKERS,
        1,
        "Worker processes that share the work; `auto` is one for each core.",
        needs_restart=True,
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

    @property
    def host_name(self) -> str:
        """The main name of this host; empty before the builder filled it in."""
        return self.host_names[0] if self.host_names else ""
