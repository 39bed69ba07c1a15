from dataclasses import replace

import pytest

from mta.errors import LocalProtocolError, RemoteProtocolError
from mta.model.message import Envelope, Recipient
from mta.model.outcome import Stage
from mta.model.queue_key import QueueKey
from mta.model.reply import Reply
from mta.smtp.client import Client, Next, Transaction, stuffed
from mta.smtp.extensions import Extensions

PIPELINING = Extensions(pipelining=True)
ONE_BY_ONE = Extensions()
OK = Reply(250, ("2.0.0 ok",))
GO_AHEAD = Reply(354, ("go ahead",))
NO = Reply(550, ("5.1.1 no such user",))
LATER = Reply(450, ("4.2.0 later",))
CONTENT = b"Subject: x\r\n\r\nBody\r\n"


def envelope(content=CONTENT, **changes):
    return Envelope(
        **{
            "message_id": 1,
            "mail_from": "a@b.example",
            "time_queued": 0.0,
            "size": len(content),
            "head_size": 14,
            **changes,
        }
    )


def recipient(address="c@d.example", **changes):
    made = Recipient(1, envelope(), address, QueueKey("d.example", "v"), 0.0)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def transaction(*addresses, recipients=(), head=b"", content=CONTENT, **changes):
    chosen = recipients or tuple(map(recipient, addresses or ["c@d.example"]))
    return Transaction(envelope(content, **changes), chosen, head, content)


def begun(extensions, **changes):
    return Client(extensions).begin(transaction(**changes))


def answered(client, *replies):
    """The steps and everything written."""
    steps, written = [], []
    for reply in replies:
        steps.append(client.receive(reply))
        if steps[-1] is Next.WRITE:
            written.append(client.take_output())
        elif steps[-1] is Next.CONTENT:
            client.content_sent()
    return steps, written


def test_without_pipelining_each_command_waits_for_its_reply():
    client = Client(ONE_BY_ONE)
    assert client.begin(transaction("one@d.example", "two@d.example")) == (
        b"MAIL FROM:<a@b.example>\r\n"
    )
    steps, written = answered(client, OK, OK, OK, GO_AHEAD, OK)
    assert written == [b"RCPT TO:<one@d.example>\r\n", b"RCPT TO:<two@d.example>\r\n", b"DATA\r\n"]
    assert steps[-2:] == [Next.CONTENT, Next.DONE]
    assert client.result.final == OK


def test_one_recipient_refused_of_two():
    client = Client(PIPELINING)
    client.begin(transaction("one@d.example", "two@d.example"))
    steps, _ = answered(client, OK, NO, OK, GO_AHEAD, OK)
    assert steps == [Next.WAIT, Next.WAIT, Next.WAIT, Next.CONTENT, Next.DONE]
    assert client.result.rcpts == [NO, OK]
    assert client.result.final == OK


def test_without_pipelining_data_is_not_said_when_all_are_refused():
    client = Client(ONE_BY_ONE)
    client.begin(transaction())
    steps, written = answered(client, OK, NO)
    assert (steps[-1], written[-1]) == (Next.DONE, b"RCPT TO:<c@d.example>\r\n")


def test_without_pipelining_a_refused_sender_ends_it():
    client = Client(ONE_BY_ONE)
    client.begin(transaction())
    assert answered(client, LATER) == ([Next.DONE], [])
    assert client.result.mail == LATER


def test_what_was_left_behind_is_reset_before_the_next():
    client = Client(ONE_BY_ONE)
    client.begin(transaction())
    answered(client, OK, NO)
    assert client.begin(transaction()) == b"RSET\r\n"
    assert client.receive(OK) is Next.WRITE
    assert client.take_output() == b"MAIL FROM:<a@b.example>\r\n"


def test_a_completed_transaction_needs_no_reset():
    client = Client(PIPELINING)
    client.begin(transaction())
    answered(client, OK, OK, GO_AHEAD, OK)
    assert client.begin(transaction()).startswith(b"MAIL")


def test_a_refused_content_needs_no_reset():
    client = Client(PIPELINING)
    client.begin(transaction())
    answered(client, OK, OK, GO_AHEAD, LATER)
    assert client.result.final == LATER
    assert client.begin(transaction()).startswith(b"MAIL")


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_the_stage_is_that_of_the_first_missing_reply(count):
    client = Client(PIPELINING)
    client.begin(transaction())
    answered(client, *[OK, OK, GO_AHEAD][:count])
    assert client.stage is [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.CONTENT][count]


@pytest.mark.parametrize(
    "address", ["c@d.example\r\nRCPT TO:<x@y.example", "a>b@c.example", "a\0@b.example"]
)
def test_nothing_is_smuggled_into_a_command(address):
    with pytest.raises(LocalProtocolError):
        Client(PIPELINING).begin(transaction(address))
    with pytest.raises(LocalProtocolError):
        Client(PIPELINING).begin(transaction(mail_from=address))


@pytest.mark.parametrize(
    ("offers", "changes", "expected"),
    [
        (Extensions(eightbit=True), {"is_8bit": True}, b" BODY=8BITMIME"),
        (Extensions(eightbit=True), {"is_8bit": False}, b""),
        (Extensions(), {"is_8bit": True}, b""),
        (Extensions(smtputf8=True), {"is_smtputf8": True}, b" SMTPUTF8"),
        (Extensions(smtputf8=True), {"is_smtputf8": False}, b""),
        (Extensions(), {"is_smtputf8": True}, b""),
    ],
)
def test_parameters_are_given_where_offered_and_needed(offers, changes, expected):
    assert begun(offers, **changes) == b"MAIL FROM:<a@b.example>" + expected + b"\r\n"


@pytest.mark.parametrize("extensions", [ONE_BY_ONE, PIPELINING])
def test_an_address_beyond_ascii_goes_with_smtputf8_though_nobody_asked_for_it(extensions):
    """An alias or a rewrite-list may have put it there. RFC 6531 §3.4."""
    offers = replace(extensions, smtputf8=True)
    for one in (transaction("plain@d.example", "jörg@d.example"), transaction(mail_from="ö@b.c")):
        assert Client(offers).begin(one).split(b"\r\n")[0].endswith(b"> SMTPUTF8")
        with pytest.raises(LocalProtocolError):
            Client(extensions).begin(one)


@pytest.mark.parametrize("code", [452, 552])
def test_a_refusal_before_the_end_of_the_content_counts_and_ends_the_connection(code):
    client = Client(PIPELINING)
    client.begin(transaction())
    assert [client.receive(reply) for reply in (OK, OK, GO_AHEAD)][-1] is Next.CONTENT
    refusal = Reply(code, ("5.3.4 too large",))
    assert client.receive(refusal) is Next.CLOSE
    assert client.result.final == refusal


@pytest.mark.parametrize("reply", [OK, GO_AHEAD])
def test_no_message_is_accepted_before_its_end(reply):
    client = Client(PIPELINING)
    client.begin(transaction())
    assert [client.receive(one) for one in (OK, OK, GO_AHEAD)][-1] is Next.CONTENT
    with pytest.raises(RemoteProtocolError):
        client.receive(reply)
    assert client.result.final is None
    assert client.stage is Stage.CONTENT


@pytest.mark.parametrize(
    ("plain", "sent"),
    [
        (b".\r\n", b"..\r\n"),
        (b"a\r\n.b\r\n", b"a\r\n..b\r\n"),
        (b"a\r\n..\r\n.\r\n", b"a\r\n...\r\n..\r\n"),
        (b"a.b\r\n", b"a.b\r\n"),
    ],
)
def test_dots_are_stuffed(plain, sent):
    assert stuffed(plain) == sent


def test_any_reply_of_the_third_class_lets_the_content_go():
    """RFC 5321 §4.3.2: a code nobody knows is taken by its first digit."""
    client = Client(PIPELINING)
    client.begin(transaction())
    steps, _ = answered(client, OK, OK, Reply(355, ("go ahead",)), OK)
    assert steps[-2:] == [Next.CONTENT, Next.DONE]
    assert client.result.final == OK


@pytest.mark.parametrize("extensions", [PIPELINING, ONE_BY_ONE])
def test_nobody_gets_content_who_was_answered_out_of_step(extensions):
    client = Client(extensions)
    client.begin(transaction())
    replies = [OK, GO_AHEAD, GO_AHEAD] if extensions.pipelining else [OK, GO_AHEAD]
    steps, written = answered(client, *replies)
    assert Next.CONTENT not in steps
    assert written[-1:] == ([b".\r\n"] if extensions.pipelining else [b"RCPT TO:<c@d.example>\r\n"])
