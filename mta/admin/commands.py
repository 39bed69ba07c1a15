"""Every admin command, declared. Guide: pmta commands.

Adding one is adding an entry here (and, for something new, a method of `Operations`):
the command line, the control socket and the reference page follow.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import mta
from mta.admin import changes, effective, merge
from mta.admin import parameters as p
from mta.admin.answers import (
    Answer,
    DirectiveAnswer,
    ListAnswer,
    QueuesAnswer,
    SettingsAnswer,
    VersionAnswer,
)
from mta.admin.command import (
    AdminCommand,
    Arguments,
    Parameter,
    Run,
    from_owner,
    merged,
)
from mta.admin.operations import (
    CommandRefusedError,
    DomainQuery,
    Operations,
    QueueQuery,
    Sort,
)
from mta.admin.refused_commands import REFUSED
from mta.admin.trace import SCHEDULED, trace
from mta.model.queue_key import QueueKey

PRODUCT: Final = "Petrel"


def _domain_query(a: Arguments, sort: Parameter[Sort]) -> DomainQuery:
    return DomainQuery(
        domain=a[p.DOMAIN],
        vmta=a[p.VMTA],
        sort=a[sort],
        max_items=a[p.MAX_ITEMS],
        connected=a[p.CONNECTED],
        errors=a[p.ERRORS],
    )


def _show_domains(sort: Parameter[Sort]) -> Run:
    async def run(shards: Sequence[Operations], a: Arguments) -> Answer:
        query = _domain_query(a, sort)
        if len(shards) == 1:
            answer = await shards[0].domains(query)
        else:
            # Queues of one domain are in several shards: sums first, then the choice, and
            # events of the chosen only.
            sums = [await s.domain_sums(domain=query.domain, vmta=query.vmta) for s in shards]
            answer = merge.merge_domains(sums, query)
            names = frozenset(row.domain for row in answer.rows)
            chosen = replace(query, connected=None, names=names)
            answer = merge.add_events(answer, [await s.domains(chosen) for s in shards])
        return replace(answer, shows_events=query.errors)

    return run


async def _show_vmtas(shards: Sequence[Operations], a: Arguments) -> Answer:
    sort, max_items = a[p.SORT_NAME], a[p.ALL_ITEMS]
    asked = max_items if len(shards) == 1 else None
    answers = [await s.vmtas(sort=sort, max_items=asked) for s in shards]
    return merge.merge_vmtas(answers, sort, max_items)


async def _show_jobs(shards: Sequence[Operations], a: Arguments) -> Answer:
    sort, max_items = a[p.SORT_NAME], a[p.ALL_ITEMS]
    asked = max_items if len(shards) == 1 else p.LISTED_MAX
    answers = [await s.jobs(sort=sort, max_items=asked) for s in shards]
    return merge.merge_jobs(answers, sort, max_items)


def _queue_query(a: Arguments, sort: Parameter[Sort]) -> QueueQuery:
    return QueueQuery(
        pattern=a[p.LISTING],
        sort=a[sort],
        max_items=a[p.MAX_ITEMS],
        connected=a[p.CONNECTED],
        paused=a[p.PAUSED],
        mode=a[p.MODE],
        errors=a[p.ERRORS],
        recipient_events=not a[p.NO_RCPT_EVENTS],
        mode_events=a[p.MODE_EVENTS],
    )


_SORTED_BY: Final = {"name": "name", "rcpt": "number of recipients", "size": "size"}


def _show_queues(sort: Parameter[Sort], *, top: bool) -> Run:
    def finish(answers: Sequence[QueuesAnswer], a: Arguments) -> Answer:
        answer = merge.merge_queues(answers, _queue_query(a, sort))
        title = f"Top {len(answer.rows)} queues by {_SORTED_BY[a[sort]]}" if top else ""
        return replace(
            answer, title=title, shows_events=a[p.ERRORS], shows_mode_events=a[p.MODE_EVENTS]
        )

    return merged(lambda operations, a: operations.queues(_queue_query(a, sort)), finish)


async def _explain(shards: Sequence[Operations], a: Arguments) -> Answer:
    subject = a[p.SUBJECT]
    if isinstance(subject, QueueKey):
        queue = subject
        if a[p.DIRECTIVE]:
            return await _explain_directive(queue, shards, a)
        run = from_owner(
            lambda operations, _: operations.explain_queue(queue),
            lambda answers, _: merge.merge_explanations(answers),
        )
    else:
        message_id = subject
        run = from_owner(
            lambda operations, _: operations.explain_message(message_id),
            lambda answers, _: merge.merge_messages(answers),
        )
    return await run(shards, a)


async def _explain_directive(
    queue: QueueKey, shards: Sequence[Operations], a: Arguments
) -> DirectiveAnswer:
    run = from_owner(
        lambda operations, _: operations.settings(queue), lambda answers, _: answers[0]
    )
    answer = await run(shards, a)
    assert isinstance(answer, SettingsAnswer)
    return effective.directive(answer, a[p.DIRECTIVE])


def _lists(answers: Sequence[ListAnswer], a: Arguments) -> Answer:
    return replace(
        merge.merge_lists(answers, a[p.LIST_MAX_ITEMS]),
        shows_priority=a[p.LIST_PRIORITY],
        shows_schedule=a[p.LIST_SCHEDULE],
        was_to_pause=a[p.LIST_PAUSE],
    )


async def _version(shards: Sequence[Operations], _a: Arguments) -> Answer:
    try:
        host_name = (await shards[0].status()).host_name
    except CommandRefusedError:
        host_name = ""
    return VersionAnswer(PRODUCT, mta.__version__, host_name)


_SHOW_DOMAINS = (p.DOMAIN, p.VMTA, p.CONNECTED, p.MAX_ITEMS, p.ERRORS)
_SHOW_QUEUES = (
    p.LISTING, p.CONNECTED, p.PAUSED, p.MODE, p.MAX_ITEMS, p.ERRORS, p.MODE_EVENTS,
    p.NO_RCPT_EVENTS,
)  # fmt: skip


_TRACE = (
    p.QUEUES, p.LOG_DATA, p.LOG_RESOLUTION, p.TO_LOG, p.TRACE_RETRY_RECIPIENTS, p.SOURCE_IP,
    p.SECONDS,
)  # fmt: skip


COMMANDS: Final[tuple[AdminCommand, ...]] = (
    AdminCommand(
        words="show status",
        help="traffic, connections, queues and spool at a glance",
        run=merged(
            lambda operations, _: operations.status(),
            lambda answers, _: merge.merge_status(answers),
        ),
    ),
    AdminCommand(
        words="show queues",
        help="queues, by name",
        parameters=(*_SHOW_QUEUES, p.SORT_NAME),
        run=_show_queues(p.SORT_NAME, top=False),
        example="show queues 'gmail.com/*' --errors",
    ),
    AdminCommand(
        words="show topqueues",
        help="the queues with the most recipients",
        parameters=(*_SHOW_QUEUES, p.SORT_RCPT),
        run=_show_queues(p.SORT_RCPT, top=True),
        example="show topqueues --errors --maxitems=5",
    ),
    AdminCommand(
        words="show domains",
        help="domains, over all their queues, by name",
        parameters=(*_SHOW_DOMAINS, p.SORT_NAME),
        run=_show_domains(p.SORT_NAME),
    ),
    AdminCommand(
        words="show topdomains",
        help="the domains with the most recipients",
        parameters=(*_SHOW_DOMAINS, p.SORT_RCPT),
        run=_show_domains(p.SORT_RCPT),
    ),
    AdminCommand(
        words="show vmtas",
        help="VirtualMTAs, over all their queues",
        parameters=(p.ALL_ITEMS, p.SORT_NAME),
        run=_show_vmtas,
    ),
    AdminCommand(
        words="show jobs",
        help="jobs (X-Job) of queued recipients; it looks at every message, and takes seconds for "
        "a million",
        parameters=(p.ALL_ITEMS, p.SORT_NAME),
        run=_show_jobs,
    ),
    AdminCommand(
        words="show disabled sources",
        help="source addresses that queues do not use now, since when a reply or an operator "
        "said so",
        parameters=(p.LISTING, p.ALL_ITEMS),
        run=merged(
            lambda operations, a: operations.disabled_sources(
                a[p.LISTING], max_items=a[p.ALL_ITEMS]
            ),
            lambda answers, a: merge.merge_disabled(answers, a[p.ALL_ITEMS]),
        ),
        example="show disabled sources 'gmail.com/*'",
    ),
    AdminCommand(
        words="show settings",
        help="every directive in effect for a queue",
        parameters=(p.QUEUE, p.IN_FILE),
        run=from_owner(
            lambda operations, a: operations.settings(a[p.QUEUE]), lambda answers, _: answers[0]
        ),
        example="show settings gmail.com/vmta1",
    ),
    AdminCommand(
        words="show vmta-settings",
        help="every directive in effect for a VirtualMTA as a whole",
        parameters=(p.VMTA_NAME,),
        run=from_owner(
            lambda operations, a: operations.settings(QueueKey("*", a[p.VMTA_NAME])),
            lambda answers, _: replace(answers[0], queue_settings=()),
        ),
        example="show vmta-settings vmta1",
    ),
    AdminCommand(words="show version", help="the version of the running daemon", run=_version),
    AdminCommand(
        words="explain",
        help="what rules a queue or message, where that is written, and why it waits",
        parameters=(p.SUBJECT, p.DIRECTIVE, p.IN_FILE),
        run=_explain,
        example="explain gmail.com/vmta1 max-msg-rate",
    ),
    AdminCommand(
        words="list",
        help="queued recipients",
        parameters=(*p.FILTER, p.LIST_MAX_ITEMS, p.LIST_PRIORITY, p.LIST_SCHEDULE, p.LIST_PAUSE),
        run=merged(
            lambda operations, a: operations.list_recipients(
                changes.recipient_filter(a), limit=a[p.LIST_MAX_ITEMS]
            ),
            _lists,
        ),
        example="list --queue='gmail.com/*' --older-than=1h",
    ),
    AdminCommand(
        words="trace",
        help="follow the connections of queues as they happen",
        parameters=_TRACE,
        forms=("text",),
        stream=trace,
        stream_for=p.SECONDS,
        example="trace gmail.com/vmta1",
    ),
    AdminCommand(
        words="pause queue",
        help="open no more connections for queues, until resumed; restarts do not resume",
        changes=True,
        parameters=(p.QUEUES,),
        run=changes.hold_back(lambda operations, a: operations.pause(a[p.QUEUES], paused=True)),
        done="Queue(s) paused.",
    ),
    AdminCommand(
        words="resume queue",
        help="let paused queues deliver again",
        changes=True,
        parameters=(p.QUEUES,),
        run=changes.resume,
    ),
    AdminCommand(
        words="set queue",
        help="put queues into normal or backoff mode",
        changes=True,
        parameters=(p.QUEUES, p.NEW_MODE),
        run=changes.set_mode,
        done="Mode of {count} of {matching} matching queues changed.",
        example="set queue 'gmail.com/*' --mode=normal",
    ),
    AdminCommand(
        words="disable source",
        help="have queues use a source address no more; open connections end after their "
        "transaction",
        changes=True,
        parameters=(p.SOURCE, p.QUEUES, p.REENABLE_AFTER),
        run=changes.disable_source,
        done="Source disabled for {count} of {matching} matching queues.",
        example="disable source --reenable-after=1h 192.0.2.1 'gmail.com/*'",
    ),
    AdminCommand(
        words="enable source",
        help="have queues use a disabled source address again",
        changes=True,
        parameters=(p.SOURCE, p.QUEUES),
        run=changes.let_go(
            lambda operations, a: operations.enable_source(a[p.QUEUES], a[p.SOURCE])
        ),
        done="Source enabled for {count} of {matching} matching queues.",
        example="enable source 192.0.2.1 gmail.com/vmta1",
    ),
    AdminCommand(
        words="set priority",
        help="let queued recipients go before, or after, others of their queue; "
        "those in a transaction keep theirs",
        changes=True,
        parameters=(p.PRIORITY, *p.FILTER),
        check=changes.check_chosen("set priority"),
        run=changes.let_go(
            lambda operations, a: operations.set_priority(
                changes.recipient_filter(a), a[p.PRIORITY]
            )
        ),
        done="Priority of {count} of {matching} matching recipients changed.",
        example="set priority 90 --jobId=alert-7",
    ),
    AdminCommand(
        words="schedule",
        help="try retrying queues now",
        changes=True,
        parameters=(p.QUEUES, p.RETRY_RECIPIENTS),
        run=changes.let_go(
            lambda operations, a: operations.schedule(a[p.QUEUES], recipients=a[p.RETRY_RECIPIENTS])
        ),
        done=SCHEDULED,
    ),
    AdminCommand(
        words="delete",
        help="give up queued recipients, which are accounted as bounced; "
        "it needs a condition besides --older-than",
        changes=True,
        parameters=(*p.FILTER, p.DSN, p.ACCOUNTING, p.NO_ACCOUNTING),
        check=changes.check_delete,
        run=changes.let_go(
            lambda operations, a: operations.delete(
                changes.recipient_filter(a), dsn=a[p.DSN], accounting=not a[p.NO_ACCOUNTING]
            )
        ),
        done="{count} of {matching} matching recipients deleted.",
        example="delete --jobId=news-2214 --dsn",
    ),
    AdminCommand(
        words="reload",
        help="read the configuration again; with an error in it the old one stays in force",
        changes=True,
        is_for_daemon=True,
        run=merged(
            lambda operations, _: operations.reload(),
            lambda answers, _: merge.merge_reloads(answers),
        ),
    ),
    AdminCommand(
        words="rotate acct",
        help="begin new accounting files",
        changes=True,
        is_for_daemon=True,
        parameters=(p.ACCT_FILE,),
        run=changes.done(
            "Accounting file rotated.",
            lambda operations, a: operations.rotate("acct", a[p.ACCT_FILE]),
        ),
    ),
    AdminCommand(
        words="rotate log",
        help="begin a new log file",
        changes=True,
        is_for_daemon=True,
        run=changes.done("Logging file rotated.", lambda operations, _: operations.rotate("log")),
    ),
    AdminCommand(
        words="clear dnscache",
        help="forget what DNS said",
        changes=True,
        parameters=(p.DNS_DOMAIN,),
        run=changes.clear_dns_cache,
        example="clear dnscache gmail.com",
    ),
    AdminCommand(
        words="reset counters",
        aliases=("reset status",),
        help="set the traffic counters of `show status` to zero",
        changes=True,
        run=changes.done(
            "Traffic counters reset.", lambda operations, _: operations.reset_counters()
        ),
    ),
    AdminCommand(
        words="stop",
        help="stop the daemon cleanly: transactions in flight are finished first",
        changes=True,
        is_for_daemon=True,
        run=changes.done("Stopping.", lambda operations, _: operations.stop()),
    ),
    *REFUSED,
)
