"""One mailbox, however it is spelled: one alias, one place in a list, one queue."""

import contextlib
import sqlite3

import aiosmtplib
import pytest

from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.scripted_peer import ScriptedPeer
from tests.e2e.submission import SENDER, client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DELIVERY_S = 30
CONTENT = b"From: <news@sender.example>\r\nSubject: plain\r\n\r\nHello.\r\n"
SPELLINGS = ["a@bücher.example", "b@BÜCHER.example", "c@xn--bcher-kva.example", "d@bücher.example."]
QUEUE = "bücher.example/{default}"


async def send(loopback, *rcpts):
    async with client(loopback.address) as smtp:
        await smtp.mail(SENDER, options=("SMTPUTF8",), encoding="utf-8")
        for rcpt in rcpts:
            await smtp.rcpt(rcpt, encoding="utf-8")
        await smtp.data(CONTENT)


async def rows(loopback, kinds, count):
    await until(lambda: len(loopback.rows(kinds)) >= count, DELIVERY_S, loopback.told)
    return loopback.rows(kinds)


async def test_a_domain_with_u_labels_is_one_queue_with_one_set_of_rules(tmp_path):
    async with ScriptedPeer(offers=("PIPELINING", "8BITMIME", "SMTPUTF8")) as peer:
        loopback = Loopback(tmp_path, 1)
        loopback.configure(
            top=f"<domain Bücher.example>\nsmtp-hosts [127.0.0.1]:{peer.port}\n</domain>\n"
        )
        async with loopback.running():
            await send(loopback, *SPELLINGS)
            for spelling in SPELLINGS:
                await send(loopback, spelling.replace("@", ".again@"))
            found = await rows(loopback, "d,b", 8)
            explained = await loopback.daemon.command("explain", "Bücher.example")
    assert {row["queue"] for row in found} == {QUEUE}
    assert {row["type"] for row in found} == {"d"}
    assert "xn--bcher-kva.example/{default}" in explained.text
    heard = {line.partition("<")[2].partition(">")[0] for line in peer.heard if "RCPT" in line}
    assert heard >= set(SPELLINGS), "what is sent is what was given"


async def test_mail_that_an_older_version_queued_with_u_labels_is_delivered(tmp_path):
    loopback = Loopback(tmp_path, 1)
    async with loopback.running():
        await send(loopback, *SPELLINGS)
        await until(lambda: "ECONNREFUSED" in loopback.told(), DELIVERY_S, loopback.told)
    renamed = 0
    for directory in loopback.spools:
        with contextlib.closing(sqlite3.connect(directory / "spool.db")) as database:
            renamed += database.execute(
                "UPDATE queue SET domain = 'bücher.example' WHERE domain = 'xn--bcher-kva.example'"
            ).rowcount
            database.commit()
    assert renamed, "each worker that met the queue knows its name"
    async with ScriptedPeer(offers=("PIPELINING", "8BITMIME", "SMTPUTF8")) as peer:
        loopback.configure(
            top=f"<domain xn--bcher-kva.example>\nsmtp-hosts [127.0.0.1]:{peer.port}\n</domain>\n"
        )
        async with loopback.running():
            found = await rows(loopback, "d,b", len(SPELLINGS))
            shown = await loopback.daemon.command("show", "queues")
    assert {(row["type"], row["queue"]) for row in found} == {("d", QUEUE)}
    assert "bücher" not in shown.text


async def test_no_spelling_goes_past_a_list_an_alias_or_the_relay_rules(tmp_path):
    listed = tmp_path / "listed.txt"
    listed.write_bytes('\ufeffgone@bücher.example\r\n"left"@one.example.\r\n'.encode())
    async with ScriptedPeer(offers=("PIPELINING", "8BITMIME", "SMTPUTF8")) as peer:
        loopback = Loopback(tmp_path, peer.port)
        loopback.configure(
            top=f"<address-list gone>\naddress-file {listed}\n</address-list>\n"
            "alias info joe@one.example\nrelay-domain bücher.example\nrelay-domain one.example\n"
            "<source 0/0>\nsuppression-lists gone\n</source>\n"
        )
        async with loopback.running():
            for rcpt in (
                "gone@XN--bcher-kva.example",
                "left@One.example",
                '"gone"@bücher.example.',
            ):
                with pytest.raises(aiosmtplib.SMTPRecipientRefused, match="suppression list"):
                    await send(loopback, rcpt)
            with pytest.raises(aiosmtplib.SMTPRecipientRefused, match="relaying denied"):
                await send(loopback, "x@two.example.")
            await send(loopback, '"info"@MTA.sender.example.')
            await send(loopback, "x@xn--bcher-kva.example.")
            found = await rows(loopback, "d,b", 2)
    assert {row["rcpt"] for row in found} == {"joe@one.example", "x@xn--bcher-kva.example."}
