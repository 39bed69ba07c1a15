"""The directives of `<smtp-listener>`."""

from dataclasses import dataclass
from typing import ClassVar

from mta.settings.directive import directive
from mta.settings.kinds import (
    BOOLEAN,
    CERTIFICATE,
    FILE,
    TEXT,
    choice,
    name_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerDirectives:
    """What `<smtp-listener>` may say."""

    scope: ClassVar[str] = "smtp-listener"

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
    await_slot: bool = directive(
        BOOLEAN,
        False,
        "Per-listener version of smtp-await-slot.",
    )
    immediate_tls: bool = directive(
        BOOLEAN,
        False,
        "Start TLS immediately (SMTPS).",
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
    )
    tls_allow_tlsv1_1: bool = directive(
        BOOLEAN,
        False,
        "Allow TLS 1.1.",
        name="tls-allow-tlsv1.1",
    )
    tls_allow_tlsv1_2: bool = directive(
        BOOLEAN,
        True,
        "Allow TLS 1.2.",
        name="tls-allow-tlsv1.2",
    )
    tls_allow_tlsv1_3: bool = directive(
        BOOLEAN,
        True,
        "Allow TLS 1.3.",
        name="tls-allow-tlsv1.3",
    )
    tls_ciphers: str = directive(
        TEXT,
        "",
        "Ciphers up to TLS 1.2.",
    )
    tls_tlsv1_3_ciphersuites: str = directive(
        TEXT,
        "",
        "TLS 1.3 suites.",
        name="tls-tlsv1.3-ciphersuites",
        no_effect="the TLS library's own suites serve; all of them are sound",
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
    )
