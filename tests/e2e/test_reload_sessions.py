"""A reload while clients are connected: what they say next is under the new configuration."""

import asyncio
import signal

import pytest

from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])
SOURCE = "<source 127.0.0.1>\nalways-allow-relaying yes\n{}\n</source>\n"
VMTA = "<virtual-mta {0}>\nhost-name {0}.sender.example\n</virtual-mta>\n"
MAIL = "MAIL FROM:<a@sender.example>"
KIM, LEE = "RCPT TO:<kim@example.com>", "RCPT TO:<lee@example.com>"
BODY = "Subject: x\r\n\r\nx\r\n"


@pytest.fixture
async def loopback(tmp_path):
    async with Provider() as provider:
        yield Loopback(tmp_path, provider.port)


async def codes(smtp, *lines):
    return [(await smtp.execute_command(line.encode()))[0] for line in lines]


def lists(name):
    return (
        SOURCE.format(f"suppression-lists {name}")
        + f"<address-list {name}>\naddress kim@example.com\n</address-list>"
    )


async def reloaded(daemon):
    said = await daemon.command("reload")
    assert said.code == 0, said.text


async def test_a_list_that_is_renamed_holds_within_a_transaction_and_after(loopback):
    loopback.configure(top=lists("old"))
    async with loopback.running() as daemon, client(loopback.address) as smtp:
        assert await codes(smtp, MAIL, KIM) == [250, 550]
        loopback.configure(top=lists("new"))
        await reloaded(daemon)
        assert await codes(smtp, KIM, LEE, "RSET", MAIL, KIM, LEE) == [550, 250, 250, 250, 550, 250]
        loopback.configure(top=SOURCE.format(""))
        await reloaded(daemon)
        assert await codes(smtp, KIM, "RSET", MAIL, KIM) == [250, 250, 250, 250]


SLOW = """
import asyncio
import pathlib
from mta.daemon import reload

here = pathlib.Path(__file__)
read_again = reload.read_again

async def slow(path):
    found = await read_again(path)
    is_first = not here.with_name("read").exists()
    here.with_name("read").touch()
    while is_first and not here.with_name("go").exists():
        await asyncio.sleep(0.02)
    return found

reload.read_again = slow
"""
"""The first reload has read the file and takes its time with it, until there is a file `go`."""


async def test_of_two_reloads_at_once_the_later_one_is_in_force_in_the_end(loopback, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    async with loopback.running(PYTHONPATH=str(tmp_path)) as daemon:
        loopback.configure(top="total-max-smtp-out 5")
        daemon.signal(signal.SIGHUP)
        await until((tmp_path / "read").exists, 30, loopback.told)
        loopback.configure(top="total-max-smtp-out 7")
        later = asyncio.create_task(reloaded(daemon))
        await asyncio.wait([later], timeout=2)
        (tmp_path / "go").touch()
        await later
        await until(lambda: loopback.told().count("configuration reloaded") == 2, 30, loopback.told)
        assert " 7\n" in (await daemon.command("show", "status")).text


async def test_mail_of_a_connection_goes_through_the_virtual_mta_there_is(loopback):
    def virtual_mta(name):
        return VMTA.format(name) + SOURCE.format(f"default-virtual-mta {name}")

    loopback.configure(top=virtual_mta("old"), acct="records d,b")
    async with loopback.running() as daemon, client(loopback.address) as smtp:
        assert await codes(smtp, MAIL, LEE) == [250, 250]
        await smtp.data(BODY)
        await until(lambda: len(loopback.rows()) == 1, 20)
        assert await codes(smtp, MAIL, LEE) == [250, 250]
        loopback.configure(top=virtual_mta("new"), acct="records d,b")
        await reloaded(daemon)
        await smtp.data(BODY)
        assert await codes(smtp, MAIL, LEE) == [250, 250]
        await smtp.data(BODY)
        await until(lambda: len(loopback.rows()) == 3, 20)
    rows = loopback.rows()
    assert sorted((row["type"], row["vmta"]) for row in rows) == [
        ("d", "new"), ("d", "new"), ("d", "old"),
    ]  # fmt: skip


async def test_limits_services_and_checks_of_a_source_hold_from_the_next_message_on(loopback):
    loopback.configure(top=SOURCE.format("max-message-size 1000"))
    async with loopback.running() as daemon, client(loopback.address) as smtp:
        assert await codes(smtp, f"{MAIL} SIZE=2000") == [552]
        loopback.configure(top=SOURCE.format("max-message-size 3000\nlog-commands yes"))
        await reloaded(daemon)
        assert await codes(smtp, f"{MAIL} SIZE=2000", "RSET") == [250, 250]
        await until(lambda: "<<< 250 2.1.0 sender ok" in loopback.told(), 10, loopback.told)
        loopback.configure(top=SOURCE.format("check-iprev-inbound yes"))
        await reloaded(daemon)
        assert await codes(smtp, MAIL, LEE) == [250, 250]
        await smtp.data(BODY)
        assert await codes(smtp, MAIL, "RSET") == [250, 250]
        loopback.configure(top=SOURCE.format("smtp-service no"))
        await reloaded(daemon)
        assert await codes(smtp, MAIL) == [521]


async def test_a_mail_whose_check_a_reload_turned_on_is_one_command(loopback):
    loopback.configure(top=SOURCE.format("log-commands yes"))
    async with loopback.running() as daemon, client(loopback.address) as smtp:
        assert await codes(smtp, MAIL, "RSET") == [250, 250]
        loopback.configure(top=SOURCE.format("log-commands yes\ncheck-iprev-inbound yes"))
        await reloaded(daemon)
        assert await codes(smtp, MAIL, LEE, "RSET", MAIL, "NOOP") == [250] * 5
        await until(lambda: "<<< 250 2.0.0 ok" in loopback.told(), 10, loopback.told)
    assert loopback.told().count(">>> MAIL FROM") == 3


async def test_a_user_that_is_gone_may_send_no_more(loopback):
    auth = SOURCE.format("allow-auth yes\nallow-unencrypted-plain-auth yes")
    user = "<smtp-user u>\npassword p\n</smtp-user>\n<smtp-user v>\npassword p\n</smtp-user>\n"
    loopback.configure(top=auth + user)
    async with loopback.running() as daemon, client(loopback.address) as smtp:
        await smtp.login("u", "p")
        assert await codes(smtp, MAIL, "RSET") == [250, 250]
        loopback.configure(top=auth + user.replace("smtp-user u", "smtp-user w", 1))
        await reloaded(daemon)
        assert await codes(smtp, MAIL) == [421]
