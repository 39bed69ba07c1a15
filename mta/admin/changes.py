"""How commands that change something are carried out, and when they are refused."""

from collections.abc import Awaitable, Callable, Sequence

from mta.admin import merge
from mta.admin import parameters as p
from mta.admin.answers import Answer, Changed, CommandDone
from mta.admin.command import Arguments, Run, UsageError, in_each
from mta.admin.operations import CommandRefusedError, Operations, RecipientFilter
from mta.queues.disabling import SYSTEM


def hold_back(call: Callable[[Operations, Arguments], Awaitable[Changed]]) -> Run:
    """A change of queues that is refused if the pattern matches none.

    It would hold back nothing, and the mail that comes later goes out.
    """

    async def run(shards: Sequence[Operations], a: Arguments) -> Answer:
        changed = await _changed(call, shards, a)
        if not changed.matching:
            raise CommandRefusedError(
                f"no queue matches {a[p.QUEUES]}; `mta show queues` lists those with recipients"
            )
        return changed

    return run


async def disable_source(shards: Sequence[Operations], a: Arguments) -> Answer:
    """Refused where no queue that matches sends from the address: it may be misspelt."""
    changed = await _changed(
        lambda operations, a: operations.disable_source(
            a[p.QUEUES], a[p.SOURCE], after=a[p.REENABLE_AFTER]
        ),
        shards,
        a,
    )
    if not changed.matching:
        raise CommandRefusedError(
            f"no queue that matches {a[p.QUEUES]} sends from {a[p.SOURCE] or SYSTEM}; "
            "`explain QUEUE` shows its source addresses"
        )
    return changed


async def resume(shards: Sequence[Operations], a: Arguments) -> Answer:
    """Where no queue matches none is paused, as was asked; a misspelt name is pointed out."""
    changed = await _changed(
        lambda operations, a: operations.pause(a[p.QUEUES], paused=False), shards, a
    )
    none = "" if changed.matching else f"\nNo queue matches {a[p.QUEUES]}."
    return CommandDone(f"Queue(s) resumed.{none}")


async def set_mode(shards: Sequence[Operations], a: Arguments) -> Answer:
    """Backoff mode holds back; normal mode lets go."""
    run = (hold_back if a[p.NEW_MODE] == "backoff" else let_go)(
        lambda operations, a: operations.set_mode(a[p.QUEUES], a[p.NEW_MODE])
    )
    return await run(shards, a)


async def _changed(
    call: Callable[[Operations, Arguments], Awaitable[Changed]],
    shards: Sequence[Operations],
    a: Arguments,
) -> Changed:
    def did(answers: Sequence[Changed]) -> str:
        changed = merge.merge_changes(answers)
        return f"{changed.count} of {changed.matching} matching changed" if changed.count else ""

    return merge.merge_changes(await in_each(call, shards, a, did))


def let_go(call: Callable[[Operations, Arguments], Awaitable[Changed]]) -> Run:
    """A change that is done, too, where there is nothing to be changed."""

    async def run(shards: Sequence[Operations], a: Arguments) -> Answer:
        return await _changed(call, shards, a)

    return run


def done(text: str, call: Callable[[Operations, Arguments], Awaitable[None]]) -> Run:
    """A change that has nothing to count."""

    async def run(shards: Sequence[Operations], a: Arguments) -> Answer:
        await in_each(call, shards, a, lambda _: text)
        return CommandDone(text)

    return run


def recipient_filter(a: Arguments) -> RecipientFilter:
    """Which recipients the arguments mean."""
    return RecipientFilter(
        queue=a[p.FILTER_QUEUE],
        mail_from=a[p.ORIG],
        address=a[p.RCPT],
        job_id=a[p.JOB_ID],
        env_id=a[p.ENV_ID],
        older_than=a[p.OLDER_THAN],
    )


def check_chosen(verb: str) -> Callable[[Arguments], None]:
    """A change of recipients has to say which ones."""

    def check(a: Arguments) -> None:
        if not (a[p.FILTER_QUEUE] or a[p.JOB_ID] or a[p.ORIG] or a[p.RCPT] or a[p.ENV_ID]):
            raise UsageError(
                f"{verb} needs --queue, --jobId, --orig, --rcpt or --envId; "
                "everything is --queue=*/*"
            )

    return check


def check_delete(a: Arguments) -> None:
    """It has to say which ones, and one thing of accounting."""
    if a[p.ACCOUNTING] and a[p.NO_ACCOUNTING]:
        raise UsageError("--accounting and --no-accounting contradict each other; write one")
    check_chosen("delete")(a)


async def clear_dns_cache(shards: Sequence[Operations], a: Arguments) -> Answer:
    """Of one domain, or of all."""
    domain = a[p.DNS_DOMAIN]
    text = "DNS cache cleared." if domain == "*" else f"Cleared {domain} from DNS cache."
    run = done(text, lambda operations, _: operations.clear_dns_cache(domain))
    return await run(shards, a)
