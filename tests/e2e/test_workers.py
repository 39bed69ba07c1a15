"""Several workers are one daemon: to submitters, to providers, to operators, on disk."""

import asyncio
import contextlib
import json
import os
import signal
import time

import pytest

from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.submission import Letter
from tests.e2e.workers import DELIVERED_S, DOMAINS, WORKERS, Place

pytestmark = [pytest.mark.asyncio(loop_factories=["uvloop"]), pytest.mark.own_workers]


@pytest.fixture
async def provider():
    async with Provider() as one:
        yield one


@pytest.fixture
def place(tmp_path, provider):
    loopback = Place(tmp_path, provider.port)
    loopback.workers(WORKERS)
    return loopback


async def test_a_worker_that_dies_is_started_again_and_each_outcome_has_one_row(place, provider):
    async with place.running() as daemon:
        for victim in range(WORKERS):
            await place.submit_all()
            before = daemon.children()
            os.kill(before[victim], signal.SIGKILL)
            await place.whole()
            assert len(set(daemon.children()) - set(before)) == 1
        await place.submit_all()
        await place.delivered(4 * len(DOMAINS))
    rows = sorted(row["rcpt"] for row in place.rows("d"))
    assert rows == sorted(f"a@{domain}" for domain in DOMAINS for _ in range(4))
    assert len(provider.journal) >= len(rows)


SHORT = """
from mta.daemon import remote_shard

remote_shard.UNANSWERED_S = 3.0
"""


async def test_a_worker_that_is_wedged_is_killed_and_started_again(place, provider, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SHORT)
    async with place.running(PYTHONPATH=str(tmp_path)) as daemon:
        before = daemon.children()
        os.kill(before[1], signal.SIGSTOP)
        await until(lambda: "has answered nothing for 3 s and is killed" in place.told(), 60)
        await until(lambda: len(set(daemon.children()) - set(before)) == 1, 60, place.told)
        await place.whole()
        await place.submit_all()
        await place.delivered(len(DOMAINS))
        assert set(before) - set(daemon.children()) == {before[1]}
    assert len(provider.journal) == len(DOMAINS)


async def test_workers_that_are_busy_or_stood_still_with_their_supervisor_are_left_alone(
    place, tmp_path
):
    (tmp_path / "sitecustomize.py").write_text(SHORT)
    async with place.running(PYTHONPATH=str(tmp_path)) as daemon:
        before = daemon.children()
        os.killpg(daemon.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        await until(lambda: time.monotonic() > stopped + 5, 10)
        os.killpg(daemon.pid, signal.SIGCONT)
        await place.submit_all()
        await place.delivered(len(DOMAINS))
        await place.whole()
        assert daemon.children() == before
    assert "has answered nothing" not in place.told()


async def test_commands_see_one_daemon(place):
    async with place.running() as daemon:
        for domain in DOMAINS[:3]:
            assert (await daemon.command("pause", "queue", f"{domain}/{{default}}")).code == 0
        await place.submit_all()
        await place.delivered(len(DOMAINS) - 3)
        shown = json.loads((await daemon.command("--json", "show", "queues", "*/*")).text)
        assert {
            one["name"] for one in shown["data"]["queues"] if one["paused"] in (True, "yes")
        } == {f"{domain}/{{default}}" for domain in DOMAINS[:3]}
        explained = await daemon.command("explain", f"{DOMAINS[0]}/{{default}}")
        assert "paused" in explained.text
        listed = await daemon.command("list", "--queue=*/*")
        assert all(f"a@{domain}" in listed.text for domain in DOMAINS[:3])
        gone = await daemon.command("delete", f"--queue={DOMAINS[0]}/*")
        assert "1 of 1 matching" in gone.text
        assert (await daemon.command("resume", "queue", "*/*")).code == 0
        await place.delivered(len(DOMAINS) - 1)
        status = (await daemon.command("show", "status")).text
        assert f"Total{len(DOMAINS):>11}{len(DOMAINS):>10}" in status, status
        assert (await daemon.command("rotate", "acct")).code == 0
        place.configure(top=f"workers {WORKERS}\nno-such-directive yes")
        refused = await daemon.command("reload")
        assert refused.code == 1
        assert "no-such-directive" in refused.text
        place.workers(WORKERS, "total-max-smtp-out 7")
        assert (await daemon.command("reload")).code == 0
        assert " 7\n" in (await daemon.command("show", "status")).text
    assert [row["rcpt"] for row in place.rows("b")] == [f"a@{DOMAINS[0]}"]


async def test_a_domain_whose_queues_several_workers_own_counts_once(place):
    place.provider_port = 1
    names = [f"v{number}" for number in range(8)]
    vmtas = "".join(f"<virtual-mta {name}>\n</virtual-mta>\n" for name in names)
    place.workers(WORKERS, vmtas)
    async with place.running() as daemon:
        letters = [Letter(f"a@{DOMAINS[0]}", f"X-Virtual-MTA: {name}\r\n") for name in names]
        await place.submit(*letters)
        shown = json.loads((await daemon.command("--json", "show", "queues", "*/*")).text)
        assert {one["name"] for one in shown["data"]["queues"]} == {
            f"{DOMAINS[0]}/{name}" for name in names
        }
        status = json.loads((await daemon.command("--json", "show", "status")).text)
        queue = status["data"]["status"]["queue"]["smtp"]
        assert (int(queue["rcp"]), int(queue["dom"])) == (len(names), 1)


async def test_a_second_daemon_does_not_share_the_listeners_of_the_first(place, tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    other = Place(second, 1)
    other.address = place.address
    other.workers(WORKERS)
    async with place.running():
        said = await other.daemon.run_to_end()
        assert said.code != 0
        where = ":".join(map(str, place.address))
        assert said.text.count(f"cannot listen on {where}: Address already in use") == 1, said.text


async def test_queued_mail_outlives_a_change_of_the_number_of_workers(place, provider):
    port, place.provider_port = place.provider_port, 1
    for workers in (3, 2, 1):
        place.workers(workers)
        async with place.running():
            await place.submit_all()
    place.provider_port = port
    place.workers(2)
    async with place.running():
        await place.delivered(3 * len(DOMAINS))
    assert sorted(entry.rcpt for entry in provider.journal) == sorted(
        f"a@{domain}" for domain in DOMAINS for _ in range(3)
    )


async def test_a_cold_virtual_mta_takes_its_day_over_changes_of_the_number_of_workers(place):
    warm = "<virtual-mta warm>\ncold-virtual-mta cold\n</virtual-mta>"
    source = "<source 0/0>\nalways-allow-relaying yes\ndefault-virtual-mta warm\n</source>"
    lines = f"{source}\n{warm}\n<virtual-mta cold>\n</virtual-mta>"
    for times, workers in enumerate((3, 1, 3), 1):
        place.configure(
            top=f"workers {workers}\n{lines}", domain="max-cold-virtual-mta-msg 9/day,1/day"
        )
        async with place.running():
            for _ in range(6):  # Each client comes to one of the workers.
                await place.submit(Letter(f"a@{DOMAINS[0]}"), Letter(f"b@{DOMAINS[0]}"))
            await place.delivered(12 * times)
        taken = sum(row["vmta"] == "cold" for row in place.rows("d"))
        assert taken == 9 or (times == 1 and taken < 9)


NEVER_AGAIN = """
import pathlib
from mta.daemon import shard
from mta.errors import PetrelError

killed = pathlib.Path(__file__).with_name("killed")
run = shard.Shard.run

async def refused(self, stack, tasks):
    if self.number == 1 and killed.exists():
        raise PetrelError("it will not start")
    await run(self, stack, tasks)

shard.Shard.run = refused
"""


async def test_what_is_shown_while_a_worker_is_down_is_what_the_others_have(place, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NEVER_AGAIN)
    async with place.running(PYTHONPATH=str(tmp_path)) as daemon:
        for domain in DOMAINS:
            assert (await daemon.command("pause", "queue", domain)).code == 0
        await place.submit_all()
        (tmp_path / "killed").touch()
        os.kill(daemon.children()[1], signal.SIGKILL)
        await until(lambda: "it will not start" in place.told(), 30, place.told)
        for words in (("show", "status"), ("show", "queues", "*/*")):
            shown = await daemon.command(*words)
            assert shown.code == 0
            assert "worker 1 is being started again: what it has is left out here" in shown.text
        some = [domain for domain in DOMAINS if f"{domain}/" in shown.text]
        assert 0 < len(some) < len(DOMAINS)
        assert (await daemon.command("explain", f"{some[0]}/{{default}}")).code == 0
        lost = next(domain for domain in DOMAINS if domain not in some)
        assert "left out here" in (await daemon.command("explain", f"{lost}/{{default}}")).text
        assert (await daemon.command("pause", "queue", f"{lost}/*")).code == 1
        (tmp_path / "killed").unlink()
        await place.whole()
        assert (await daemon.command("resume", "queue", "*/*")).code == 0
        await place.delivered(len(DOMAINS))


class Counting:
    """A provider that takes its time, and counts who is there at once."""

    def __init__(self) -> None:
        self.most = self.taken = 0
        self._inside = []

    def _count(self) -> int:
        """Those whose end the kernel has not told of; a killed peer's may be in mid-transaction."""
        return sum(not one.at_eof() and one.exception() is None for one in self._inside)

    async def serve(self, reader, writer) -> None:
        self._inside.append(reader)
        for _ in range(3):  # What ended before this one began is heard of by then.
            await asyncio.sleep(0)
        self.most = max(self.most, self._count())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(b"220 slow.example\r\n")
            while line := await reader.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    writer.write(b"354 go on\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    await asyncio.sleep(0.05)
                    self.taken += 1
                writer.write(b"250 so be it\r\n" if word != b"QUIT" else b"221 bye\r\n")
                if word == b"QUIT":
                    break
        self._inside.remove(reader)
        writer.close()


async def test_a_ceiling_holds_over_all_workers_while_they_die(tmp_path):
    counting = Counting()
    server = await asyncio.start_server(counting.serve, "127.0.0.1", 0)
    try:
        place = Place(tmp_path, server.sockets[0].getsockname()[1])
        place.workers(WORKERS, "total-max-smtp-out 2")
        async with place.running() as daemon:
            await place.submit_all(times=2)
            await until(lambda: counting.taken >= 4, DELIVERED_S, place.told)
            before = daemon.children()
            os.kill(before[1], signal.SIGKILL)
            await until(lambda: len(set(daemon.children()) - set(before)) == 1, 30)
            await place.submit_all(times=2)
            await place.delivered(4 * len(DOMAINS))
            assert counting.most == 2
    finally:
        server.close()
