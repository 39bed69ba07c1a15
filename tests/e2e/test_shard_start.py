"""The order in which the parts of a shard begin."""

import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest

from mta.daemon.shard import Shard
from mta.daemon.takeover import Takeover
from mta.sim.node import configured

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


class OpenedError(Exception):
    pass


async def test_other_shards_bring_mail_only_to_one_that_can_tell_what_became_of_it(
    tmp_path, monkeypatch
):
    log = SimpleNamespace(write=lambda _: None, rotate=lambda: None)
    shard = Shard(configured(f"<spool {tmp_path}>\n</spool>\n"), log, shard=1, shards=2)

    async def opened(_):
        assert shard.reports
        assert shard.notices
        raise OpenedError

    monkeypatch.setattr(Takeover, "__aenter__", opened)
    with pytest.RaisesGroup(OpenedError):
        async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
            await shard.run(stack, tasks)
