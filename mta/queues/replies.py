"""What a reply means: for the recipients concerned, for the host, for the queue.

Who is concerned follows from the stage; what happens to them from the first digit:

    stage                     concerned               4yz                  5yz
    greeting … AUTH           the queue               next host, later     same; at the greeting
                                                                           bounce-upon-5xx-greeting
    MAIL FROM                 the message             defer recipients     bounce recipients
    RCPT TO                   this recipient          defer                bounce
    DATA, message content     recipients accepted     defer                bounce
    RSET, QUIT                nobody

Any other first digit is out of step: those concerned are deferred with what the peer said, and
the queue has failed, as nobody knows what such a host makes of the next message.

Three things change that table. `<smtp-pattern-list>` rules that match (the first rule wins
where two contradict, what does not contradict is added up); 421 where
`smtp-421-means-mx-unavailable` is set; and 552 for a recipient after others were accepted,
which is a 452 of old servers (RFC 5321 §4.5.3.1.10).
"""

import enum
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from mta.model.outcome import (
    NO_VERDICT,
    Bounced,
    Deferred,
    Delivered,
    Outcome,
    Stage,
    Verdict,
)
from mta.model.reply import Reply
from mta.model.reply_rule import ReplyRule


class ReplySettings(Protocol):
    """What the meaning of a reply depends on."""

    @property
    def smtp_421_means_mx_unavailable(self) -> bool: ...
    @property
    def smtp_553_means_invalid_mailbox(self) -> bool: ...
    @property
    def replace_smtp_421_service_response(self) -> bool: ...
    @property
    def bounce_upon_5xx_greeting(self) -> bool: ...
    @property
    def bounce_upon_transfer_failure(self) -> bool: ...
    @property
    def bounce_upon_pix_transfer_failure(self) -> bool: ...
    @property
    def assume_delivery_upon_data_termination_timeout(self) -> bool: ...


class TransactionReplies(Protocol):
    """What came back in one transaction; None where nothing did."""

    @property
    def mail(self) -> Reply | None: ...
    @property
    def rcpts(self) -> Sequence[Reply | None]: ...
    @property
    def data(self) -> Reply | None: ...
    @property
    def final(self) -> Reply | None: ...
    @property
    def broken(self) -> str: ...
    @property
    def broken_stage(self) -> Stage | None: ...
    @property
    def fault(self) -> str: ...
    @property
    def is_unanswered(self) -> bool: ...
    @property
    def is_pix(self) -> bool: ...


class Fate(enum.Enum):
    """What becomes of the recipients a reply concerns."""

    DELIVER = "deliver"
    """The reply is positive: delivered at the content, otherwise go on."""
    BOUNCE = "bounce"
    DEFER = "defer"


class Judged(NamedTuple):
    """What one reply means."""

    fate: Fate
    verdict: Verdict = NO_VERDICT
    is_queue_level: bool = False
    """The reply is about the host or the queue. With DEFER the recipients concerned are
    untried: they stay due, for the next host or the next try of the queue."""
    cause: str = ""
    """The action that overrode the reply's own class: `bounce-queue`, `bounce-rcpt`."""


class Concluded(NamedTuple):
    """What one transaction came to."""

    outcomes: tuple[Outcome | None, ...]
    """Per recipient, in order; None leaves the recipient untried."""
    verdict: Verdict
    reply: Reply | None
    """The reply the verdict comes from, or None where there is no verdict."""
    failure: str
    """Why the connection is gone, or empty."""
    fault: str = ""
    """What the peer said that is no reply, or that nothing had asked for."""
    said_421: bool = False
    """Whether the peer said that it is about to close the connection."""


_QUEUE_STAGES: Final = frozenset(
    {Stage.RESOLVE, Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH}
)
_GO_ON: Final = Judged(Fate.DELIVER)
_DEFER: Final = Judged(Fate.DEFER)
_BOUNCE: Final = Judged(Fate.BOUNCE)
_CLOSE: Final = replace(NO_VERDICT, close_connection=True)
_OUT_OF_STEP: Final = Judged(Fate.DEFER, _CLOSE)
_PROTOCOL_FAULT: Final = "4.5.0"
"""RFC 3463 §3.6: other or undefined protocol status."""
_MX_UNAVAILABLE: Final = Verdict(
    skip_mx=True, close_connection=True, pattern="smtp-421-means-mx-unavailable"
)
_BOUNCE_GREETING: Final = Verdict(
    bounce_queue=True, close_connection=True, pattern="bounce-upon-5xx-greeting"
)
_LOCAL: Final = "x-pmta"
"""The diagnostic type of what we decided ourselves; operators' category rules look for it."""

ASSUMED: Final = Delivered("2.0.0", "x-pmta;assume-delivery-upon-data-termination-timeout")
"""No reply came to the content, and the operator says that it was taken."""


def judge(
    reply: Reply,
    stage: Stage,
    settings: ReplySettings,
    rules: tuple[ReplyRule, ...],
    *,
    accepted: int = 0,
) -> Judged:
    """What a reply at a stage means; `accepted` recipients came before it at RCPT."""
    kind = reply.code // 100
    if kind == (3 if stage is Stage.DATA else 2):
        return _judge_positive(reply, rules) if rules else _GO_ON
    if kind < 4:
        return _OUT_OF_STEP
    verdict, bounce_rcpt = _collect(reply, rules) if rules else (NO_VERDICT, False)
    if bounce_rcpt and kind == 4 and stage is Stage.RCPT:
        return Judged(Fate.BOUNCE, verdict, cause="bounce-rcpt")
    if verdict.bounce_queue:
        cause = "" if kind == 5 and stage not in _QUEUE_STAGES else "bounce-queue"
        return Judged(Fate.BOUNCE, verdict, is_queue_level=True, cause=cause)
    if verdict.skip_mx:
        return Judged(Fate.DEFER, verdict, is_queue_level=True)
    if reply.code == 421 and settings.smtp_421_means_mx_unavailable:
        return Judged(Fate.DEFER, _merge(verdict, _MX_UNAVAILABLE), is_queue_level=True)
    if stage in _QUEUE_STAGES:
        if stage is Stage.GREETING and kind == 5 and settings.bounce_upon_5xx_greeting:
            verdict = _merge(verdict, _BOUNCE_GREETING)
            return Judged(Fate.BOUNCE, verdict, is_queue_level=True, cause="bounce-queue")
        return Judged(Fate.DEFER, verdict, is_queue_level=True)
    is_permanent = kind == 5 and not (accepted and _is_too_many(reply, stage))
    if verdict is NO_VERDICT:
        return _BOUNCE if is_permanent else _DEFER
    return Judged(Fate.BOUNCE if is_permanent else Fate.DEFER, verdict)


def outcome_of(
    reply: Reply,
    fate: Fate,
    *,
    stage: Stage | None = None,
    settings: ReplySettings | None = None,
    cause: str = "",
) -> Outcome:
    """A recipient's result from the reply that decided it.

    The status is the peer's own enhanced code; without one it is the class and `.0.0`.
    """
    if fate is Fate.DELIVER:
        enhanced = reply.enhanced
        return Delivered(enhanced if enhanced[:1] == "2" else "2.0.0", f"smtp;{reply}")
    status = _status(reply, stage, settings)
    text = str(reply)
    if settings is not None and settings.replace_smtp_421_service_response and reply.code == 421:
        text = f"421 {reply.enhanced} service unavailable".replace("  ", " ")
    if fate is Fate.DEFER:
        return Deferred(status, f"smtp;{text}")
    return Bounced(status, f"{_LOCAL};{cause};reply:{text}" if cause else f"smtp;{text}")


def bounce_of_queue(reply: Reply) -> Bounced:
    """For recipients that never got the reply because of which their queue is bounced."""
    return Bounced(_status(reply, None, None), f"{_LOCAL};bounce-queue;reply:{reply}")


def failure_of(stage: Stage, reply: Reply | None = None, fault: str = "") -> Deferred:
    """What is recorded when a host could not be used: by its reply, or by where it broke.

    The diagnostic is empty where the host said nothing: what the network did stands in the log.
    """
    if reply is not None:
        return Deferred(_status(reply, stage, None), f"smtp;{reply}")
    if fault:
        return _broken_off(fault)
    if stage is Stage.RESOLVE:
        return Deferred("4.4.3", "")
    return Deferred("4.4.1" if stage is Stage.CONNECT else "4.4.2", "")


def decided(outcomes: Sequence[Outcome | None]) -> Concluded:
    """What we decided of each recipient ourselves: no reply is behind it, and no rule matches."""
    return Concluded(tuple(outcomes), NO_VERDICT, None, "")


def conclude(
    result: TransactionReplies, settings: ReplySettings, rules: tuple[ReplyRule, ...]
) -> Concluded:
    """What one transaction came to, recipient by recipient."""
    final, rcpts = result.final, result.rcpts
    if (
        final is not None
        and 200 <= final.code < 300
        and all(reply is not None and 200 <= reply.code < 300 for reply in rcpts)
        and not any(rule.verdict.mode == "normal" for rule in rules)
    ):
        outcome = outcome_of(final, Fate.DELIVER)
        return Concluded((outcome,) * len(rcpts), NO_VERDICT, None, result.broken)
    return _conclude(result, settings, rules)


def _conclude(
    result: TransactionReplies, settings: ReplySettings, rules: tuple[ReplyRule, ...]
) -> Concluded:
    outcomes: list[Outcome | None] = [None] * len(result.rcpts)
    verdict = NO_VERDICT
    source: Reply | None = None
    failure = result.broken

    def settle(reply: Reply, stage: Stage, which: Sequence[int], accepted: int = 0) -> bool:
        nonlocal verdict, source, failure
        judged = judge(reply, stage, settings, rules, accepted=accepted)
        if judged is _OUT_OF_STEP:
            failure = failure or f"{stage.name} was answered out of step: {reply}"
        if judged.verdict is not NO_VERDICT:
            verdict = _merge(verdict, judged.verdict)
            source = reply if source is None else source
        if judged.fate is Fate.DELIVER and stage is not Stage.CONTENT:
            return True
        if judged.fate is not Fate.DEFER or not judged.is_queue_level:
            outcome = outcome_of(
                reply, judged.fate, stage=stage, settings=settings, cause=judged.cause
            )
            for index in which:
                outcomes[index] = outcome
        return False

    everyone = range(len(outcomes))
    if result.mail is not None and settle(result.mail, Stage.MAIL, everyone):
        accepted: list[int] = []
        for index, reply in enumerate(result.rcpts):
            if reply is not None and settle(reply, Stage.RCPT, (index,), len(accepted)):
                accepted.append(index)
        if accepted and result.data is not None and settle(result.data, Stage.DATA, accepted):
            if result.final is not None:
                settle(result.final, Stage.CONTENT, accepted)
            elif result.broken and result.broken_stage is Stage.CONTENT:
                for index in accepted:
                    outcomes[index] = _broken_transfer(result, settings)
    replies = (result.mail, *result.rcpts, result.data, result.final)
    said_421 = any(reply is not None and reply.code == 421 for reply in replies)
    is_assumed = ASSUMED in outcomes
    failure = "" if is_assumed else failure
    return Concluded(tuple(outcomes), verdict, source, failure, result.fault, said_421)


def with_refusals(concluded: Concluded, refusals: Sequence[Outcome | None]) -> Concluded:
    """What a transaction came to that left out those who are refused."""
    rest = iter(concluded.outcomes)
    return concluded._replace(outcomes=tuple(refusal or next(rest) for refusal in refusals))


def put_off(concluded: Concluded) -> Concluded:
    """As concluded, and those untried are deferred: the peer may break off because of them.

    Else they would come first again, and again, and nothing behind them would go. What a verdict
    leaves to the next host, or to the end of the queue, stays.
    """
    if concluded.verdict.skip_mx or concluded.verdict.bounce_queue:
        return concluded
    broken_off = _broken_off(concluded.fault)
    outcomes = tuple(one or broken_off for one in concluded.outcomes)
    return concluded._replace(outcomes=outcomes)


def _broken_transfer(result: TransactionReplies, settings: ReplySettings) -> Outcome:
    """The content was on its way: the peer may have it, or not (RFC 1047)."""
    if result.is_unanswered and settings.assume_delivery_upon_data_termination_timeout:
        return ASSUMED
    if settings.bounce_upon_transfer_failure:
        return Bounced("5.4.2", f"{_LOCAL};bounce-upon-transfer-failure")
    if result.is_pix and settings.bounce_upon_pix_transfer_failure:
        return Bounced("5.4.2", f"{_LOCAL};bounce-upon-pix-transfer-failure")
    return _broken_off(result.fault)


def _broken_off(fault: str) -> Deferred:
    """The peer hung up, or had to be hung up on for what it said."""
    return Deferred(_PROTOCOL_FAULT, f"{_LOCAL};{fault}") if fault else Deferred("4.4.2", "")


def _judge_positive(reply: Reply, rules: tuple[ReplyRule, ...]) -> Judged:
    """Of a positive reply only `mode=normal` makes sense; nothing else is looked for."""
    for rule in rules:
        if rule.verdict.mode == "normal" and rule.pattern.search(str(reply)):
            return Judged(Fate.DELIVER, Verdict(mode="normal", pattern=_written(rule)))
    return _GO_ON


def _collect(reply: Reply, rules: tuple[ReplyRule, ...]) -> tuple[Verdict, bool]:
    """All actions of all rules that match, and whether to bounce the recipient."""
    text = str(reply)
    verdict, bounce_rcpt = NO_VERDICT, False
    for rule in rules:
        if not rule.pattern.search(text):
            continue
        keeps = verdict.skip_mx
        verdict = _merge(verdict, _complete(rule), bounces=bounce_rcpt)
        bounce_rcpt = bounce_rcpt or (rule.bounce_rcpt and not keeps)
    return verdict, bounce_rcpt


def _complete(rule: ReplyRule) -> Verdict:
    """A rule's verdict with what follows from it."""
    verdict = rule.verdict
    closes = verdict.skip_mx or verdict.disable_source_ip or verdict.defer_queue
    return replace(
        verdict,
        close_connection=verdict.close_connection or closes,
        pattern=_written(rule),
    )


def _written(rule: ReplyRule) -> str:
    return f"{rule.text} ({rule.place})" if rule.place else rule.text


def _merge(first: Verdict, second: Verdict, *, bounces: bool = False) -> Verdict:
    """Both verdicts; what of the second contradicts the first is dropped."""
    if first is NO_VERDICT and not bounces:
        return second
    mode, backoff_for = first.mode, first.backoff_to_normal_after
    if not mode:
        mode, backoff_for = second.mode, second.backoff_to_normal_after
    reenable = first.reenable_after if first.disable_source_ip else second.reenable_after
    skip_mx = first.skip_mx or (second.skip_mx and not (first.bounce_queue or bounces))
    return Verdict(
        mode=mode,
        backoff_to_normal_after=backoff_for,
        skip_mx=skip_mx,
        bounce_queue=first.bounce_queue or (second.bounce_queue and not first.skip_mx),
        defer_queue=first.defer_queue or second.defer_queue,
        disable_source_ip=first.disable_source_ip or second.disable_source_ip,
        reenable_after=reenable,
        close_connection=first.close_connection or second.close_connection,
        pattern=first.pattern or second.pattern,
    )


def _is_too_many(reply: Reply, stage: Stage) -> bool:
    """552 for a recipient that only came too late in the transaction."""
    return stage is Stage.RCPT and reply.code == 552 and reply.enhanced in ("", "4.5.3", "5.5.3")


def _status(reply: Reply, stage: Stage | None, settings: ReplySettings | None) -> str:
    """The status of a failure."""
    kind = reply.code // 100
    if kind < 4:
        return _PROTOCOL_FAULT
    enhanced = reply.enhanced
    # A class of success in a failure says nothing; a 5 in a 4yz reply is common and is kept as
    # the peer wrote it.
    if enhanced and enhanced[0] != "2":
        return enhanced
    if reply.code == 553 and stage is Stage.RCPT and settings is not None:
        # Guide, smtp-553-means-invalid-mailbox: it stands in for the missing code only.
        return "5.1.1" if settings.smtp_553_means_invalid_mailbox else "5.0.0"
    return f"{kind}.0.0"
