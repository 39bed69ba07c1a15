"""One `reply` line of an smtp-pattern-list, ready to match."""

import re
from dataclasses import dataclass

from mta.model.outcome import Verdict


@dataclass(frozen=True, slots=True)
class ReplyRule:
    """What to do when a server's reply matches. Guide: smtp-pattern-list.

    `text` is the line as written, `place` its `file:line`; both are for people.
    """

    pattern: re.Pattern[str]
    verdict: Verdict
    bounce_rcpt: bool
    text: str
    place: str
