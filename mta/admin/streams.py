"""The streams of several shards as one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final, cast

WAITING_MAX: Final = 100
"""Lines read and not yet taken; beyond that the shards drop what is too much, and count it."""


def joined(streams: Sequence[AsyncIterator[str]]) -> AsyncIterator[str]:
    """Lines of all streams as they come, until all have ended; closing it closes them."""
    return streams[0] if len(streams) == 1 else _joined(streams)


async def _joined(streams: Sequence[AsyncIterator[str]]) -> AsyncIterator[str]:
    lines: asyncio.Queue[str] = asyncio.Queue(WAITING_MAX)

    async def read(stream: AsyncIterator[str]) -> None:
        async with aclosing(cast("AsyncGenerator[str, None]", stream)):
            async for line in stream:
                await lines.put(line)

    readers = [asyncio.create_task(read(stream)) for stream in streams]
    try:
        while not all(reader.done() for reader in readers) or not lines.empty():
            getting = asyncio.ensure_future(lines.get())
            await asyncio.wait({getting, *readers}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                yield getting.result()
            else:
                getting.cancel()
            for reader in readers:
                if reader.done():
                    reader.result()
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
