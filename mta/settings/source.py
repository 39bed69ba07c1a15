"""The directives of `<source>`."""

from dataclasses import dataclass
from typing import ClassVar

from mta.settings.directive import directive, repeated
from mta.settings.dkim_kinds import HEADER_NAMES
from mta.settings.kinds import (
    BOOLEAN,
    COUNT,
    COUNT_0,
    EMAIL,
    FIELD_NAME,
    INTERVAL,
    LIST,
    RATE,
    RAW,
    REWRITE_LIST,
    SIZE,
    TEXT,
    VMTA_POOL_OR_BY_IP,
    choice,
    name_of,
)
from mta.units import UNLIMITED, Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """What clients of one source may do, and what becomes of their mail."""

    scope: ClassVar[str] = "source"

    include: tuple[str, ...] = repeated(
        RAW,
        "Reads another configuration file at that point, in the scope where it appears. "
        "Wildcards allowed. URLs must be absolute, without user info, query or fragment.",
    )
    always_allow_relaying: bool = directive(
        BOOLEAN,
        False,
        "Clients of this source may send to any domain, not just relay domains.",
    )
    smtp_service: bool = directive(
        BOOLEAN,
        True,
        "false answers a 521 greeting and refuses the client.",
    )
    allow_auth: bool = directive(
        BOOLEAN,
        True,
        "Offer AUTH.",
    )
    require_auth: bool = directive(
        BOOLEAN,
        False,
        "Refuse any mail before authentication.",
    )
    allow_unencrypted_plain_auth: bool = directive(
        BOOLEAN,
        False,
        "Offer PLAIN (and in practice LOGIN) on clear-text sessions.",
    )
    allow_starttls: bool = directive(
        BOOLEAN,
        False,
        "Offer STARTTLS to clients.",
    )
    require_starttls_before_auth: bool = directive(
        BOOLEAN,
        False,
        "Refuse AUTH until TLS is up.",
    )
    smtp_max_auth_failure_rate: Rate | None = directive(
        RATE,
        None,
        "Lock out AUTH for a source after N failures in the window, measured from the first "
        "failure; only useful with require-auth.",
    )
    allow_mailmerge: bool = directive(
        BOOLEAN,
        False,
        "Offer the XMRG/XDFN/XPRT mail-merge commands.",
    )
    always_allow_api_submission: bool = directive(
        BOOLEAN,
        False,
        "Shorthand for what PowerMTA's submission APIs need: allow-mailmerge yes.",
    )
    allow_chunking: bool = directive(
        BOOLEAN,
        True,
        "Offer CHUNKING/BDAT.",
    )
    allow_smtputf8: bool = directive(
        BOOLEAN,
        True,
        "Offer SMTPUTF8; mail is bounced later if the remote side lacks it.",
    )
    broken_auth_clients: bool = directive(
        BOOLEAN,
        False,
        "No longer used.",
        no_effect="PowerMTA no longer uses it, either",
    )
    max_message_size: int = directive(
        SIZE,
        UNLIMITED,
        "Largest accepted message. A bare number is bytes (deprecated form). 0 means no limit.",
    )
    max_message_hops: int = directive(
        COUNT,
        100,
        "Most Received headers tolerated.",
    )
    max_rcpt_per_message: int = directive(
        COUNT_0,
        UNLIMITED,
        "source: recipients accepted per message, 0 or unlimited = no limit. domain: "
        "recipients put into one outbound transaction before the message is repeated.",
    )
    too_many_rcpts_fails_message: bool = directive(
        BOOLEAN,
        False,
        "Over the recipient limit reject the whole message at DATA instead of the extra RCPTs.",
    )
    smtp_command_timeout: int = directive(
        INTERVAL,
        600,
        "Inbound wait for a command.",
    )
    smtp_data_timeout: int = directive(
        INTERVAL,
        600,
        "Inbound wait for message data.",
    )
    disconnect_on_transient_error: bool = directive(
        BOOLEAN,
        False,
        "Drop the connection where a 4xx would be sent.",
    )
    accept_invalid_recipients: bool = directive(
        BOOLEAN,
        False,
        "Accept syntactically bad or suppressed recipients and bounce them afterwards "
        "rather than rejecting at RCPT.",
    )
    auto_qualify_domain: bool = directive(
        BOOLEAN,
        True,
        "Append the domain suffix to unqualified addresses.",
    )
    default_virtual_mta: str = directive(
        VMTA_POOL_OR_BY_IP,
        "",
        "VirtualMTA or pool used when nothing of higher precedence selected one.",
    )
    process_x_virtual_mta: bool = directive(
        BOOLEAN,
        False,
        "Let the X-Virtual-MTA header choose the VirtualMTA/pool; header removed unless retained.",
    )
    retain_x_virtual_mta: bool = directive(
        BOOLEAN,
        False,
        "Keep the processed X-Virtual-MTA header.",
    )
    add_x_virtual_mta_header: bool = directive(
        BOOLEAN,
        False,
        "Add X-Virtual-MTA naming the delivering VirtualMTA if absent.",
    )
    allow_empty_x_virtual_mta: bool = directive(
        BOOLEAN,
        False,
        "Empty header value selects {default} instead of being an error.",
    )
    reject_invalid_virtual_mta: bool = directive(
        BOOLEAN,
        True,
        "Reject mail that names an unknown or empty VirtualMTA.",
    )
    pattern_list: str = directive(
        name_of("pattern-list"),
        "",
        "Attach one <pattern-list>, which may stand before or after the source.",
    )
    process_x_job: bool = directive(
        BOOLEAN,
        False,
        "Take the job id from the X-Job header.",
    )
    retain_x_job: bool = directive(
        BOOLEAN,
        False,
        "Keep the X-Job header.",
    )
    jobid_header: str = directive(
        FIELD_NAME,
        "",
        "Alternative header providing the job id; X-Job processing and the *jobid merge "
        "variable win over it.",
    )
    jobid_prefix: str = directive(
        TEXT,
        "",
        "Prefix added to the job id; {auth} inserts the authenticated user.",
    )
    process_x_envid: bool = directive(
        BOOLEAN,
        False,
        "Take the DSN envelope id from X-Envid and remove it.",
    )
    process_x_schedule: bool = directive(
        BOOLEAN,
        False,
        "Honour X-Schedule delivery windows (these replace bounce-after): START / END, … each as "
        "YYYY-MM-DD HH:MM:SS in the time zone of this host.",
    )
    retain_x_schedule: bool = directive(
        BOOLEAN,
        False,
        "Keep X-Schedule. It is removed otherwise, also where it is not processed.",
    )
    process_x_dkim_options: bool = directive(
        BOOLEAN,
        False,
        "Honour X-DKIM-Options (tags s,d,i,q,key-list).",
    )
    retain_x_dkim_options: bool = directive(
        BOOLEAN,
        False,
        "Keep X-DKIM-Options.",
    )
    process_x_dkim_key: bool = directive(
        BOOLEAN,
        False,
        "Sign with the PEM key in X-DKIM-Key; needs s= in X-DKIM-Options.",
    )
    retain_x_dkim_key: bool = directive(
        BOOLEAN,
        False,
        "Keep X-DKIM-Key (dangerous).",
    )
    add_date_header: str = directive(
        choice("no", "yes", "override"),
        "no",
        "Add a Date header when missing, or always with override. true/false are also used "
        "in practice.",
    )
    date_header_time: str = directive(
        choice("reception", "delivery"),
        "reception",
        "Which moment the added Date shows.",
    )
    add_message_id_header: bool = directive(
        BOOLEAN,
        False,
        "Add Message-ID when missing.",
    )
    add_received_header: bool = directive(
        BOOLEAN,
        True,
        "Add a Received header on acceptance.",
    )
    remove_received_headers: bool = directive(
        BOOLEAN,
        False,
        "Strip Received headers that came with the message.",
    )
    hide_message_source: bool = directive(
        BOOLEAN,
        False,
        "Leave the client name/IP out of the added Received header.",
    )
    remove_header: tuple[str, ...] = directive(
        HEADER_NAMES,
        (),
        "Headers deleted at delivery time. Empty string clears an inherited value.",
    )
    bcc: str = directive(
        EMAIL,
        "",
        "Blind copy of every message received.",
    )
    verp_default: bool = directive(
        BOOLEAN,
        False,
        "Turn on VERP: user-rcptlocal=rcptdomain@domain style senders.",
    )
    suppress_local_dsn: bool = directive(
        BOOLEAN,
        False,
        "Send no DSN mail for messages from this source; accounting unaffected.",
    )
    dsn_return_default: str = directive(
        choice("headers", "full", "system"),
        "system",
        "Default RET for DSNs; ignored with dsn-format plain-text.",
    )
    suppression_lists: tuple[str, ...] = directive(
        LIST,
        (),
        "Named <address-list>s whose addresses are refused: 550 5.7.1 recipient is in "
        "suppression list 'name': <addr>, or bounced later when accept-invalid-recipients "
        "is on.",
    )
    source_group: str = directive(
        TEXT,
        "",
        "Join a <source-group>.",
    )
    rewrite_list: str = directive(
        REWRITE_LIST,
        "",
        "Attach a <rewrite-list>. Also valid in virtual-mta and virtual-mta-pool.",
    )
    check_dkim_inbound: bool = directive(
        BOOLEAN,
        False,
        "Verify DKIM and add Authentication-Results.",
    )
    trace_dkim_check: bool = directive(
        BOOLEAN,
        False,
        "Include DNS trace of the DKIM check.",
    )
    check_spf_inbound: bool = directive(
        BOOLEAN,
        False,
        "Check SPF and add Authentication-Results.",
    )
    trace_spf_check: bool = directive(
        BOOLEAN,
        False,
        "Include DNS trace of the SPF check.",
    )
    check_spf_inbound_max_void_lookups: int = directive(
        COUNT,
        2,
        "Void lookups tolerated before permerror.",
    )
    check_spf_inbound_best_guess: str = directive(
        TEXT,
        "",
        "Do not use.",
        no_effect="what SPF might have said is no policy of the domain",
    )
    reject_spf_check_fail: bool = directive(
        BOOLEAN,
        True,
        "5xx at MAIL on SPF fail (only when the check is on).",
    )
    reject_spf_check_permerror: bool = directive(
        BOOLEAN,
        True,
        "5xx at MAIL on SPF permerror.",
    )
    reject_spf_check_temperror: bool = directive(
        BOOLEAN,
        True,
        "4xx at MAIL on SPF temperror.",
    )
    check_iprev_inbound: bool = directive(
        BOOLEAN,
        False,
        "Reverse-DNS check of client IP and EHLO name.",
    )
    trace_iprev_check: bool = directive(
        BOOLEAN,
        False,
        "Include DNS trace of that check.",
    )
    reject_iprev_check_fail: bool = directive(
        BOOLEAN,
        False,
        "Reject on failure of that check.",
    )
    reject_iprev_check_permerror: bool = directive(
        BOOLEAN,
        False,
        "Reject on its permanent error.",
    )
    reject_iprev_check_temperror: bool = directive(
        BOOLEAN,
        False,
        "Reject on its temporary error.",
    )
    check_mfrom_inbound: bool = directive(
        BOOLEAN,
        False,
        "Old Sender-ID/SPF MAIL FROM check; superseded by check-spf-inbound.",
        no_effect="Sender ID is obsolete",
    )
    log_connections: bool = directive(
        BOOLEAN,
        False,
        "Log start and end of each connection.",
    )
    log_commands: bool = directive(
        BOOLEAN,
        False,
        "Log the SMTP dialogue.",
    )
    log_data: bool = directive(
        BOOLEAN,
        False,
        "Hex+ASCII dump of every byte; what is said to authenticate is left out.",
    )
    log_tls: bool = directive(
        BOOLEAN,
        False,
        "Log TLS negotiation.",
    )
