"""Signatures of messages made to take long cost their own verification, and nobody else's."""

import asyncio
import os
import signal
from types import SimpleNamespace

import dkim
import pytest

from mta.daemon import verifying
from mta.daemon.intake import Intake
from mta.daemon.sender_checks import SenderChecks
from mta.daemon.verifying import LATE, Verifier
from mta.model.message import FileContent
from mta.signing import keys, verify_process
from mta.signing.verification import KEY_TEXT_MAX, Key, key_names
from mta.smtp.auth_results import Finding

KEY = keys.new_key("rsa-1024")
MESSAGE = b"From: a@good.example\r\nSubject: signed\r\n\r\nhello\r\n"
NAME = "s1._domainkey.good.example"
KNOWN = {NAME: Key(KEY.record, "", 1)}
WITHIN_S = 30


def signed(content=MESSAGE):
    forms = (b"relaxed", b"relaxed")
    return dkim.sign(content, b"s1", b"good.example", KEY.pem(), canonicalize=forms) + content


BLANKS = signed() + b" " * 300_000 + b"x\r\n"
"""dkimpy takes minutes for that: for twice the blanks four times as long."""


@pytest.fixture
async def verifier():
    made = Verifier(1)
    yield made
    made.close()
    await asyncio.sleep(0)


def running(verifier):
    return [one._running.pid for one in verifier._all]


async def results(verifier, content, known=KNOWN):
    async with asyncio.timeout(WITHIN_S):
        found = await verifier.findings(content, known, wants_trace=True)
    return [one.result for one in found]


async def test_signatures_are_verified_one_message_after_the_other(verifier, tmp_path):
    path = tmp_path / "content"
    path.write_bytes(signed())
    other = signed().replace(b"hello", b"hullo")
    assert await results(verifier, signed()) == ["pass"]
    assert await results(verifier, other) == ["fail"]
    assert await results(verifier, FileContent(path, len(signed()))) == ["pass"]
    assert await results(verifier, FileContent(tmp_path / "gone", 10)) == ["temperror"]
    assert await results(verifier, signed(), {}) == ["permerror"]
    assert await results(verifier, signed(), {NAME: Key("", "temperror")}) == ["temperror"]
    assert len(running(verifier)) == 1


async def test_what_takes_too_long_is_ended_and_the_next_is_verified(verifier, monkeypatch):
    monkeypatch.setattr(verifying, "WAITS_S", 3.0)
    turns = 0
    asked = asyncio.create_task(results(verifier, BLANKS))
    while not asked.done():
        turns += 1
        await asyncio.sleep(0.001)
    assert asked.result() == [LATE[0].result]
    assert turns > 100  # the loop went on meanwhile
    monkeypatch.undo()
    assert await results(verifier, signed()) == ["pass"]


async def test_the_kernel_ends_what_takes_too_long(verifier):
    """So also where nobody is there any more to end it."""
    assert await results(verifier, signed()) == ["pass"]
    (before,) = running(verifier)
    asked = asyncio.create_task(results(verifier, BLANKS))
    await asyncio.sleep(0)
    os.kill(before, signal.SIGALRM)
    assert await asked == [LATE[0].result]
    assert running(verifier) == []
    assert verify_process.WITHIN_S < verifying.WAITS_S


async def test_where_no_process_can_be_started_a_thread_verifies(monkeypatch):
    monkeypatch.setattr(verifying.sys, "executable", "/nonexistent")
    verifier = Verifier(2)
    assert await results(verifier, signed()) == ["pass"]
    verifier.close()


@pytest.mark.parametrize(
    ("field", "known", "comment"),
    [
        (b"DKIM-Signature: v=1; b=a" + b" " * 30_000 + b"!;\r\n", KNOWN, "the field is too long"),
        (b"", {NAME: Key(f"v=DKIM1; p={'A' * KEY_TEXT_MAX}")}, "the key is too large"),
    ],
)
async def test_what_no_signer_sends_is_not_worked_on(verifier, field, known, comment):
    (finding, *_) = await verifier.findings(field + signed(), known, wants_trace=False)
    assert (finding.result, finding.comment) == ("policy", comment)


def test_keys_are_where_the_first_signatures_say():
    fields = [b"DKIM-Signature: v=1; d=D%d.Example;\r\n\ts = s ; b=;\r\n" % n for n in range(7)]
    head = b"".join([b"Subject: x\r\n", *fields])
    assert key_names(head) == [f"s._domainkey.d{n}.example" for n in range(5)]
    assert key_names(b"DKIM-Signature: v=1; s=s\r\n" * 2) == []


class Silent:
    """A resolver whose servers do not answer."""

    def __init__(self):
        self.asked = []

    async def records(self, name, kind):
        self.asked.append((name, kind))
        await asyncio.Event().wait()


async def test_keys_are_asked_for_together_and_not_for_long(monkeypatch):
    monkeypatch.setattr("mta.daemon.sender_checks.CHECK_S", 0.05)
    dns = Silent()
    checks = SenderChecks(dns, 0)
    fields = [b"DKIM-Signature: v=1; d=d%d.example; s=s; b=\r\n" % n for n in range(5)]
    head = b"".join([*fields, b"From: a@b.example\r\n\r\n"])
    async with asyncio.timeout(WITHIN_S):
        found = await checks._signatures(head + b"x\r\n", head, wants_trace=False)
    checks.close()
    assert len(dns.asked) == 5
    assert all(isinstance(one, Finding) for one in found)


async def test_nobody_is_asked_about_a_message_without_signatures():
    checks = SenderChecks(None, 1)
    head = b"From: a@b.example\r\n\r\n"
    (found,) = await checks._signatures(head, head, wants_trace=False)
    checks.close()
    assert found == Finding("dkim", "none")
    assert not checks._verifier._all


def test_what_was_found_is_of_one_transaction():
    """Another may be of another source, which wants other checks."""
    source = SimpleNamespace(require_auth=False, smtp_service=True)
    session = SimpleNamespace(findings=(Finding("spf", "pass"),), source=source, user="")
    intake = SimpleNamespace(is_stopping=False, followed=lambda session: session.source)
    assert Intake.mail(intake, session, None) is None
    assert session.findings == ()
