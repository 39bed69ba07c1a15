"""What is asked of the threads that sign is done once, for who asked, whatever else happens."""

import asyncio
import threading

import pytest

from mta.daemon.signing_threads import BACKLOG, Operation, Threads

WITHIN_S = 30


class Key:
    """Signs with the octets themselves, and not before it may."""

    type = "rsa"
    is_fast = False

    def __init__(self):
        self.may = threading.Event()
        self.begun = threading.Event()
        self.by = set()

    def sign(self, algorithm, octets):
        self.begun.set()
        assert self.may.wait(WITHIN_S)
        self.by.add(threading.get_ident())
        if octets == b"refuse":
            raise ValueError("refused")
        return octets


@pytest.fixture
def key():
    return Key()


@pytest.fixture
async def threads(key):
    opened = Threads()
    yield opened
    key.may.set()
    opened.close()


def order(threads, key, *octets):
    operations = [Operation(key, "rsa-sha256", one) for one in octets]
    return asyncio.ensure_future(threads.sign(operations))


async def test_each_message_gets_its_own_signatures_in_their_order(threads, key):
    key.may.set()
    asked = [order(threads, key, b"%d" % number, b"second") for number in range(100)]
    async with asyncio.timeout(WITHIN_S):
        assert await asyncio.gather(*asked) == [
            [b"%d" % number, b"second"] for number in range(100)
        ]
    assert threading.get_ident() not in key.by


async def test_what_cannot_be_signed_is_told_to_who_asked_and_to_nobody_else(threads, key):
    key.may.set()
    asked = [order(threads, key, octets) for octets in (b"a", b"refuse", b"b")]
    async with asyncio.timeout(WITHIN_S):
        found = await asyncio.gather(*asked, return_exceptions=True)
    assert found[0] == [b"a"]
    assert isinstance(found[1], ValueError)
    assert found[2] == [b"b"]


async def test_who_gives_up_holds_up_nobody(threads, key):
    first, second = order(threads, key, b"first"), order(threads, key, b"second")
    await asyncio.sleep(0)
    first.cancel()
    key.may.set()
    async with asyncio.timeout(WITHIN_S):
        assert await second == [b"second"]
    assert first.cancelled()
    key.by.clear()
    async with asyncio.timeout(WITHIN_S):
        assert await order(threads, key, b"third") == [b"third"]


@pytest.mark.parametrize(("messages", "busy"), [(BACKLOG, 1), (BACKLOG + 1, 2)])
async def test_a_second_thread_is_for_what_a_first_has_no_time_for(
    monkeypatch, key, messages, busy
):
    monkeypatch.setattr("mta.daemon.signing_threads.cpu_count", lambda: 4)
    threads = Threads()
    try:
        asked = [order(threads, key, b"x") for _ in range(messages)]
        await asyncio.sleep(0)
        key.may.set()
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*asked)
        assert len(key.by) == busy
    finally:
        threads.close()


async def test_the_end_waits_for_what_has_begun(key):
    threads = Threads()
    asked = [order(threads, key, b"x") for _ in range(BACKLOG)]
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(WITHIN_S):
        assert await loop.run_in_executor(None, key.begun.wait, WITHIN_S)
        ending = loop.run_in_executor(None, threads.close)
        key.may.set()
        await ending
        assert await asked[0] == [b"x"]
    for one in asked:
        one.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
