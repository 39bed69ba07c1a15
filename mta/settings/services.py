"""The directives of sections for services around the MTA."""

from dataclasses import dataclass
from typing import ClassVar

from mta.settings.directive import directive, repeated
from mta.settings.kinds import (
    BOOLEAN,
    CERTIFICATE,
    COUNT,
    EMAIL,
    FILE,
    INTERVAL,
    OCTETS,
    RAW_SECRET,
    SECRET,
    TEXT,
    choice,
    name_of,
)
from mta.units import UNLIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpUserDirectives:
    """What `<smtp-user>` may say."""

    scope: ClassVar[str] = "smtp-user"

    password: str = directive(
        RAW_SECRET,
        "",
        "Clear-text password. Taken raw up to blank/#; may be quoted.",
    )
    authentication_method: str = directive(
        choice("password", "system", "certificate"),
        "password",
        "How the user proves identity; system = OS accounts (Linux).",
    )
    tls_certificate: tuple[str, str] = directive(
        CERTIFICATE,
        ("", ""),
        "smtp-user: certificate the client must present. Listeners: server certificate and key.",
    )
    source: str = directive(
        name_of("source"),
        "",
        "Named <source> whose values override the IP-matched ones for this user/listener. "
        "Users without one get <source {auth}>.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceGroupDirectives:
    """What `<source-group>` may say."""

    scope: ClassVar[str] = "source-group"

    max_smtp_in: int = directive(
        COUNT,
        UNLIMITED,
        "Inbound connection cap for the group.",
    )
    reserved_smtp_in: int = directive(
        COUNT,
        0,
        "Inbound connections kept free for the group.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceProcessorDirectives:
    """What `<bounce-processor>` may say."""

    scope: ClassVar[str] = "bounce-processor"

    deliver_unmatched_email: bool = directive(
        BOOLEAN,
        True,
        "Continue delivering mail that was not recognised; must be true for forward- "
        "unmatched-to to keep the mail.",
        not_yet=True,
    )
    deliver_matched_email: bool = directive(
        BOOLEAN,
        False,
        "Continue delivering mail that was recognised and recorded.",
        not_yet=True,
    )
    deliver_email: bool = directive(
        BOOLEAN,
        False,
        "Replaced by the two directives above.",
        not_yet=True,
        means="deliver-matched-email",
    )
    forward_unmatched_to: tuple[str, ...] = repeated(
        EMAIL,
        "Forward unrecognised mail.",
        not_yet=True,
    )
    forward_errors_to: tuple[str, ...] = repeated(
        EMAIL,
        "Forward mail that could not be parsed.",
        not_yet=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackLoopProcessorDirectives:
    """What `<feedback-loop-processor>` may say."""

    scope: ClassVar[str] = "feedback-loop-processor"

    deliver_unmatched_email: bool = directive(
        BOOLEAN,
        True,
        "Continue delivering mail that was not recognised; must be true for forward- "
        "unmatched-to to keep the mail.",
        not_yet=True,
    )
    deliver_matched_email: bool = directive(
        BOOLEAN,
        False,
        "Continue delivering mail that was recognised and recorded.",
        not_yet=True,
    )
    deliver_email: bool = directive(
        BOOLEAN,
        False,
        "Replaced by the two directives above.",
        not_yet=True,
        means="deliver-matched-email",
    )
    forward_unmatched_to: tuple[str, ...] = repeated(
        EMAIL,
        "Forward unrecognised mail.",
        not_yet=True,
    )
    forward_errors_to: tuple[str, ...] = repeated(
        EMAIL,
        "Forward mail that could not be parsed.",
        not_yet=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsDirectives:
    """What `<dns>` may say."""

    scope: ClassVar[str] = "dns"

    precached_domains_file: str = directive(
        FILE,
        "",
        "Domains, one per line, kept resolved.",
        not_yet=True,
    )
    precached_max_domains: int = directive(
        COUNT,
        500,
        "Use only the first N.",
        not_yet=True,
    )
    precached_refresh_interval: int = directive(
        INTERVAL,
        300,
        "Refresh period, overrides TTLs.",
        not_yet=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyDirectives:
    """What `<proxy>` may say."""

    scope: ClassVar[str] = "proxy"

    server: str = directive(
        TEXT,
        "",
        "Where the proxy listens.",
        not_yet=True,
    )
    client: str = directive(
        TEXT,
        "",
        "Address the proxy shall use and the HELO name that replaces the VirtualMTA one.",
        not_yet=True,
    )
    protocol_version: str = directive(
        choice("1", "2"),
        "1",
        "HAProxy protocol version.",
        not_yet=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultDirectives:
    """What `<vault>` may say."""

    scope: ClassVar[str] = "vault"

    server_url: str = directive(
        TEXT,
        "",
        "Vault server.",
        not_yet=True,
    )
    access_token: str = directive(
        RAW_SECRET,
        "",
        "Vault token.",
        not_yet=True,
    )
    cache_ttl: int = directive(
        INTERVAL,
        86400,
        "Key cache time; misses are cached 1h.",
        not_yet=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalsDirectives:
    """What `<signals>` may say."""

    scope: ClassVar[str] = "signals"

    privacy_policy: str = directive(
        choice("retain", "sha1"),
        "retain",
        "Whether recipients are uploaded as they are or as a hash.",
        not_yet=True,
    )
    min_free_space: int = directive(
        OCTETS,
        0,
        "Spool: stop accepting into it below this free space. Signals: start deleting "
        "pending upload files below it.",
        not_yet=True,
        needs_restart=True,
    )
    api_key: tuple[str, ...] = repeated(
        SECRET,
        "Client key of the injection API / SparkPost key.",
        not_yet=True,
    )
    upload_url: str = directive(
        TEXT,
        "",
        "Upload endpoint.",
        not_yet=True,
    )
    engagement_tracking: bool = directive(
        BOOLEAN,
        False,
        "Engagement events are supplied elsewhere.",
        not_yet=True,
    )
    custom_message_id_header: str = directive(
        TEXT,
        "",
        "Header giving the custom message id.",
        not_yet=True,
    )
    process_x_sp_subaccount_id: bool = directive(
        BOOLEAN,
        False,
        "Honour X-SP-Subaccount-ID.",
        not_yet=True,
    )
    retain_x_sp_subaccount_id: bool = directive(
        BOOLEAN,
        False,
        "Keep that header.",
        not_yet=True,
    )
    log_verbose: bool = directive(
        BOOLEAN,
        False,
        "Log all upload activity.",
        not_yet=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransmissionsApiDirectives:
    """What `<transmissions-api>` may say."""

    scope: ClassVar[str] = "transmissions-api"

    log_tls: bool = directive(
        BOOLEAN,
        False,
        "Log TLS negotiation.",
        not_yet=True,
    )
    api_key: tuple[str, ...] = repeated(
        SECRET,
        "Client key of the injection API / SparkPost key.",
        not_yet=True,
    )
    log_requests: bool = directive(
        BOOLEAN,
        False,
        "Log API requests.",
        not_yet=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransmissionsApiListenerDirectives:
    """What `<transmissions-api-listener>` may say."""

    scope: ClassVar[str] = "transmissions-api-listener"

    tls_certificate: tuple[str, str] = directive(
        CERTIFICATE,
        ("", ""),
        "smtp-user: certificate the client must present. Listeners: server certificate and key.",
        not_yet=True,
    )
    tls_allow_sslv3: bool = directive(
        BOOLEAN,
        False,
        "Allowed SSLv3.",
        no_effect="SSLv3 is never spoken",
    )
    tls_allow_tlsv1: bool = directive(
        BOOLEAN,
        False,
        "Allow TLS 1.0.",
        not_yet=True,
    )
    tls_allow_tlsv1_1: bool = directive(
        BOOLEAN,
        False,
        "Allow TLS 1.1.",
        name="tls-allow-tlsv1.1",
        not_yet=True,
    )
    tls_allow_tlsv1_2: bool = directive(
        BOOLEAN,
        True,
        "Allow TLS 1.2.",
        name="tls-allow-tlsv1.2",
        not_yet=True,
    )
    tls_allow_tlsv1_3: bool = directive(
        BOOLEAN,
        True,
        "Allow TLS 1.3.",
        name="tls-allow-tlsv1.3",
        not_yet=True,
    )
    tls_ciphers: str = directive(
        TEXT,
        "",
        "Ciphers up to TLS 1.2.",
        not_yet=True,
    )
    tls_tlsv1_3_ciphersuites: str = directive(
        TEXT,
        "",
        "TLS 1.3 suites.",
        name="tls-tlsv1.3-ciphersuites",
        not_yet=True,
    )
    tls_dh_key_length: str = directive(
        choice("1024", "2048", "4096"),
        "1024",
        "DH size.",
        no_effect="the TLS library chooses",
    )
    tls_ca_file: str = directive(
        FILE,
        "",
        "CA bundle to verify client certificates.",
        not_yet=True,
    )
    tls_trusted_certificate: str = directive(
        FILE,
        "",
        "A further certificate authority to trust.",
        not_yet=True,
    )
