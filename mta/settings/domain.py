"""The directives of `<domain>`: the rules of a queue."""

from dataclasses import dataclass
from typing import ClassVar

from mta.model.route import NO_ROUTE, RouteSpec
from mta.settings.directive import directive, repeated
from mta.settings.dkim_kinds import (
    ALGORITHM,
    CANON,
    HEADER_NAMES,
    HEADERS,
    IDENTITY,
    IDENTITY_FALLBACK,
    QUERY_METHOD,
    SENDER_OR_FROM,
    SIGN,
)
from mta.settings.kinds import (
    ACCT_SUBSET,
    ANY_SOURCE,
    ANY_SOURCE_COUNT,
    BOOLEAN,
    CERTIFICATE,
    CIDR,
    COUNT,
    COUNT_0,
    DAILY_LIMITS,
    DATA_RATE,
    EMAIL,
    EMAILS,
    FILE,
    HEADER_FIELD,
    INTERVAL,
    INTERVAL_LIST,
    INTERVAL_OR_NEVER,
    NO_MX,
    PER_HOUR,
    QUEUE_NAME,
    RATE,
    RAW,
    ROUTE,
    SECRET,
    TEXT,
    VMTA_OR_POOL,
    VMTA_POOL_OR_BY_IP,
    choice,
    name_of,
    number,
    pair,
)
from mta.units import UNLIMITED, DataRate, Rate

UNDELIVERED_TYPES = ("pipe", "file", "http-delivery")
"""Delivery methods that this version has not got; mail for them waits in its queue."""
HOUR_S = 3600
DAY_S = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSettings:
    """The rules of one queue, fully resolved."""

    scope: ClassVar[str] = "domain"

    include: tuple[str, ...] = repeated(
        RAW,
        "Reads another configuration file at that point, in the scope where it appears. "
        "Wildcards allowed. URLs must be absolute, without user info, query or fragment.",
    )
    reroute_to_virtual_mta: str = directive(
        VMTA_OR_POOL,
        "",
        "Move mail of the matching queue to the same domain in another VirtualMTA or pool; "
        "empty string clears an inherited value.",
    )
    max_rcpt_per_message: int = directive(
        COUNT,
        1000,
        "source: recipients accepted per message, 0 or unlimited = no limit. domain: "
        "recipients put into one outbound transaction before the message is repeated.",
    )
    remove_header: tuple[str, ...] = directive(
        HEADER_NAMES,
        (),
        "Headers deleted at delivery time. Empty string clears an inherited value.",
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
    type: str = directive(
        choice("smtp", "pipe", "file", "discard", "http-delivery"),
        "smtp",
        "Delivery method of the queue. Changing it with mail queued needs a restart.",
        not_yet_values=UNDELIVERED_TYPES,
    )
    max_smtp_out: int = directive(
        COUNT,
        20,
        "domain: connections for one queue (domain+VirtualMTA), independent of the same "
        "domain in other VirtualMTAs. virtual-mta: connections over all queues of that "
        "VirtualMTA.",
    )
    backoff_max_smtp_out: int = directive(
        COUNT,
        20,
        "Same as max-smtp-out while in backoff mode.",
    )
    max_smtp_out_per_source_ip: tuple[str, int] = directive(
        ANY_SOURCE_COUNT,
        (ANY_SOURCE, UNLIMITED),
        "Old form without CIDR; use source-ip-max-smtp-out.",
        means="source-ip-max-smtp-out",
    )
    source_ip_max_smtp_out: tuple[tuple[str, int], ...] = repeated(
        pair(CIDR, COUNT, "CIDR N"),
        "Connections for the queue from each matching local IP.",
    )
    max_msg_rate: Rate | None = directive(
        RATE,
        None,
        "Recipients attempted per time unit for the queue; failed attempts count too. "
        "Multiplied denominators such as 100/15m since 5.0.",
    )
    backoff_max_msg_rate: Rate | None = directive(
        RATE,
        None,
        "Same while in backoff mode.",
        default_text="as in normal mode",
    )
    max_msg_per_hour: Rate | None = directive(
        PER_HOUR,
        None,
        "Old spelling of max-msg-rate N/h.",
        means="max-msg-rate",
    )
    backoff_max_msg_per_hour: Rate | None = directive(
        PER_HOUR,
        None,
        "Old spelling of backoff-max-msg-rate N/h.",
        means="backoff-max-msg-rate",
        default_text="as in normal mode",
    )
    source_ip_max_msg_rate: tuple[tuple[str, Rate | None], ...] = repeated(
        pair(CIDR, RATE, "CIDR RATE"),
        "Attempted recipients per time unit for the queue from each matching local IP.",
    )
    max_data_volume_rate: DataRate | None = directive(
        DATA_RATE,
        None,
        "Bytes successfully transferred per time unit for the queue.",
    )
    backoff_max_data_volume_rate: DataRate | None = directive(
        DATA_RATE,
        None,
        "Same while in backoff mode.",
        default_text="as in normal mode",
    )
    source_ip_max_data_volume_rate: tuple[tuple[str, DataRate | None], ...] = repeated(
        pair(CIDR, DATA_RATE, "CIDR SIZE/TIME"),
        "Same per matching local IP.",
    )
    max_connect_rate: Rate | None = directive(
        RATE,
        None,
        "Connections opened per time unit for the queue.",
    )
    backoff_max_connect_rate: Rate | None = directive(
        RATE,
        None,
        "Same while in backoff mode.",
        default_text="as in normal mode",
    )
    source_ip_max_connect_rate: tuple[tuple[str, Rate | None], ...] = repeated(
        pair(CIDR, RATE, "CIDR RATE"),
        "Same per matching local IP.",
    )
    max_msg_per_connection: int = directive(
        COUNT_0,
        UNLIMITED,
        "Messages sent before the connection is closed.",
    )
    max_rcpt_per_transaction: int = directive(
        COUNT_0,
        1000,
        "Alias of the domain-level max-rcpt-per-message.",
        means="max-rcpt-per-message",
    )
    max_errors_per_connection: int = directive(
        COUNT,
        UNLIMITED,
        "Recipient-level errors before the connection is dropped.",
    )
    smtp_out_rampup_interval: int = directive(
        INTERVAL,
        0,
        "Minimum pause before another connection is opened for the queue.",
    )
    connection_idle_timeout: int = directive(
        INTERVAL,
        0,
        "Keep an idle connection open this long waiting for more mail.",
    )
    mx_connection_attempts: int = directive(
        COUNT,
        10,
        "How many connection attempts are made over the MX hosts before the queue goes to retry.",
    )
    retry_after: tuple[int, ...] = directive(
        INTERVAL_LIST,
        (600,),
        "Pause before the queue is retried. With a list each failed try uses the next "
        "entry, the last one repeats, and a delivery resets to the first.",
    )
    backoff_retry_after: tuple[int, ...] = directive(
        INTERVAL_LIST,
        (3600,),
        "Same while in backoff mode.",
    )
    retry_recipients_after: int = directive(
        INTERVAL,
        600,
        "Minimum pause for an individual recipient after its 4xx, even if the queue is "
        "retried sooner.",
    )
    retry_after_dns_error: int = directive(
        INTERVAL,
        60,
        "Queue retry pause after a DNS failure, in normal and backoff mode.",
    )
    retry_upon_new_mail: bool = directive(
        BOOLEAN,
        False,
        "New mail schedules a queue that is waiting for retry.",
    )
    bounce_after: int = directive(
        INTERVAL,
        4 * DAY_S + 12 * HOUR_S,
        "Age at which undelivered recipients are bounced. Not applied to recipients with an "
        "X-Schedule.",
    )
    bounce_upon_no_mx: bool | int | None = directive(
        NO_MX,
        False,
        "Bounce when an MX lookup finds no MX, at once or only for mail older than the "
        "interval (letting A/AAAA be tried first). Not used when smtp-hosts lists hosts.",
    )
    bounce_upon_5xx_greeting: bool = directive(
        BOOLEAN,
        True,
        "Bounce the whole queue on a 5xx banner; false treats it as temporary.",
    )
    bounce_upon_transfer_failure: bool = directive(
        BOOLEAN,
        False,
        "Bounce a message whose body transfer broke, to avoid duplicates.",
    )
    bounce_upon_pix_transfer_failure: bool = directive(
        BOOLEAN,
        False,
        "Same, only when the banner shows at least ten asterisks.",
    )
    pix_bug_workaround: bool = directive(
        BOOLEAN,
        True,
        "Send the final dot in its own packet to a detected PIX firewall.",
    )
    assume_delivery_upon_data_termination_timeout: bool = directive(
        BOOLEAN,
        False,
        "Count a timeout after the final dot as delivered.",
    )
    notify_of_delay_every: int | None = directive(
        INTERVAL_OR_NEVER,
        14400,
        "How often delay DSNs are considered.",
    )
    queue_priority: int = directive(
        number(0, 100),
        50,
        "Priority of the queue when connection slots are short; lower ones may be "
        "interrupted. Another chapter gives the range 1-100.",
    )
    delivery_priority: int = directive(
        number(0, 100),
        50,
        "Use queue-priority.",
        means="queue-priority",
    )
    allow_priority_interruption: bool = directive(
        BOOLEAN,
        True,
        "May this queue lose connections to more important ones.",
    )
    allow_priority_interruption_during_transfer: bool = directive(
        BOOLEAN,
        False,
        "yes: interrupt at once, even inside a transfer; no: wait until the connection is "
        "free. SMTP queues only.",
    )
    allow_cancel_during_transfer: bool = directive(
        BOOLEAN,
        True,
        "May connections be cancelled (shutdown) while a body is being sent.",
    )
    smtp_hosts: RouteSpec = directive(
        ROUTE,
        NO_ROUTE,
        "Explicit route in place of the DNS lookup of the queue domain. Hosts of one "
        "preference are used round robin.",
    )
    route: RouteSpec = directive(
        ROUTE,
        NO_ROUTE,
        "Old name of smtp-hosts: a HOST, or HOST:PORT.",
        means="smtp-hosts",
    )
    default_smtp_port: int = directive(
        COUNT,
        25,
        "Remote port unless smtp-hosts gives one.",
    )
    queue_to: str = directive(
        QUEUE_NAME,
        "",
        "Put mail for this domain into the queue of another name within the same "
        "VirtualMTA, whose <domain> settings then apply.",
    )
    disable_mx_rollup: bool = directive(
        BOOLEAN,
        False,
        "Exempt the domain from MX rollup.",
    )
    backoff_reroute_to_virtual_mta: str = directive(
        VMTA_OR_POOL,
        "",
        "While in backoff move queued and new mail to the same domain in another VirtualMTA/pool.",
    )
    backoff_notify: tuple[str, ...] = directive(
        EMAILS,
        (),
        "Notify on entering or leaving backoff mode.",
    )
    backoff_to_normal_after: int | None = directive(
        INTERVAL_OR_NEVER,
        None,
        "Automatic return to normal mode; ignored if the pattern that triggered backoff "
        "gave its own value.",
    )
    backoff_to_normal_after_delivery: bool = directive(
        BOOLEAN,
        False,
        "Return to normal mode after a successful delivery.",
    )
    backoff_upon_all_sources_disabled: bool = directive(
        BOOLEAN,
        False,
        "Enter backoff when every source IP of the queue is disabled.",
    )
    reenable_source_ip_after: int | None = directive(
        INTERVAL_OR_NEVER,
        None,
        "Default duration of a disable-source-ip action.",
    )
    disabled_source_ip_notify: tuple[str, ...] = directive(
        EMAILS,
        (),
        "Notify when a source IP is disabled or enabled.",
    )
    smtp_pattern_list: str = directive(
        name_of("smtp-pattern-list"),
        "",
        "Attach one <smtp-pattern-list> to the queue.",
    )
    max_cold_virtual_mta_msg: tuple[int, ...] = directive(
        DAILY_LIMITS,
        (0,),
        "Daily number of messages for this domain diverted to each cold VirtualMTA; with a "
        "list, day 1 uses the first value and the last one repeats.",
    )
    replace_smtp_421_service_response: bool = directive(
        BOOLEAN,
        False,
        "Replace the text of 421 replies by service unavailable in reports; pattern "
        "matching still sees the original.",
    )
    smtp_421_means_mx_unavailable: bool = directive(
        BOOLEAN,
        False,
        "yes: on 421 drop the connection and try the next MX; no: reset and continue on the "
        "same connection.",
    )
    code_421_means_mx_unavailable: bool = directive(
        BOOLEAN,
        False,
        "Older spelling of smtp-421-means-mx-unavailable.",
        name="421-means-mx-unavailable",
        means="smtp-421-means-mx-unavailable",
    )
    smtp_553_means_invalid_mailbox: bool = directive(
        BOOLEAN,
        True,
        "Treat 553 to RCPT without enhanced code as 5.1.1.",
    )
    ignore_8bitmime: bool = directive(
        BOOLEAN,
        False,
        "Do not pass BODY=8BITMIME on.",
    )
    ignore_chunking: bool = directive(
        BOOLEAN,
        False,
        "Do not use BDAT.",
        no_effect="messages are never sent in chunks",
    )
    ignore_pipelining: bool = directive(
        BOOLEAN,
        False,
        "Do not pipeline.",
    )
    ignore_dsn: bool = directive(
        BOOLEAN,
        False,
        "Do not use the remote DSN extension.",
    )
    connect_timeout: int = directive(
        INTERVAL,
        120,
        "TCP connect limit.",
    )
    smtp_greeting_timeout: int = directive(
        INTERVAL,
        300,
        "Wait for the 220 banner.",
    )
    data_send_timeout: int = directive(
        INTERVAL,
        180,
        "Wait for one block of body data to be sent.",
    )
    smtp_data_termination_timeout: int = directive(
        INTERVAL,
        600,
        "Wait for the reply to the final dot.",
    )
    smtp_multiple_line_response_timeout: int = directive(
        INTERVAL,
        300,
        "Presumably the limit for receiving all lines of a multi-line reply. Listed by show "
        "settings only.",
    )
    auth_username: str = directive(
        TEXT,
        "",
        "User for SMTP AUTH towards the remote (CRAM-MD5, LOGIN, PLAIN).",
    )
    auth_password: str = directive(
        SECRET,
        "",
        "Password for it; cannot contain # because that starts a comment.",
    )
    use_unencrypted_plain_auth: bool = directive(
        BOOLEAN,
        False,
        "Allow PLAIN/LOGIN without TLS.",
    )
    use_starttls: bool = directive(
        BOOLEAN,
        True,
        "Opportunistic STARTTLS.",
    )
    require_starttls: bool = directive(
        BOOLEAN,
        False,
        "Abort if TLS cannot be established; only with use-starttls.",
    )
    use_dane: bool = directive(
        BOOLEAN,
        True,
        "Apply DANE TLSA; needs a DNSSEC-validating name-server.",
        not_yet=True,
    )
    use_mta_sts: bool = directive(
        BOOLEAN,
        False,
        "Apply the MTA-STS policy of the recipient domain.",
        not_yet=True,
    )
    reuse_ssl_session: bool = directive(
        BOOLEAN,
        False,
        "TLS session resumption, up to TLS 1.2.",
        no_effect="the TLS library resumes sessions by itself",
    )
    smtp_tls_allow_sslv3: bool = directive(
        BOOLEAN,
        False,
        "Allowed SSLv3.",
        no_effect="SSLv3 is never spoken",
    )
    smtp_tls_allow_tlsv1: bool = directive(
        BOOLEAN,
        False,
        "Allow TLS 1.0 outbound.",
    )
    smtp_tls_allow_tlsv1_1: bool = directive(
        BOOLEAN,
        False,
        "Allow TLS 1.1 outbound.",
        name="smtp-tls-allow-tlsv1.1",
    )
    smtp_tls_allow_tlsv1_2: bool = directive(
        BOOLEAN,
        True,
        "Allow TLS 1.2 outbound.",
        name="smtp-tls-allow-tlsv1.2",
    )
    smtp_tls_allow_tlsv1_3: bool = directive(
        BOOLEAN,
        True,
        "Allow TLS 1.3 outbound.",
        name="smtp-tls-allow-tlsv1.3",
    )
    smtp_tls_ciphers: str = directive(
        TEXT,
        "",
        "Outbound ciphers up to TLS 1.2.",
    )
    smtp_tls_tlsv1_3_ciphersuites: str = directive(
        TEXT,
        "",
        "Outbound TLS 1.3 suites.",
        name="smtp-tls-tlsv1.3-ciphersuites",
        no_effect="the TLS library of Python 3.11 chooses the suites of TLS 1.3 itself",
    )
    smtp_tls_ca_file: str = directive(
        FILE,
        "",
        "Trust anchors for remote certificates. On failure: opportunistic falls back to "
        "clear text, required TLS gives a 4xx.",
    )
    smtp_client_certificate: tuple[str, str] = directive(
        CERTIFICATE,
        ("", ""),
        "Client certificate presented outbound.",
    )
    check_spf_outbound: bool = directive(
        BOOLEAN,
        False,
        "Test own SPF before sending: pass sends, temperror retries, anything else bounces. "
        "Needs explicit smtp-source-host.",
    )
    check_mfrom_outbound: bool = directive(
        BOOLEAN,
        False,
        "Old name/variant of check-spf-outbound.",
        means="check-spf-outbound",
    )
    check_pra_outbound: bool = directive(
        BOOLEAN,
        False,
        "Old Sender-ID PRA variant.",
        no_effect="Sender ID is obsolete",
    )
    dkim_sign: str = directive(
        SIGN,
        "no",
        "Sign outgoing mail for this domain if a key matches.",
    )
    dk_sign: bool = directive(
        BOOLEAN,
        False,
        "Old DomainKeys signing switch.",
        no_effect="DomainKeys are obsolete; use dkim-sign",
    )
    dkim_identity: str = directive(
        IDENTITY,
        SENDER_OR_FROM,
        "Whose key to use, and the i= tag. sender-or-from takes the address of Sender, else "
        "of From; strict-from that of From, and only a key of exactly its domain.",
    )
    dkim_identity_fallback: str = directive(
        IDENTITY_FALLBACK,
        "",
        "Identity when no key matches the first one.",
    )
    dkim_headers: tuple[str, ...] = directive(
        HEADERS,
        (),
        "Header fields to sign besides the usual ones. Those that RFC 6376 says not to sign "
        "are left out: Return-Path, Received, Comments, Keywords, Bcc.",
    )
    dkim_disallow_adding_headers: tuple[str, ...] = directive(
        HEADER_NAMES,
        (),
        "Header fields that are signed and listed once more in h=, so that another one added on "
        "the way breaks the signature.",
    )
    dkim_algorithm: str = directive(
        ALGORITHM,
        "rsa-sha256",
        "Signature algorithm. Only keys that fit it are used: RSA for rsa-*, Ed25519 for "
        "ed25519-sha256, which PowerMTA does not have.",
    )
    dkim_body_canon: str = directive(
        CANON,
        "relaxed",
        "Body canonicalisation.",
    )
    dkim_headers_canon: str = directive(
        CANON,
        "relaxed",
        "Header canonicalisation.",
    )
    dkim_add_body_limit: bool = directive(
        BOOLEAN,
        False,
        "Add the l= tag: the signature holds however much is added at the end.",
    )
    dkim_add_timestamp: bool = directive(
        BOOLEAN,
        False,
        "Add the t= tag.",
    )
    dkim_expire_after: int | None = directive(
        INTERVAL_OR_NEVER,
        None,
        "Add the x= tag, that long after the signing.",
    )
    dkim_query_method: str = directive(
        QUERY_METHOD,
        "",
        "Value of the q= tag.",
    )
    second_dkim_sign: str = directive(
        SIGN,
        "no",
        "As dkim-sign, for a second signature, which X-DKIM-Options has no say in.",
    )
    second_dkim_identity: str = directive(
        IDENTITY,
        SENDER_OR_FROM,
        "As dkim-identity, for a second signature, which X-DKIM-Options has no say in.",
    )
    second_dkim_identity_fallback: str = directive(
        IDENTITY_FALLBACK,
        "",
        "As dkim-identity-fallback, for a second signature, which X-DKIM-Options has no say in.",
    )
    second_dkim_headers: tuple[str, ...] = directive(
        HEADERS,
        (),
        "As dkim-headers, for a second signature, which X-DKIM-Options has no say in.",
    )
    second_dkim_disallow_adding_headers: tuple[str, ...] = directive(
        HEADER_NAMES,
        (),
        "As dkim-disallow-adding-headers, for a second signature, which X-DKIM-Options has no "
        "say in.",
    )
    second_dkim_algorithm: str = directive(
        ALGORITHM,
        "rsa-sha256",
        "As dkim-algorithm, for a second signature, which X-DKIM-Options has no say in.",
    )
    second_dkim_body_canon: str = directive(
        CANON,
        "relaxed",
        "As dkim-body-canon, for a second signature, which X-DKIM-Options has no say in.",
    )
    second_dkim_headers_canon: str = directive(
        CANON,
        "relaxed",
        "As dkim-headers-canon, for a second signature, which X-DKIM-Options has no say in.",
    )
    second_dkim_add_body_limit: bool = directive(
        BOOLEAN,
        False,
        "As dkim-add-body-limit, for a second signature, which X-DKIM-Options has no say in.",
    )
    second_dkim_add_timestamp: bool = directive(
        BOOLEAN,
        False,
        "As dkim-add-timestamp, for a second signature, which X-DKIM-Options has no say in.",
    )
    second_dkim_expire_after: int | None = directive(
        INTERVAL_OR_NEVER,
        None,
        "As dkim-expire-after, for a second signature, which X-DKIM-Options has no say in.",
    )
    second_dkim_query_method: str = directive(
        QUERY_METHOD,
        "",
        "As dkim-query-method, for a second signature, which X-DKIM-Options has no say in.",
    )
    dsn_format: str = directive(
        choice("standard", "plain-text"),
        "standard",
        "plain-text sends only the delivery-status part as text/plain.",
    )
    deliver_local_dsn: bool = directive(
        BOOLEAN,
        True,
        "Whether DSN mails are generated for mail received from this domain.",
        means="suppress-local-dsn",
    )
    disable_acct_records: tuple[str, ...] = directive(
        ACCT_SUBSET,
        (),
        "Accounting record types not written for the queue.",
    )
    bcc_upon_delivery: str = directive(
        EMAIL,
        "",
        "Copy each delivered message to this address. The copy is a message of its own, with "
        'the same sender, who hears nothing of it; no copy is made of a copy. "" for none.',
    )
    track_recipient_events: bool = directive(
        BOOLEAN,
        False,
        "Keep the last 50 recipient events of a queue in memory, for `show queues`.",
    )
    max_events_recorded: int = directive(
        COUNT,
        10,
        "Events kept in memory per queue: so many errors, changes of mode, and moves.",
    )
    log_resolution: bool = directive(
        BOOLEAN,
        False,
        "Log DNS resolution.",
    )
    log_transfer_failures: bool = directive(
        BOOLEAN,
        False,
        "Log broken body transfers.",
    )
    log_disabled_ips: bool = directive(
        BOOLEAN,
        False,
        "Log disabling of source IPs.",
        no_effect="it always stands in the log",
    )
    log_messages: bool = directive(
        BOOLEAN,
        False,
        "Log each message processed; documented only inside <domain {bounce}> for debugging "
        "the bounce processor.",
        not_yet=True,
    )
    discard_as_bounce: bool = directive(
        BOOLEAN,
        False,
        "type discard: write b instead of d records.",
    )
    file_format: str = directive(
        choice("newfile-plain", "newfile-pickup", "append-mbox"),
        "newfile-plain",
        "type file: one file per message, same with envelope headers, or an mbox.",
        not_yet=True,
    )
    file_destination: str = directive(
        TEXT,
        "",
        "type file: directory or mbox path. Files appear as .tmp then .msg.",
        not_yet=True,
    )
    command: str = directive(
        TEXT,
        "",
        "type pipe: program started per recipient. Macros $bodytype $ctime $envid $from "
        "$isodate $timet $rfctime $to $user $domain.",
        not_yet=True,
    )
    macro_variables_preserve_case: bool = directive(
        BOOLEAN,
        False,
        "Keep case in $to and $from ($user and $domain are always lower case).",
        not_yet=True,
    )
    http_delivery_url: str = directive(
        TEXT,
        "",
        "type http-delivery: endpoint, one JSON POST per message, only status 200 counts as "
        "delivered.",
        not_yet=True,
    )
    http_delivery_extra_headers: str = directive(
        FILE,
        "",
        "type http-delivery: file with extra request headers.",
        not_yet=True,
    )
    add_x_msys_api_header: bool = directive(
        BOOLEAN,
        True,
        "Add the SparkPost option header.",
        not_yet=True,
    )
    sparkpost_sandbox: bool = directive(
        BOOLEAN,
        False,
        "SparkPost sandbox option.",
        not_yet=True,
    )
    sparkpost_ip_pool: str = directive(
        TEXT,
        "",
        "SparkPost IP pool option.",
        not_yet=True,
    )
    add_gm_token: bool = directive(
        BOOLEAN,
        False,
        "Goodmail token; obsolete, safe to ignore.",
        no_effect="the service it was for has ended",
    )
    virtual_mta: tuple[str, ...] = repeated(
        VMTA_POOL_OR_BY_IP,
        "Mail for the domain goes through these VirtualMTAs or pools in turn, unless "
        "something of higher precedence chose one.",
        is_ours=True,
    )
    add_header: tuple[str, ...] = repeated(
        HEADER_FIELD,
        "A header field that mail for the domain leaves with; it replaces fields of its name, "
        "and those that the VirtualMTA or the top level adds. The most specific <domain> that "
        "has any counts.",
        is_ours=True,
    )

    @property
    def is_signed(self) -> bool:
        """Whether a message of this queue may get a DKIM signature."""
        return self.dkim_sign != "no" or self.second_dkim_sign != "no"
