"""What is asked of the processes that sign is done once, for who asked, whatever else happens."""

import asyncio
import errno
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from mta.daemon import signing_processes
from mta.daemon.signing_processes import BACKLOG, Operation, Processes
from mta.signing import keys, signing_process

WITHIN_S = 30
KEY = keys.new_key("rsa-1024")
OTHER = keys.new_key("rsa-1024")


@pytest.fixture
async def opened():
    """Opens processes; they, their threads and what they log."""
    executor = ThreadPoolExecutor(1)
    log = []
    made = []

    def open_processes(count=1):
        made.append(Processes(count, executor, log.append))
        made[-1].log = log
        return made[-1]

    yield open_processes
    for one in made:
        one.close()
    await asyncio.sleep(0)  # what is closed is closed at the end of this turn
    executor.shutdown()


def order(processes, *octets, key=KEY, algorithm="rsa-sha256"):
    operations = [Operation(key, algorithm, one) for one in octets]
    return asyncio.ensure_future(processes.sign(operations))


def running(processes):
    return [one._running for one in processes._all if one._running is not None]


async def test_each_message_gets_its_own_signatures_in_their_order(opened):
    processes = opened()
    asked = [order(processes, b"%d" % n, b"second", key=(KEY, OTHER)[n % 2]) for n in range(100)]
    async with asyncio.timeout(WITHIN_S):
        found = await asyncio.gather(*asked)
    for number, signatures in enumerate(found):
        key = (KEY, OTHER)[number % 2]
        expected = [key.sign("rsa-sha256", one) for one in (b"%d" % number, b"second")]
        assert signatures == expected
    assert len(running(processes)) == 1
    assert processes.log == []


async def test_every_algorithm_and_large_octets(opened):
    processes = opened()
    ed25519 = keys.new_key("ed25519")
    octets = os.urandom(300_000)
    async with asyncio.timeout(WITHIN_S):
        for key, algorithm in ((KEY, "rsa-sha256"), (KEY, "rsa-sha1"), (ed25519, "ed25519-sha256")):
            (made,) = await order(processes, octets, key=key, algorithm=algorithm)
            assert made == key.sign(algorithm, octets)


async def test_a_key_is_told_again_where_a_process_has_forgotten_it(opened, monkeypatch):
    monkeypatch.setattr(signing_processes, "KEYS_MAX", 1)
    processes = opened()
    asked = [order(processes, b"x", key=(KEY, OTHER)[n % 2]) for n in range(6)]
    async with asyncio.timeout(WITHIN_S):
        found = await asyncio.gather(*asked)
    assert [one for (one,) in found] == [
        KEY.sign("rsa-sha256", b"x"),
        OTHER.sign("rsa-sha256", b"x"),
    ] * 3


async def test_who_gives_up_holds_up_nobody(opened):
    processes = opened()
    first, second = order(processes, b"first"), order(processes, b"second")
    await asyncio.sleep(0)
    first.cancel()
    async with asyncio.timeout(WITHIN_S):
        assert await second == [KEY.sign("rsa-sha256", b"second")]
        assert await order(processes, b"third") == [KEY.sign("rsa-sha256", b"third")]
    assert first.cancelled()


@pytest.mark.parametrize(("messages", "busy"), [(BACKLOG, 1), (BACKLOG + 1, 2)])
async def test_a_second_process_is_for_what_a_first_has_no_time_for(opened, messages, busy):
    processes = opened(4)
    asked = [order(processes, b"x") for _ in range(messages)]
    async with asyncio.timeout(WITHIN_S):
        await asyncio.gather(*asked)
    assert len(running(processes)) == busy


async def test_what_a_process_that_is_killed_had_to_sign_is_signed(opened):
    processes = opened()
    async with asyncio.timeout(WITHIN_S):
        await order(processes, b"x")
        (victim,) = running(processes)
        os.kill(victim.pid, signal.SIGSTOP)
        asked = [order(processes, b"%d" % number) for number in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        os.kill(victim.pid, signal.SIGKILL)
        found = await asyncio.gather(*asked)
        assert found == [[KEY.sign("rsa-sha256", b"%d" % number)] for number in range(5)]
        assert "is started again" in processes.log[0]
        await order(processes, b"x")
    assert [one.pid for one in running(processes)] != [victim.pid]
    assert len(processes.log) == 1


async def test_what_a_process_that_hangs_had_to_sign_is_signed(opened, monkeypatch):
    processes = opened()
    async with asyncio.timeout(WITHIN_S):
        await order(processes, b"x")
        (victim,) = running(processes)
        os.kill(victim.pid, signal.SIGSTOP)
        monkeypatch.setattr(signing_processes, "HANGS_S", 0.05)
        processes._all[0]._end_if_it_hangs(0)
        assert await order(processes, b"y") == [KEY.sign("rsa-sha256", b"y")]
    assert "is started again" in processes.log[0]


@pytest.mark.parametrize("command", ["/bin/true", "/nonexistent"])
async def test_where_no_process_can_sign_a_thread_does(opened, monkeypatch, command):
    monkeypatch.setattr(signing_processes.sys, "executable", command)
    processes = opened()
    async with asyncio.timeout(WITHIN_S):
        for _ in range(3):
            assert await order(processes, b"x") == [KEY.sign("rsa-sha256", b"x")]
    assert len(processes.log) == 1
    assert "on threads" in processes.log[0]


async def test_processes_sign_again_once_they_can_be_started(opened, monkeypatch):
    monkeypatch.setattr(signing_processes, "TRIED_AGAIN_S", 0)
    processes = opened()
    async with asyncio.timeout(WITHIN_S):
        with monkeypatch.context() as broken:
            broken.setattr(signing_processes.sys, "executable", "/nonexistent")
            await order(processes, b"x")
            await order(processes, b"y")
        assert await order(processes, b"z") == [KEY.sign("rsa-sha256", b"z")]
    assert len(running(processes)) == 1
    assert [line.partition(":")[0] for line in processes.log] == [
        "DKIM signatures are made on threads",
        "DKIM signatures are made in processes again",
    ]


async def test_without_a_descriptor_left_a_thread_signs(opened, monkeypatch):
    def refused(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(signing_processes.socket, "socketpair", refused)
    processes = opened()
    async with asyncio.timeout(WITHIN_S):
        assert await order(processes, b"x") == [KEY.sign("rsa-sha256", b"x")]
    assert "Too many open files" in processes.log[0]


async def test_what_cannot_be_asked_leaves_no_answer_to_another(opened):
    processes = opened()
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(ValueError, match="not in tuple"):
            await order(processes, b"x", algorithm="rsa-md5")
        assert await order(processes, b"y") == [KEY.sign("rsa-sha256", b"y")]


async def test_the_end_leaves_no_process(opened):
    processes = opened()
    async with asyncio.timeout(WITHIN_S):
        await order(processes, b"x")
    (one,) = running(processes)
    asked = order(processes, b"x")
    await asyncio.sleep(0)
    processes.close()
    assert one.poll() == -signal.SIGKILL
    asked.cancel()


def test_what_cannot_be_signed_is_told_to_who_asked_and_to_nobody_else():
    class Refusing:
        def sign(self, algorithm, octets):
            if octets == b"refuse":
                raise ValueError("refused")
            return octets

    frames = b"".join(
        [signing_process.key_frame(1, KEY)]
        + [signing_process.sign_frame(1, "rsa-sha256", one) for one in (b"a", b"refuse", b"b")]
    )
    pieces = [frames[at : at + 7] for at in range(0, len(frames), 7)]
    said = bytearray()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signing_process, "parse_key", lambda pem, is_tried: Refusing())
        signing_process.serve(lambda: pieces.pop(0) if pieces else b"", said.extend)
    first, second, third = signing_process.answers(said)
    assert (first, third) == (b"a", b"b")
    assert isinstance(second, ValueError)
    assert str(second) == "refused"
    assert said == b""
