"""The commands that the command line carries out by itself, without asking a daemon.

Declared like all others, so that help and reference page are derived; what they do is
in `mta.cli`.
"""

from dataclasses import replace
from typing import Final

from mta.admin import parameters as p
from mta.admin.command import AdminCommand, Arguments, Parameter, UsageError


def _parse_check_format(text: str) -> str:
    if text not in ("text", "json"):
        raise ValueError("expected text or json")
    return text


def _parse_key_type(text: str) -> str:
    if text not in ("rsa-2048", "rsa-3072", "rsa-4096", "ed25519"):
        raise ValueError("expected rsa-2048, rsa-3072, rsa-4096 or ed25519")
    return text


FILES: Final = Parameter(
    name="files",
    parse=p.parse_text,
    default="",
    metavar="FILE…",
    is_option=False,
    is_required=True,
    is_repeated=True,
    help="configuration files, each checked by itself",
)
CHECK_FORMAT: Final = Parameter(
    name="format",
    parse=_parse_check_format,
    default="text",
    metavar="text|json",
    help="json is for machines: a list of what was found; default text",
)
STRICT: Final = Parameter(
    name="strict",
    parse=p.parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="end with 1 also if there are only warnings",
)
DNS: Final = Parameter(
    name="dns",
    parse=p.parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="also ask the DNS: names, reverse names and SPF of source addresses, keys of DKIM",
)
WRITE: Final = Parameter(
    name="write",
    parse=p.parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="put the result into the files, in place of what is there",
)
PLANNED: Final = Parameter(
    name="file",
    parse=p.parse_text,
    default="",
    metavar="FILE",
    is_option=False,
    is_required=True,
    help="the configuration that would be in force",
)
AGAINST: Final = Parameter(
    name="against",
    parse=p.parse_text,
    default="",
    metavar="FILE",
    help="the configuration to compare with; default the one of --config, and of its daemon "
    "the queues that hold mail",
)
NAME: Final = Parameter(
    name="name",
    parse=p.parse_text,
    default="",
    metavar="NAME",
    is_option=False,
    help="a directive or <section>; * is any run of characters; all without it",
)
ONCE: Final = Parameter(
    name="once",
    parse=p.parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="end by itself: 0 if every recipient is accounted for, 1 if not",
)
SCRAM: Final = Parameter(
    name="scram",
    parse=p.parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="the keys of SCRAM-SHA-256, which serve that mechanism, too; default scrypt, which is "
    "harder to guess at, for PLAIN and LOGIN",
)
SINK_OPTIONS: Final = Parameter(
    name="options",
    parse=p.parse_text,
    default="",
    metavar="OPTION…",
    is_option=False,
    is_repeated=True,
    help="as `mta sink --help` lists them",
)
SELECTOR: Final = Parameter(
    name="selector",
    parse=p.parse_text,
    default="",
    metavar="SELECTOR",
    is_option=False,
    is_required=True,
    help="the selector, which stands before ._domainkey in DNS",
)
DOMAIN: Final = Parameter(
    name="domain",
    parse=p.parse_text,
    default="",
    metavar="DOMAIN",
    is_option=False,
    is_required=True,
    help="the domain that signs",
)
KEY_TYPE: Final = Parameter(
    name="type",
    parse=_parse_key_type,
    default="rsa-2048",
    metavar="rsa-2048|rsa-3072|rsa-4096|ed25519",
    help="the type of the key; default rsa-2048, which every receiver knows",
)
KEY_FILE: Final = Parameter(
    name="file",
    parse=p.parse_text,
    default="",
    metavar="FILE",
    help="where to put the key; it must not exist; default SELECTOR.DOMAIN.pem",
)
DKIM_SUBJECT: Final = Parameter(
    name="subject",
    parse=p.parse_text,
    default="",
    metavar="FILE",
    is_option=False,
    is_required=True,
    help="a private key in PEM, or a message",
)
OF_SELECTOR: Final = replace(SELECTOR, is_required=False, help="of a key: its selector")
OF_DOMAIN: Final = replace(DOMAIN, is_required=False, help="of a key: its domain")
NAME_SERVER: Final = Parameter(
    name="name-server",
    parse=p.parse_text,
    default="",
    metavar="IP[:PORT]",
    help="the name server to ask; default those of this host",
)
DKIM_CONFIG: Final = Parameter(
    name="file",
    parse=p.parse_text,
    default="",
    metavar="FILE",
    is_option=False,
    help="a configuration file; default the one of --config",
)


def _flag(name: str, help_: str) -> Parameter[bool]:
    return Parameter(
        name=name, parse=p.parse_yes_no, default=False, flag="yes", takes_value=False, help=help_
    )


def _parse_source(text: str) -> tuple[str, str]:
    host, _, ip = text.rpartition(",")
    return host.strip(), p.parse_ip(ip.strip())


def _parse_hex(text: str) -> str:
    try:
        bytes.fromhex(text)
    except ValueError:
        raise ValueError("expected an even number of hexadecimal digits") from None
    return text


RESOLVED: Final = replace(DOMAIN, help="a domain that mail goes to")
TCP: Final = _flag("tcp", "ask over TCP")
EDNS: Final = _flag("edns", "ask with EDNS (RFC 6891)")
CONNECT: Final = _flag(
    "connect", "greet the first host that is there, over TLS where it offers that"
)
DUMPPACKETS: Final = _flag("dumppackets", "show every octet of questions and responses")
SERVER: Final = Parameter(
    name="server",
    parse=p.parse_text,
    default="",
    metavar="IP[:PORT]",
    help="the name server to ask; default those of the configuration, or of this host",
)
SOURCE_HOST: Final = Parameter(
    name="source",
    parse=_parse_source,
    default=("", ""),
    metavar="[HOST,]IP",
    help="connect from this address, with this EHLO name",
)
CLIENT_IP: Final = replace(p.SOURCE, help="the address that mail comes from")
HELO: Final = Parameter(
    name="helo",
    parse=p.parse_text,
    default="",
    metavar="HELO",
    is_option=False,
    is_required=True,
    help="the EHLO name of the client",
)
MAIL_FROM: Final = Parameter(
    name="mailfrom",
    parse=p.parse_text,
    default="",
    metavar="MAILFROM",
    is_option=False,
    help="the envelope sender; without it the EHLO name is checked",
)
RESPONSES: Final = replace(DUMPPACKETS, help="show every octet of responses")
HMAC: Final = _flag("hmac-sha256", "with HMAC-SHA256")
SIPHASH: Final = _flag("siphash", "with SipHash-2-4, whose key has at most 16 octets")
KEY: Final = Parameter(
    name="key", parse=p.parse_text, default="", metavar="TEXT", help="the key, as it is"
)
HEXKEY: Final = Parameter(
    name="hexkey",
    parse=_parse_hex,
    default="",
    metavar="HEX",
    help="the key, in hexadecimal digits",
)
DIGESTED: Final = Parameter(
    name="string",
    parse=p.parse_text,
    default="",
    metavar="STRING",
    is_option=False,
    is_required=True,
    help="what to digest, such as the local part of a recipient in lower case",
)
_NOT_HERE: Final = {
    _flag("use-dane", "refused: DANE is not applied yet"): "DANE is not applied yet",
    _flag("use-mta-sts", "refused: MTA-STS is not applied yet"): "MTA-STS is not applied yet",
    _flag("interactive", "refused"): (
        "there is no dialogue to type; `openssl s_client -starttls smtp -connect HOST:25` has one"
    ),
}


def _check_resolve(a: Arguments) -> None:
    for parameter, reason in _NOT_HERE.items():
        if a[parameter]:
            raise UsageError(f"--{parameter.name}: {reason}")


def _check_digest(a: Arguments) -> None:
    if a[HMAC] == a[SIPHASH]:
        raise UsageError("digest needs --hmac-sha256 or --siphash, one of them")
    if bool(a[KEY]) == bool(a[HEXKEY]):
        raise UsageError("digest needs --key or --hexkey, one of them")
    octets = len(bytes.fromhex(a[HEXKEY])) if a[HEXKEY] else len(a[KEY].encode())
    if a[SIPHASH] and octets > 16:
        raise UsageError(f"--siphash takes a key of at most 16 octets; this one has {octets}")


LOCAL_COMMANDS: Final[tuple[AdminCommand, ...]] = (
    AdminCommand(
        words="run",
        help="run the daemon in the foreground, until SIGTERM; SIGHUP reloads",
        changes=True,
        local=True,
        forms=("text",),
        example="run --config config/quickstart.conf",
    ),
    AdminCommand(
        words="check",
        help="say everything that is wrong with configuration files, each with its place; "
        "what only this host lacks (a source address) is a warning",
        parameters=(FILES, CHECK_FORMAT, STRICT, DNS),
        local=True,
        example="check /etc/pmta/config --strict",
    ),
    AdminCommand(
        words="check spf",
        help="whether SPF (RFC 7208) lets an address send mail of a sender; ends with 1 for fail, "
        "softfail and errors",
        parameters=(CLIENT_IP, HELO, MAIL_FROM, TCP, RESPONSES),
        local=True,
        example="check spf 192.0.2.1 mta1.example.com news@example.com",
    ),
    AdminCommand(
        words="test config",
        help="say whether the daemon would start on this host with its configuration",
        local=True,
        example="test config",
    ),
    AdminCommand(
        words="plan",
        help="what a configuration would change, in terms of what is in effect: queues whose "
        "limits change, names that come and go, what takes a restart, mail that would bounce",
        parameters=(PLANNED, AGAINST),
        local=True,
        forms=("text", "json"),
        example="plan new.conf",
    ),
    AdminCommand(
        words="fmt",
        help="print configuration files in their canonical layout; comments stay, and what a "
        "file means never changes",
        parameters=(FILES, WRITE),
        local=True,
        forms=("text",),
        example="fmt --write /etc/pmta/config",
    ),
    AdminCommand(
        words="directives",
        help="what a directive means, where it may stand, its default, and whether it is in force",
        parameters=(NAME,),
        local=True,
        example="directives max-msg-rate",
    ),
    AdminCommand(
        words="hash-password",
        help="what to write after `password` in <smtp-user> instead of the password; it is asked "
        "for, or taken from the input",
        parameters=(SCRAM,),
        local=True,
        forms=("text",),
        example="hash-password --scram",
    ),
    AdminCommand(
        words="dkim generate",
        help="make a DKIM key that only its owner can read; prints the domain-key line for the "
        "configuration and the record for DNS",
        changes=True,
        parameters=(SELECTOR, DOMAIN, KEY_TYPE, KEY_FILE),
        local=True,
        forms=("text",),
        example="dkim generate s2026 example.com --file s2026.pem",
    ),
    AdminCommand(
        words="dkim check",
        help="whether DNS publishes a key, or whether the signatures of a message verify; "
        "ends with 1 if not",
        parameters=(DKIM_SUBJECT, OF_SELECTOR, OF_DOMAIN, NAME_SERVER),
        local=True,
        forms=("text",),
        example="dkim check s2026.pem s2026 example.com",
    ),
    AdminCommand(
        words="dkim dns",
        help="the DNS records for all keys of a configuration file, as lines of a zone file",
        parameters=(DKIM_CONFIG,),
        local=True,
        forms=("text",),
        example="dkim dns /etc/pmta/config",
    ),
    AdminCommand(
        words="resolve",
        help="what the DNS says of the mail hosts of a domain, asked afresh; and, with --connect, "
        "what the first of them says",
        parameters=(
            RESOLVED,
            TCP,
            EDNS,
            CONNECT,
            DUMPPACKETS,
            SERVER,
            SOURCE_HOST,
            *_NOT_HERE,
        ),
        check=_check_resolve,
        local=True,
        example="resolve --connect gmail.com",
    ),
    AdminCommand(
        words="digest",
        help="what privacy-policy of PowerMTA makes of a recipient, to find it in its files",
        parameters=(DIGESTED, HMAC, SIPHASH, KEY, HEXKEY),
        check=_check_digest,
        local=True,
        example="digest --siphash --key=secretkey port25",
    ),
    AdminCommand(
        words="sink",
        help="a receiving MTA that plays mailbox providers, and counts what it received",
        parameters=(SINK_OPTIONS,),
        local=True,
        forms=("text",),
    ),
    AdminCommand(
        words="demo",
        help="the daemon and a sink on this machine, with a few hundred messages to watch",
        changes=True,
        parameters=(ONCE,),
        local=True,
        forms=("text",),
    ),
)
