"""`explain` in words: what rules a queue or a message, and why it waits."""

from collections.abc import Iterator, Sequence

from mta import ids, units
from mta.admin.answers import (
    COUNTED_BEFORE_MAX,
    Explanation,
    LimitUse,
    MessageExplanation,
    RecipientExplanation,
    Redirection,
    Setting,
)
from mta.admin.tree import kilobytes, printed_time
from mta.model.refusal import Refusal

_LABEL_WIDTH = 11
EVENTS_SHOWN_MAX = 5
"""Of each queue, where a message is explained; `explain QUEUE` shows all there are."""


def refusal_text(refusal: Refusal) -> str:
    """`max-smtp-out of gmail.com/vmta1 (pmta.conf:12), until 2024-03-05 10:17:07`."""
    place = f" ({refusal.source})" if refusal.source else " (default)"
    until = f", until {printed_time(refusal.until)}" if refusal.until is not None else ""
    return f"{refusal.directive} of {refusal.scope}{place}{until}"


def explanation(e: Explanation) -> Iterator[str]:
    """A queue, whole."""
    yield from _summary(e)
    if e.limits:
        yield from _titled("Limits (* = exhausted now)")
        yield from _limits(e.limits, e.now)
    for title, lines in (("Source addresses", e.sources), ("Hosts", e.hosts), ("DKIM", e.signing)):
        if lines:
            yield from _titled(title)
            yield from (f"  {line}" for line in lines)
    if e.events:
        yield from _titled("Recent events")
        yield from (f"  {printed_time(event.time)} {event.text}" for event in e.events)
    written = [setting for setting in e.settings if setting.place]
    if written:
        yield from _titled("Set by the configuration")
        for setting in written:
            yield from setting_lines(setting)
    defaults = [setting for setting in e.settings if not setting.place]
    if defaults:
        yield from _titled("Defaults")
        for setting in defaults:
            yield from setting_lines(setting)


def message(m: MessageExplanation) -> Iterator[str]:
    """A message and each recipient of it that is still queued."""
    yield _labelled("Message", ids.printed(m.message_id))
    yield _labelled("From", m.mail_from or "<>")
    waiting = _interval(m.now - m.time_queued)
    yield _labelled("Queued", f"{printed_time(m.time_queued)}, {waiting} ago")
    yield _labelled("Size", f"{kilobytes(m.size)} kbytes")
    if m.job_id:
        yield _labelled("Job", m.job_id)
    if m.env_id:
        yield _labelled("ENVID", m.env_id)
    if m.vmta_by:
        yield _labelled("Virtual MTA", f"by {m.vmta_by}")
    if m.schedule:
        yield _labelled("X-Schedule", m.schedule)
    if m.bounce_at is not None:
        yield _labelled("Given up", _moment(m.bounce_at, m.now))
    shown = (
        f", the first {len(m.recipients)} shown" if len(m.recipients) < m.recipients_total else ""
    )
    yield from _titled(f"Recipients still queued: {m.recipients_total}{shown}")
    queues = {e.queue: e for e in m.queues}
    for r in m.recipients:
        yield f"  {r.address}"
        yield f"    queue     {r.queue}"
        yield f"    attempts  {r.attempts}"
        yield from _tries(r)
        if r.is_in_flight:
            yield "    now       in a transaction this moment"
            continue
        yield f"    next due  {_moment(r.due, m.now)}"
        yield from _outlook(r, m)
        why = r.why or (refusal_text(r.refusal) if r.refusal else "")
        why = why or _why(r.due, m.now, queues.get(r.queue))
        if why:
            yield f"    waits     {why}"
    for e in m.queues:
        yield from _titled(f"Queue {e.queue}")
        yield from _summary(e)
        for event in e.events[:EVENTS_SHOWN_MAX]:
            yield f"  {printed_time(event.time)} {event.text}"


def _tries(r: RecipientExplanation) -> Iterator[str]:
    """What was tried so far, as far as it is remembered."""
    if r.attempts > len(r.tries) > 0:
        yield f"    tries     the last {len(r.tries)}:"
    for one in r.tries:
        source = f" from {one.source_ip}" if one.source_ip else ""
        host = f" to {one.host}" if one.host else ""
        reply = one.reply or "the connection broke"
        yield f"    tried     {printed_time(one.time)}{source}{host}: {reply}"
    if r.last_reply and not r.tries:
        yield f"    last      {r.last_reply}"


def _outlook(r: RecipientExplanation, m: MessageExplanation) -> Iterator[str]:
    """When it goes, if nothing changes."""
    if r.next_at is not None and r.next_at > max(r.due, m.now):
        yield f"    next try  {_moment(r.next_at, m.now)} at the earliest"
    if r.before is None:
        return
    is_far = r.before >= COUNTED_BEFORE_MAX
    more = " or more" if is_far else ""
    after = f"after {r.before}{more} of its queue" if r.before else "the first of its queue"
    pace = f", at {r.pace}" if r.before and r.pace else ""
    if r.expected_at is None:
        yield f"    expected  {after}{pace}"
        return
    late = m.bounce_at is not None and r.expected_at > m.bounce_at
    note = "; it is given up before that" if late else ""
    earliest = "not before " if is_far else ""
    yield f"    expected  {earliest}{_moment(r.expected_at, m.now)}: {after}{pace}{note}"


def setting_lines(setting: Setting) -> Iterator[str]:
    """A directive with where it stands, and under it what it hides."""
    place = f"  ({setting.place})" if setting.place else ""
    note = f"  [{setting.note}]" if setting.note else ""
    yield f"  {setting.directive} {_value(setting.value)}{place}{note}"
    for hidden in setting.hides:
        yield f"      hides {_value(hidden.value)}  ({hidden.place or 'default'})"


def _value(value: str) -> str:
    return value or '""'


def _summary(e: Explanation) -> Iterator[str]:
    yield _labelled("Queue", str(e.queue))
    yield from _ways(e.ways)
    due = f", {e.recipients_due} due" if e.recipients_due is not None else ""
    yield _labelled(
        "Recipients",
        f"{e.recipients} waiting{due}, {e.in_flight} in flight; {kilobytes(e.octets)} kbytes; "
        f"{e.connections} connections",
    )
    mode: str = e.mode
    if e.mode_since is not None:
        mode += f" since {printed_time(e.mode_since)}"
    if e.mode_until is not None:
        mode += f", until {_moment(e.mode_until, e.now)}"
    elif e.mode == "backoff":
        mode += ", with no end set (backoff-to-normal-after)"
    if e.mode_reason:
        mode += f": {e.mode_reason}"
    yield _labelled("Mode", mode)
    pace: str = e.pace
    if e.pace_until is not None:
        pace += f" until {_moment(e.pace_until, e.now)}"
    if e.pace_reason:
        pace += f": {e.pace_reason}"
    yield _labelled("Pace", pace)
    if e.refusal:
        yield _labelled("Waits for", refusal_text(e.refusal))
    if e.next_event or e.next_at is not None:
        moment = _moment(e.next_at, e.now) if e.next_at is not None else ""
        yield _labelled("Next", ": ".join(part for part in (moment, e.next_event) if part))


def _ways(ways: Sequence[Redirection]) -> Iterator[str]:
    """One line for each step: where to, by which directive, written where."""
    label = "Goes to"
    for way in ways:
        written = f"{way.directive} {way.value}".rstrip()
        place = f" ({way.place})" if way.place else ""
        note = f": {way.note}" if way.note else ""
        if not way.targets:
            yield _labelled("But", f"{written}{place}{note}")
            continue
        targets = ", ".join(map(str, way.targets))
        if len(way.targets) > 1:
            targets += " in turn"
        what = "Some go to" if way.is_partial else label
        yield _labelled(what, f"{targets}: {written}{place}{note}")
        label = "then to"


def _limits(limits: Sequence[LimitUse], now: float) -> Iterator[str]:
    directive_width = max(len(limit.directive) for limit in limits)
    scope_width = max(len(limit.scope) for limit in limits)
    for limit in limits:
        mark = "*" if limit.is_exhausted else " "
        place = limit.place or "default"
        use = f"{limit.used} of {limit.ceiling}" if limit.used else limit.ceiling
        if limit.here:
            use = f"{limit.used} of {limit.here} here, {limit.ceiling} in all"
        until = ""
        if limit.is_exhausted and limit.binds_until is not None:
            until = f", until {_moment(limit.binds_until, now)}"
        if limit.waiting:
            until += f"; {limit.waiting} queues wait for it"
        yield (
            f"{mark} {limit.directive:{directive_width}} {limit.scope:{scope_width}}  "
            f"{use}  ({place}){until}"
        )


def _why(due: float, now: float, queue: Explanation | None) -> str:
    """The nearest reason in the order an operator can act on it."""
    if queue is None:
        return "it is not due yet" if due > now else ""
    if queue.pace == "paused":
        return "its queue is paused; `mta resume queue` lets it go"
    if due > now:
        return "its last try failed; it is due again later"
    if queue.pace == "retrying":
        until = f" until {_moment(queue.pace_until, now)}" if queue.pace_until is not None else ""
        return f"its queue rests{until}: {queue.pace_reason}".removesuffix(": ")
    if queue.refusal:
        return refusal_text(queue.refusal)
    return "others of its queue are before it"


def _moment(moment: float, now: float) -> str:
    if moment <= now:
        return f"{printed_time(moment)} (now)"
    return f"{printed_time(moment)} (in {_interval(moment - now)})"


def _interval(seconds: float) -> str:
    return units.print_interval(max(0, round(seconds)))


def _labelled(label: str, content: str) -> str:
    return f"{label:<{_LABEL_WIDTH}} {content}"


def _titled(title: str) -> Iterator[str]:
    yield ""
    yield title
    yield "-" * len(title)
