"""Commands as a server reads them: verbs, addresses, parameters (RFC 5321 §4.1).

Reading raises CommandError with the reply to give. Nothing that could change the meaning
of a command we write later — CR, LF, NUL, angle brackets — gets into an address.
"""

import re
from typing import Final

from mta import address
from mta.model.frozen import frozen
from mta.model.reply import Reply

LINE_OCTETS_MAX: Final = 4096
"""RFC 5321 §4.5.3.1.4 asks for 512, extensions for a little more (RFC 6531, RFC 3461)."""
CHUNK_DIGITS_MAX: Final = 15
"""A chunk of a petabyte is no mail; its size is not even counted."""

_PATH = re.compile(r"<(?:@[^:<>\s]+:)?(?P<address>[^<>\x00-\x1f\x7f]*)>(?P<rest>.*)")
_PARAMETER = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?P<value>[\x21-\x3c\x3e-\U0010ffff]+))?"
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ATOM = re.compile(r"[A-Za-z0-9-]+")
_XCHAR = re.compile(rb"\+([0-9A-Fa-f]{2})")
_INVALID = "5.1.3 the recipient is no address; give RCPT TO:<user@domain>"
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})


class CommandError(Exception):
    """A command that is refused; `reply` says why and what to do."""

    def __init__(self, code: int, text: str, *, closes: bool = False) -> None:
        super().__init__(text)
        self.reply = Reply(code, (text,))
        self.closes = closes
        """Whether what follows cannot be understood any more."""


@frozen()
class MailParameters:
    """What MAIL FROM said. `mail_from` is empty for the null sender."""

    mail_from: str
    size: int = 0
    body: bool = False
    """Whether 8-bit content was announced."""
    smtputf8: bool = False
    requires_tls: bool = False
    """REQUIRETLS (RFC 8689)."""
    ret: str = ""
    env_id: str = ""
    is_verp: bool = False
    """Whether each recipient gets a sender of its own, which names the recipient."""


@frozen()
class RcptParameters:
    """What one RCPT TO said."""

    address: str
    orcpt: str = ""
    notify: str = ""
    refusal: str = ""
    """Why it bounces although it was accepted, or empty (`accept-invalid-recipients`)."""
    chosen_by: str = ""
    """The recipient whose VirtualMTA it takes, where that is another; or empty."""


def split_command(line: bytes) -> tuple[str, str]:
    """The verb, upper case, and the rest of a line without its end."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        if line[:5].upper() != b"XDFN ":
            raise CommandError(500, "5.5.2 the command is not UTF-8") from None
        # What goes into content may be of the content's character set, whatever that is.
        text = line.decode("utf-8", "surrogateescape")
    if not text.isprintable() and _CONTROL.search(text):
        raise CommandError(500, "5.5.2 the command contains control characters")
    verb, _, rest = text.partition(" ")
    return verb.upper(), rest.strip()


def parse_mail(
    rest: str, *, smtputf8_allowed: bool = True, suffix: str = "", is_tls: bool = False
) -> MailParameters:
    """The argument of MAIL, `FROM:<address> parameters`; see `qualified` for the suffix."""
    found, parameters = _path(rest, "FROM:", "MAIL FROM:<address>")
    values: dict[str, str | int | bool] = {}
    for name, value in parameters:
        match name:
            case "SIZE" if value.isascii() and value.isdigit() and len(value) < 20:
                values["size"] = int(value)
            case "BODY" if value.upper() in ("7BIT", "8BITMIME"):
                values["body"] = value.upper() == "8BITMIME"
            case "SMTPUTF8" if not value and smtputf8_allowed:
                values["smtputf8"] = True
            case "REQUIRETLS" if not value and is_tls:
                values["requires_tls"] = True
            case "REQUIRETLS" if not value:
                raise CommandError(530, "5.7.10 REQUIRETLS is taken within TLS only")
            case "RET" if value.upper() in ("FULL", "HDRS"):
                values["ret"] = value.upper()
            case "ENVID" if 0 < len(value) <= 100 and value.isascii():
                values["env_id"] = _env_id(value)
            case "VERP" if not value:
                values["is_verp"] = True
            case "AUTH":
                pass  # RFC 4954 §5: may be ignored
            case _:
                raise CommandError(555, f"5.5.4 MAIL FROM parameter {name} is not recognized")
    if suffix and found:
        found = qualified(found, suffix)
    if found and not address.is_valid(found):
        raise CommandError(501, "5.1.7 the sender is no address; give MAIL FROM:<user@domain>")
    _check_ascii(found, smtputf8=bool(values.get("smtputf8")))
    return MailParameters(found, **values)  # type: ignore[arg-type]  # each by its own name


def parse_rcpt(
    rest: str,
    *,
    smtputf8: bool,
    domain: str = "",
    suffix: str = "",
    accepts_invalid: bool = False,
) -> RcptParameters:
    """The argument of RCPT, `TO:<address> parameters`.

    `postmaster` without a domain is completed with `domain`, if there is one; see `qualified`
    for the suffix. What is no address has a `refusal` if such are accepted.
    """
    found, parameters = _path(rest, "TO:", "RCPT TO:<address>")
    orcpt = notify = ""
    for name, value in parameters:
        match name:
            case "NOTIFY":
                notify = _notify(value)
            case "ORCPT" if ";" in value and len(value) <= 500:
                kind, _, text = value.partition(";")
                if not _ATOM.fullmatch(kind):
                    raise CommandError(501, "5.5.4 ORCPT is a type, a semicolon and an address")
                orcpt = f"{kind};{_xtext(text)}"
            case _:
                raise CommandError(555, f"5.5.4 RCPT TO parameter {name} is not recognized")
    if "@" not in found and address.mailbox(found.lower()) == "postmaster" and domain:
        found = f"{found}@{domain}"
    elif suffix:
        found = qualified(found, suffix)
    if not address.is_valid(found):
        if accepts_invalid and found:
            return RcptParameters(found, orcpt, notify, refusal=_INVALID)
        raise CommandError(501, _INVALID)
    _check_ascii(found, smtputf8=smtputf8)
    return RcptParameters(found, orcpt, notify)


def parse_bdat(rest: str) -> tuple[int, bool]:
    """The argument of BDAT: how many octets come, and whether they are the last (RFC 3030)."""
    size, *more = rest.split() or [""]
    is_size = size.isascii() and size.isdigit() and len(size) <= CHUNK_DIGITS_MAX
    if not is_size or [word.upper() for word in more] not in ([], ["LAST"]):
        # Nobody knows how much of what follows is content.
        raise CommandError(501, "5.5.4 expected BDAT SIZE [LAST]; closing", closes=True)
    return int(size), bool(more)


def qualified(found: str, suffix: str) -> str:
    """An address whose domain is missing or has no dot, with the suffix (`domain-suffix`)."""
    local, at, domain = found.rpartition("@")
    if not at:
        return f"{found}@{suffix}"
    if "." in domain or domain.startswith("[") or not domain:
        return found
    return f"{local}@{domain}.{suffix}"


def _path(rest: str, keyword: str, expected: str) -> tuple[str, list[tuple[str, str]]]:
    if rest[: len(keyword)].upper() != keyword:
        raise CommandError(501, f"5.5.4 expected {expected}")
    match = _PATH.fullmatch(rest[len(keyword) :].strip())
    if match is None:
        raise CommandError(501, f"5.5.4 expected {expected}")
    parameters: list[tuple[str, str]] = []
    for word in match["rest"].split():
        parsed = _PARAMETER.fullmatch(word)
        if parsed is None:
            raise CommandError(501, f"5.5.4 {word[:40]!r} is no parameter")
        name = parsed["name"].upper()
        if any(name == before for before, _ in parameters):
            raise CommandError(501, f"5.5.4 {name[:40]} is given twice")
        parameters.append((name, parsed["value"] or ""))
    return match["address"], parameters


def _notify(value: str) -> str:
    items = value.upper().split(",")
    if items != ["NEVER"] and not (set(items) <= _NOTIFY and items):
        raise CommandError(501, "5.5.4 NOTIFY is NEVER, or of SUCCESS, FAILURE, DELAY")
    return ",".join(items)


def _env_id(value: str) -> str:
    """RFC 3461 §4.4: ASCII also where it is encoded; a notification has to repeat it."""
    env_id = _xtext(value)
    if not env_id.isascii():
        raise CommandError(501, "5.5.4 ENVID contains what is not ASCII")
    return env_id


def _xtext(value: str) -> str:
    """RFC 3461 §4; what is encoded is UTF-8, if not ASCII, so that it can be encoded again."""
    octets = _XCHAR.sub(lambda m: bytes([int(m[1], 16)]), value.encode())
    try:
        decoded = octets.decode()
    except UnicodeDecodeError:
        raise CommandError(501, "5.5.4 a parameter contains what is no UTF-8") from None
    if not decoded.isprintable():
        raise CommandError(501, "5.5.4 a parameter contains control characters")
    return decoded


def _check_ascii(text: str, *, smtputf8: bool) -> None:
    if not smtputf8 and not text.isascii():
        raise CommandError(
            553, "5.6.7 an address with these characters needs SMTPUTF8 in MAIL FROM"
        )
