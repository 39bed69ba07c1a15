"""While a worker ends or is started again, no mail, no command and no reload is done by halves."""

import asyncio
import contextlib
import json
import os
import re
import signal
from pathlib import Path

import pytest

from mta.daemon import partition
from mta.model.queue_key import QueueKey
from mta.sim.certificate import self_signed
from mta.sim.provider import Provider
from tests.e2e.daemon import PROGRAM, free_port, until
from tests.e2e.submission import Letter, client
from tests.e2e.workers import DELIVERED_S, DOMAINS, WORKERS, Place

pytestmark = [pytest.mark.asyncio(loop_factories=["uvloop"]), pytest.mark.own_workers]
OF_WORKER_1 = [
    domain for domain in DOMAINS if partition.owner(QueueKey(domain, "{default}"), WORKERS) == 1
]

HELD = """
import asyncio
import pathlib

here = pathlib.Path(__file__)
spawn = asyncio.create_subprocess_exec

async def held(*arguments, **named):
    while here.with_name("hold").exists():
        here.with_name("held").touch()
        await asyncio.sleep(0.02)
    return await spawn(*arguments, **named)

asyncio.create_subprocess_exec = held
"""
"""No worker is started while there is a file `hold`."""


@pytest.fixture
async def provider():
    async with Provider() as one:
        yield one


@pytest.fixture
def place(tmp_path, provider):
    loopback = Place(tmp_path, provider.port)
    loopback.workers(WORKERS)
    return loopback


@contextlib.asynccontextmanager
async def without_worker_1(place, tmp_path):
    """The daemon while its worker 1 is about to be started again, until `hold` is gone."""
    (tmp_path / "sitecustomize.py").write_text(HELD)
    async with place.running(PYTHONPATH=str(tmp_path)) as daemon:
        (tmp_path / "hold").touch()
        os.kill(daemon.children()[1], signal.SIGKILL)
        await until((tmp_path / "held").exists, 30, place.told)
        yield daemon


def everybody(times):
    return sorted(f"a@{domain}" for domain in DOMAINS for _ in range(times))


async def test_a_worker_that_is_told_to_end_finishes_and_is_started_again(place, provider):
    async with place.running() as daemon:
        pids = daemon.children()
        for number, pid in enumerate(pids):
            await place.submit_all()
            os.kill(pid, signal.SIGTERM)
            again = f"worker {number} ended with 0; it is started again at once"
            await until(lambda again=again: again in place.told(), 60, place.told)
            await place.whole()
        await place.submit_all()
        await place.delivered((WORKERS + 1) * len(DOMAINS))
        assert not set(pids) & set(daemon.children())
    assert sorted(row["rcpt"] for row in place.rows("d")) == everybody(WORKERS + 1)
    assert sorted(entry.rcpt for entry in provider.journal) == everybody(WORKERS + 1)


async def test_a_stop_while_a_worker_ends_by_itself_is_a_stop(place, provider):
    async with place.running() as daemon:
        await place.submit_all()
        os.kill(daemon.children()[0], signal.SIGTERM)
        assert await daemon.stop() == 0
    async with place.running():
        await place.delivered(len(DOMAINS))
    assert sorted(row["rcpt"] for row in place.rows("d")) == everybody(1)
    assert len(provider.journal) == len(DOMAINS)


async def test_a_change_that_not_all_workers_can_make_none_makes(place, tmp_path):
    port, place.provider_port = place.provider_port, 1
    place.workers(WORKERS)
    async with without_worker_1(place, tmp_path) as daemon:
        await place.submit(*(Letter(f"a@{domain}") for domain in DOMAINS))
        for words in (
            ("delete", "--queue=*/*"),
            ("set", "priority", "90", "--queue=*/*"),
            ("pause", "queue", "*/*"),
            ("set", "queue", "*/*", "--mode=backoff"),
            ("schedule", "*/*"),
            ("reset", "counters"),
        ):
            refused = await daemon.command(*words)
            assert refused.code == 1
            assert "worker 1 is being started again, so nothing was done" in refused.text
        shown = (await daemon.command("--json", "show", "queues", "*/*")).text
        rows = json.loads(shown.partition("\nworker 1 ")[0])["data"]["queues"]
        assert rows
        assert not [row for row in rows if row["paused"] in (True, "yes")]
        assert (await daemon.command("rotate", "acct")).code == 0
        assert (await daemon.command("rotate", "log")).code == 0
        place.provider_port = port
        place.workers(WORKERS)
        assert (await daemon.command("reload")).code == 0
        (tmp_path / "hold").unlink()
        await place.delivered(len(DOMAINS))
    assert sorted(row["rcpt"] for row in place.rows("d")) == everybody(1)
    assert place.rows("b") == []


async def test_a_worker_that_is_only_being_started_has_the_configuration_of_a_reload(
    place, tmp_path
):
    port, place.provider_port = place.provider_port, 1
    place.workers(WORKERS)
    async with without_worker_1(place, tmp_path) as daemon:
        place.provider_port = port
        place.workers(WORKERS)
        assert (await daemon.command("reload")).code == 0
        (tmp_path / "hold").unlink()
        await place.whole()
        assert len(daemon.children()) == WORKERS
        await place.submit_all()
        await place.delivered(len(DOMAINS))


async def test_a_daemon_stops_while_a_worker_is_only_being_started(place, tmp_path):
    async with without_worker_1(place, tmp_path) as daemon:
        daemon.signal(signal.SIGTERM)
        await until(lambda: "stopping" in place.told(), 30, place.told)
        (tmp_path / "hold").unlink()
        assert await daemon.ended() == 0


async def test_a_worker_is_started_again_where_the_others_are(place, tmp_path):
    """Address, port and spool are those of the start, whatever a reload has said since."""
    there, elsewhere = place.address, (place.address[0], free_port())
    spool, pair = place.spool, tmp_path / "pair.pem"
    pair.write_bytes(Path(self_signed("mta.sender.example").tls_certificate).read_bytes())
    place.configure(top=f"workers {WORKERS}", listener=f"tls-certificate {pair}")
    async with place.running() as daemon:
        before = daemon.children()
        place.address, place.spool = elsewhere, tmp_path / "another"
        place.workers(WORKERS, "total-max-smtp-out 7")
        daemon.signal(signal.SIGHUP)
        await until(lambda: "smtp-listener: takes effect at the next" in place.told(), 30)
        # It is named no more, and so nobody misses it.
        pair.unlink()
        place.address, place.spool = there, spool
        place.workers(WORKERS, "total-max-smtp-out 7")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not set(before) & set(daemon.children()), 30, place.told)
        await place.whole()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*elsewhere)
        assert not (tmp_path / "another").exists()
        await place.submit_all()
        await place.delivered(len(DOMAINS))


SERVED = """<address-list them>
address-file {0}/list
</address-list>
include-headers-from {0}/fields
<source 127/8>
always-allow-relaying yes
allow-starttls yes
suppression-lists them
</source>"""


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_worker_is_started_again_though_the_files_are_gone_or_others(
    place, provider, tmp_path, is_replaced
):
    names = ["list", "fields", "pair.pem", "authorities.pem"]
    files = [tmp_path / name for name in names]
    pair = Path(self_signed("mta.sender.example").tls_certificate).read_bytes()
    for file, octets in zip(files, [b"kim@d0.example\n", b"X-Seen: a\n", pair, pair], strict=True):
        file.write_bytes(octets)
        file.chmod(0o600)
    tls = f"tls-certificate {files[2]}\ntls-ca-file {files[3]}"
    place.configure(top=f"workers {WORKERS}\n" + SERVED.format(tmp_path), listener=tls)

    async def answers(recipient):
        """What clients are told, of whom each worker has some."""
        codes = set()
        for _ in range(8 * WORKERS):
            async with client(place.address) as smtp:
                assert smtp.supports_extension("starttls")
                await smtp.execute_command(b"MAIL FROM:<a@sender.example>")
                codes.add((await smtp.execute_command(f"RCPT TO:<{recipient}>".encode())).code)
        return codes

    async with place.running() as daemon:
        before = daemon.children()
        for file in files:
            file.unlink()
            if is_replaced:
                file.write_text("lee@d0.example\n" if file.name == "list" else "nonsense")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not set(before) & set(daemon.children()), 30, place.told)
        await place.whole()
        assert "could not be started" not in place.told()
        assert await answers("kim@d0.example") == {550}
        assert await answers("lee@d0.example") == {250}
        await place.submit_all()
        await place.delivered(len(DOMAINS))
        assert all(b"X-Seen: a" in entry.headers for entry in provider.journal)
        files[0].write_text("lee@d0.example\n")
        files[1].write_text("X-Seen: b\n")
        (tmp_path / "broken").write_text("nonsense")
        tls = tls.replace("pair.pem", "broken")
        place.configure(top=f"workers {WORKERS}\n" + SERVED.format(tmp_path), listener=tls)
        assert (await daemon.command("reload")).code == 0
        os.kill(daemon.children()[0], signal.SIGKILL)
        await place.whole()
        assert await answers("kim@d0.example") == {250}
        assert await answers("lee@d0.example") == {550}


VANISHING = """
import pathlib
from mta.daemon import reload

read_again = reload.read_again

async def vanishing(path):
    found = await read_again(path)
    pathlib.Path(__file__).with_name("list").unlink(missing_ok=True)
    return found

reload.read_again = vanishing
"""
"""Whoever renews the file of a list has removed it by the time that the workers read it."""


async def test_a_file_that_vanishes_during_a_reload_refuses_it_in_all(place, provider, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(VANISHING)
    gone = f"<address-list gone>\naddress-file {tmp_path}/list\n</address-list>"
    source = "<source 127/8>\nalways-allow-relaying yes\nsuppression-lists gone\n</source>"
    async with place.running(PYTHONPATH=str(tmp_path)) as daemon:
        before = daemon.children()
        place.workers(WORKERS, gone, source, "total-max-smtp-out 7")
        (tmp_path / "list").write_text(f"a@{DOMAINS[0]}\n")
        refused = await daemon.command("reload")
        assert refused.code == 1
        assert "configuration not reloaded; the old one stays in force\n" in refused.text
        assert refused.text.count(f"{tmp_path}/list: No such file") == 1
        assert " 7\n" not in (await daemon.command("show", "status")).text
        await place.submit_all()
        await place.delivered(len(DOMAINS))
        place.workers(WORKERS, "total-max-smtp-out 7")
        assert (await daemon.command("reload")).code == 0
        assert " 7\n" in (await daemon.command("show", "status")).text
        assert daemon.children() == before
    assert len(provider.journal) == len(DOMAINS)


FAILING = """
from mta.daemon import shard

reload = shard.Shard.reload

def failing(self, *arguments):
    if self.number == 1:
        raise ZeroDivisionError
    reload(self, *arguments)

shard.Shard.reload = failing
"""


async def test_a_worker_that_cannot_follow_a_reload_is_started_with_it(place, provider, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(FAILING)
    port, place.provider_port = place.provider_port, 1
    place.workers(WORKERS)
    async with place.running(PYTHONPATH=str(tmp_path)) as daemon:
        before = daemon.children()
        await place.submit_all()
        place.provider_port = port
        place.workers(WORKERS)
        reloaded = await daemon.command("reload")
        assert reloaded.code == 0
        assert "worker 1 is started again with the configuration: internal err" in reloaded.text
        await until(lambda: "worker 1 ended with 0" in place.told(), 60, place.told)
        await place.delivered(len(DOMAINS))
        assert set(before) - set(daemon.children()) == {before[1]}
    assert sorted(row["rcpt"] for row in place.rows("d")) == everybody(1)
    assert len(provider.journal) == len(DOMAINS)


async def test_a_trace_says_which_worker_is_away_and_goes_on_when_it_is_back(place):
    async with place.running() as daemon:
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, "trace", "*/*", "--config", str(daemon.config),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        seen = []

        async def until_said(text):
            async with asyncio.timeout(DELIVERED_S):
                while text not in "".join(seen):
                    line = (await process.stdout.readline()).decode()
                    assert line, seen
                    seen.append(line)

        try:
            for _ in range(WORKERS):
                await until_said("watching */*")
                seen.clear()
            os.kill(daemon.children()[1], signal.SIGKILL)
            await until_said(
                "worker 1 is being started again: its queues are left out until then\n"
            )
            await until_said("worker 1 serves again\n")
            await until_said("watching */*")
            await place.submit_all()
            await until_said(f"{OF_WORKER_1[0]}/{{default}} ")
        finally:
            process.send_signal(signal.SIGINT)
            await process.communicate()


async def test_connections_of_all_workers_have_numbers_of_their_own_in_the_log(place):
    source = "<source 127/8>\nalways-allow-relaying yes\nlog-connections yes\n</source>"
    place.configure(top=f"workers {WORKERS}\n{source}", domain="log-connections yes")
    async with place.running():
        for domain in DOMAINS * 3:
            await place.submit(Letter(f"a@{domain}"))
        await place.delivered(3 * len(DOMAINS))
    log = place.log.read_text()
    clients = re.findall(r"\( *(\d+)\)connected from \S+ to ", log)
    peers = re.findall(r"\( *(\d+)\)connecting from ", log)
    assert len(clients) >= 3 * len(DOMAINS)
    for numbers in (clients, peers):
        assert len({int(number) % WORKERS for number in numbers}) == WORKERS
        assert len(numbers) == len(set(numbers))
