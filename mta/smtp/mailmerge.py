"""A mail merge on its way in: XMRG, XDFN and RCPT, XPRT; and what comes of it (Guide: mail merge).

    state            command     next
    READY            XMRG        MERGE
    MERGE            XDFN        MERGE; the variables of the next RCPT, which spends them
                     RCPT        MERGE with a recipient, if accepted
                     XPRT n      PARTS, if a recipient was accepted
    PARTS            XPRT n      PARTS
                     XPRT n LAST READY: each recipient gets a message of its own
    MERGE, PARTS     RSET, EHLO  READY: everything is forgotten

A part that is refused ends it: no message is made of what is left.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from mta.model.frozen import frozen
from mta.model.reply import Reply
from mta.model.return_path import verp
from mta.smtp import header_block
from mta.smtp.command import CommandError, MailParameters, RcptParameters
from mta.smtp.definitions import PARTS_MAX, Range, parse_definitions, parse_parts
from mta.smtp.framing import LINE_OCTETS_MAX
from mta.smtp.template import Part, merged, references
from mta.units import UNLIMITED

VARIABLES_OCTETS_MAX: Final = 32 << 20
"""Of one submission, for all recipients: 5000, as the Guide advises, have 6 KB each."""
RECIPIENTS_MAX: Final = 20_000
"""Of one submission: four times what the Guide advises. Each takes 2 KB until all are on disk."""
VARIABLE_COST: Final = 100
"""Octets that a variable takes besides its name and value, about."""
PARTS_OCTETS_MAX: Final = 32 << 20
"""Of one submission; parts are held in memory, as each recipient's message is made of them."""
REFERENCES_MAX: Final = 10_000
"""Variables, and `[[`, of a submission: a recipient's message takes milliseconds at most."""
MESSAGE_OCTETS_MAX: Final = 64 << 20
"""Of one recipient's message, which is in memory while it is made."""

Variables = Mapping[str, str]


@frozen()
class Wishes:
    """What a client says of one message besides its envelope and content."""

    vmta: str | None = None
    job_id: str | None = None
    priority: int | None = None
    schedule: str | None = None
    has_own_sender: bool = False
    """Whether the sender is this recipient's already, so that VERP adds nothing."""


NO_WISHES: Final = Wishes()


@frozen()
class Merged:
    """A recipient's message."""

    mail: MailParameters
    rcpt: RcptParameters
    content: bytes
    head_size: int
    has_leading_dot: bool
    is_8bit: bool
    wishes: Wishes


@frozen()
class Submission:
    """All of a mail merge: as many messages as recipients, each made when it is asked for."""

    mail: MailParameters
    rcpts: tuple[RcptParameters, ...]
    variables: tuple[Variables, ...]
    parts: Mapping[int, Part]
    size_max: int
    verp_default: bool

    def message(self, index: int, date: str, *, expands: bool) -> Merged | Reply:
        """The message of a recipient; a Reply says why there is none.

        `date` is what `[*date]` becomes, `expands` whether a variable that is not defined
        becomes nothing.
        """
        rcpt, variables = self.rcpts[index], self.variables[index]
        own = variables.get("*from")
        env_id = variables.get("*envid", self.mail.env_id)
        values = {
            name.encode(): value.encode("utf-8", "surrogateescape")
            for name, value in variables.items()
        }
        values[b"*to"] = rcpt.address.encode()
        values[b"*date"] = date.encode()
        values[b"*envid"] = env_id.encode()
        values[b"*from"] = self._sender(own, rcpt).encode()
        order = self._order(variables)
        for number in order:
            if number not in self.parts:
                text = f"5.5.1 part {number} is in *parts of <{rcpt.address}>, and did not come"
                return Reply(554, (text,))
        parts = [self.parts[number] for number in order]
        if sum(part.references for part in parts) > REFERENCES_MAX:
            text = f"5.3.4 the message to <{rcpt.address}> has more than {REFERENCES_MAX} variables"
            return Reply(552, (text,))
        if sum(part.size(values) for part in parts) > min(self.size_max, MESSAGE_OCTETS_MAX):
            return self._too_large(rcpt)
        content = merged(parts, values, expands=expands)
        refusal = _refusal(content, rcpt)
        if refusal is not None:
            return refusal
        mail = self.mail
        return Merged(
            mail=replace(mail, mail_from=mail.mail_from if own is None else own, env_id=env_id),
            rcpt=rcpt,
            content=content,
            head_size=header_block.head_size(content),
            has_leading_dot=content[:1] == b"." or b"\r\n." in content,
            is_8bit=not content.isascii(),
            wishes=Wishes(
                vmta=variables.get("*vmta"),
                job_id=variables.get("*jobid"),
                priority=int(variables["*priority"]) if "*priority" in variables else None,
                schedule=variables.get("*schedule"),
                has_own_sender=own is not None,
            ),
        )

    def _order(self, variables: Variables) -> list[int]:
        wanted = variables.get("*parts")
        return sorted(self.parts) if wanted is None else _numbers(parse_parts(wanted))

    def _sender(self, own: str | None, rcpt: RcptParameters) -> str:
        if own is not None:
            return own
        sender = self.mail.mail_from
        is_verp = (self.mail.is_verp or self.verp_default) and sender
        return verp(sender, rcpt.address) if is_verp else sender

    def _too_large(self, rcpt: RcptParameters) -> Reply:
        most, name = self.size_max, " (max-message-size)"
        if most == UNLIMITED or most > MESSAGE_OCTETS_MAX:
            most, name = MESSAGE_OCTETS_MAX, ""
        text = f"5.3.4 the message to <{rcpt.address}> is larger than {most} octets{name}"
        return Reply(552, (text,))


class MailMerge:
    """One that comes in, as the server has it."""

    def __init__(
        self, mail: MailParameters, *, suffix: str, size_max: int, verp_default: bool
    ) -> None:
        self._mail = mail
        self._suffix = suffix
        self._size_max = size_max
        self._verp_default = verp_default
        self._next: dict[str, str] = {}
        """What the next recipient gets."""
        self._next_octets = 0
        self._is_next_refused = False
        self._variables: list[Variables] = []
        self._octets = 0
        """Of variables, with what they cost besides."""
        self._parts: dict[int, Part] = {}
        self._parts_octets = 0
        self._references = 0
        self._coming = 0
        """The number of the part that comes."""
        self.is_last = False
        """Whether it is the last."""

    # Commands

    def define(self, rest: str) -> None:
        """XDFN; CommandError refuses it, and with it the next recipient."""
        self.check_open()
        try:
            found = parse_definitions(rest, smtputf8=self._mail.smtputf8, suffix=self._suffix)
            next_octets = self._next_octets + _cost(found)
            if self._octets + next_octets > VARIABLES_OCTETS_MAX:
                raise CommandError(
                    452,
                    f"4.5.3 the variables of all recipients have more than {VARIABLES_OCTETS_MAX}"
                    " octets; send the rest in another submission",
                )
        except CommandError:
            self._is_next_refused = True
            raise
        # Not what all of them cost: of many lines each would take longer than the one before.
        self._next.update(found)
        self._next_octets = next_octets

    def spend(self) -> Variables:
        """The variables of a recipient who is named now; whoever comes next has none of them."""
        self.check_open()
        spent, self._next, self._next_octets = self._next, {}, 0
        is_refused, self._is_next_refused = self._is_next_refused, False
        if is_refused:
            raise CommandError(503, "5.5.1 a variable of this recipient was refused")
        if len(self._variables) >= RECIPIENTS_MAX:
            text = f"4.5.3 at most {RECIPIENTS_MAX} recipients; send the rest in another submission"
            raise CommandError(452, text)
        return spent

    def add(self, variables: Variables) -> None:
        """The recipient was accepted."""
        self._octets += _cost(variables)
        self._variables.append(variables)

    def begin_part(self, rest: str) -> None:
        """XPRT: its content comes now."""
        number, *more = rest.split() or [""]
        is_number = number.isascii() and number.isdigit() and len(number) < 6
        if not is_number or [word.upper() for word in more] not in ([], ["LAST"]):
            raise CommandError(501, "5.5.4 expected XPRT NUMBER [LAST]")
        if not 1 <= int(number) <= PARTS_MAX:
            raise CommandError(501, f"5.5.4 parts have numbers from 1 to {PARTS_MAX}")
        if int(number) in self._parts:
            raise CommandError(503, f"5.5.1 part {number} came already")
        self._coming, self.is_last = int(number), bool(more)

    def check_open(self) -> None:
        """CommandError if parts come already."""
        if self._parts or self._coming:
            raise CommandError(503, "5.5.1 the parts come; go on with XPRT, or RSET")

    # Parts

    def part_refusal(self, octets: int) -> Reply | None:
        """A Reply if so many octets more are too many."""
        if self._parts_octets + octets <= PARTS_OCTETS_MAX:
            return None
        return Reply(552, (f"5.3.4 the parts have more than {PARTS_OCTETS_MAX} octets together",))

    def take(self, octets: bytes, rcpts: list[RcptParameters]) -> Reply | Submission:
        """The part that came; a Reply says that more are to come (250), or why not.

        Recipients are those that were added.
        """
        self._parts_octets += len(octets)
        # Before the part is taken to pieces: each takes a hundred times its octets.
        self._references += references(octets, REFERENCES_MAX)
        if self._references > REFERENCES_MAX:
            return Reply(552, (f"5.3.4 the parts have more than {REFERENCES_MAX} variables",))
        self._parts[self._coming] = Part(octets)
        if not self.is_last:
            return PART_OK
        assert len(rcpts) == len(self._variables), "each recipient has variables"
        return Submission(
            mail=self._mail,
            rcpts=tuple(rcpts),
            variables=tuple(self._variables),
            parts=self._parts,
            size_max=self._size_max,
            verp_default=self._verp_default,
        )


def _cost(variables: Variables) -> int:
    return sum(len(n) + len(v) + VARIABLE_COST for n, v in variables.items())


def _numbers(ranges: tuple[Range, ...]) -> list[int]:
    return [number for one in ranges for number in range(one.first, one.last + 1)]


def _refusal(content: bytes, rcpt: RcptParameters) -> Reply | None:
    """What is refused of any message."""
    if header_block.head_size(content) > header_block.HEAD_OCTETS_MAX:
        return Reply(552, (f"5.3.4 the header block of <{rcpt.address}> is too large",))
    if _has_long_line(content):
        text = f"5.6.0 the message to <{rcpt.address}> has a line of more than a million octets"
        return Reply(554, (text,))
    return None


def _has_long_line(content: bytes) -> bool:
    """Whether a line is too long; it looks from one line to a line a million octets on."""
    at = 0
    while len(content) - at > LINE_OCTETS_MAX:
        at = content.rfind(b"\n", at, at + LINE_OCTETS_MAX + 1) + 1
        if not at:
            return True
    return False


PART_OK: Final = Reply(250, ("2.6.0 part ok",))
