"""A reload: the file is read once, checked whole, and then in force in every shard, or in none."""

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from mta.admin.answers import ReloadAnswer
from mta.admin.operations import CommandRefusedError
from mta.config.plan import at_next_start
from mta.daemon import header_files
from mta.daemon.kept_files import NOTHING_KEPT, Kept, KeptFiles
from mta.daemon.loading import let_go, load_checked, made_to_last
from mta.daemon.suppression import read_lists
from mta.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mta.config.configuration import Configuration, ListenerSettings
    from mta.daemon.log import LogLines
    from mta.daemon.shard import Shard
    from mta.daemon.suppression import Suppression

NOT_RELOADED: Final = "configuration not reloaded; the old one stays in force"


class Prepared(NamedTuple):
    """A configuration with what stands in files of its own: nothing is missing any more."""

    configuration: "Configuration"
    suppression: "Suppression"
    included: "Mapping[str, bytes]"


async def read_again(path: str) -> "tuple[Configuration, list[str]]":
    """The configuration and remarks on it; with errors, CommandRefusedError names them all."""
    try:
        return await asyncio.to_thread(load_checked, path)
    except ConfigError as error:
        raise not_reloaded(error) from None


def answer(
    started: "Mapping[str, object]", after: "Configuration", remarks: list[str]
) -> ReloadAnswer:
    """What to say of it; `started` is what was `fixed` by the start."""
    needs_restart = tuple(at_next_start(started, after))
    return ReloadAnswer(remarks=tuple(remarks), needs_restart=needs_restart)


def say(told: ReloadAnswer, log: "LogLines") -> None:
    """Have it in the log."""
    log.write("configuration reloaded")
    for line in told.remarks:
        log.write(line)
    for directive in told.needs_restart:
        log.write(f"{directive}: takes effect at the next start")


async def prepare(configuration: "Configuration", kept: Kept | None = None) -> Prepared:
    """Read all that it needs; CommandRefusedError if a file is not there any more.

    What is `kept` is read instead of what is there now.
    """
    paths = NOTHING_KEPT.paths if kept is None else kept.paths
    try:
        suppression = await read_lists(configuration.submitters.address_lists, paths)
        if kept is not None:
            return Prepared(configuration, suppression, kept.included)
        included = await header_files.read_files(configuration)
    except ConfigError as error:
        raise not_reloaded(error) from None
    return Prepared(configuration, suppression, included)


async def keep_files(
    configuration: "Configuration", listeners: "Iterable[ListenerSettings]", before: KeptFiles
) -> KeptFiles:
    """Those it needs, and these listeners; CommandRefusedError if one is not there any more."""
    try:
        return await asyncio.to_thread(KeptFiles, configuration, listeners, before)
    except ConfigError as error:
        raise not_reloaded(error) from None


def not_reloaded(error: ConfigError) -> CommandRefusedError:
    """Why a configuration was refused, line by line."""
    return CommandRefusedError("\n".join([NOT_RELOADED, *map(str, error.args[0])]))


async def adopt(
    shard: "Shard", prepared: Prepared, taken: "Callable[[], None]" = lambda: None
) -> None:
    """It is in force in the shard at once, and followed by its queues when this returns.

    `taken` is called in between.
    """
    before = [shard.configuration]
    with made_to_last():  # What the queues make of it stays as long.
        shard.reload(*prepared)
        taken()
        await shard.followed()
    await let_go(before)
