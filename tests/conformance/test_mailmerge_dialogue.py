"""The mail-merge extension on the wire: XACK, XMRG, XDFN, XPRT."""

from pathlib import Path

import pytest

from mta.model.reply import Reply
from mta.smtp import mailmerge
from mta.smtp.server import ERRORS_MAX, Server, Step
from tests.conformance.test_rfc4954_auth import Known
from tests.conformance.test_rfc5321_server import Policy, Settings
from tests.conformance.wire import GREETING, RECEIVED, Wire, dialogue
from tests.smuggling import FALSE_ENDS, probe

SAMPLES = Path(__file__).parents[1] / "data" / "mailmerge"
XMRG = b"XMRG FROM:<bounce@b.example>\r\n"
JIM = b'XDFN FName="Jim"\r\nRCPT TO:<jim@d.example>\r\n'
TIM = b'XDFN FName="Tim"\r\nRCPT TO:<tim@d.example>\r\n'
PART = b"XPRT 1 LAST\r\nTo: [*to]\r\n\r\nHey [FName].\r\n.\r\n"


def merging(directory, **source):
    return Wire(directory, allow_mailmerge=True, **source)


async def merged(directory, *pieces, **source):
    """The codes after EHLO, and the contents by recipient."""
    codes, taken = await dialogue(directory, GREETING, *pieces, allow_mailmerge=True, **source)
    return codes[1:], {one.rcpts[0]: one.content for one in taken}


# Who is offered it


@pytest.mark.parametrize("directive", ["allow_mailmerge", "always_allow_api_submission"])
async def test_it_is_offered_where_the_source_allows_it(tmp_path, directive):
    wire = Wire(tmp_path, **{directive: True})
    await wire.say(GREETING)
    said = wire.transport.written.decode()
    assert "XACK\r\n" in said
    assert "XMRG\r\n" in said
    assert await wire.say(XMRG) == [250]


@pytest.mark.parametrize("command", ["XACK OFF", "XMRG FROM:<>", "XDFN a=b", "XPRT 1 LAST"])
async def test_elsewhere_it_is_not_known(tmp_path, command):
    wire = Wire(tmp_path)
    await wire.say(GREETING)
    assert b"XMRG" not in wire.transport.written
    assert b"XACK" not in wire.transport.written
    assert await wire.say(f"{command}\r\n".encode()) == [502]


# Dialogues of PowerMTA


async def test_the_recorded_dialogue(tmp_path):
    wire = merging(tmp_path)
    expected, sent, said = b"", "", []
    for line in (SAMPLES / "xmrg-xack.txt").read_text().splitlines():
        who, text = line[:2], line[3:]
        if who == "C:":
            sent = "Subject: x" if text == "..." else text
            before = len(wire.transport.written)
            await wire.say(f"{sent}\r\n".encode())
            said = wire.transport.written[before:].decode().splitlines()
            expected += bytes(not said)
        elif sent.startswith(("XACK", "XMRG", "XPRT", ".", "QUIT")):
            assert [one.replace("mx.example", "mta1.example.com") for one in said] == [text]
        elif sent.startswith("EHLO") and "X" in text:
            assert text in [one.replace(" ", "-", 1) for one in said]
    assert len(expected) == 4, "XDFN, RCPT and the two lines of content have no reply"
    (made,) = wire.reception.merged_messages
    assert made.content == b"Subject: x\r\n" * 2
    assert (made.mail.is_verp, made.wishes.vmta) == (True, "vmta1")


async def test_the_guides_two_recipients(tmp_path):
    wire = merging(tmp_path)
    await wire.say(GREETING)
    codes = await wire.say((SAMPLES / "bsmtp.txt").read_bytes())
    assert codes == [250] * 8 + [354, 250] * 3
    jim, tim = wire.reception.merged_messages
    assert jim.content.decode().splitlines() == [
        "X-CID: 1234-abc",
        'From: "Customer Service" bounce-jim=example.net@b.example.com',
        'To: "Jim" jim@example.net',
        "Subject: Plans []",
        "Date: Tue, 5 Mar 2024 10:15:00 +0000",
        "",
        "Hey Jim,",
        "Your favorite food is pizza.",
        "Bye.",
    ]
    assert (jim.wishes.vmta, jim.wishes.job_id, jim.mail.env_id) == ("vmta1", "1234", "")
    assert jim.mail.mail_from == "bounce@b.example.com"
    assert jim.mail.is_verp
    assert not jim.wishes.has_own_sender
    assert (tim.wishes.vmta, tim.wishes.job_id, tim.mail.env_id) == ("vmta2", "5678", "e-2")
    assert tim.mail.mail_from == "tim-b@b.example.com"
    assert tim.wishes.has_own_sender
    assert tim.content.endswith(b"Hey Tim,\r\nBye.\r\nYour favorite food is sushi.\r\n")
    assert b'From: "Customer Service" tim-b@b.example.com\r\n' in tim.content


async def test_everything_pipelined_byte_by_byte_is_the_same(tmp_path):
    sent = XMRG + JIM + TIM + PART + b"QUIT\r\n"
    codes, taken = await merged(tmp_path, *(sent[i : i + 1] for i in range(len(sent))))
    assert codes == [250, 250, 250, 250, 250, 354, 250, 221]
    assert taken == {
        "jim@d.example": b"To: jim@d.example\r\n\r\nHey Jim.\r\n",
        "tim@d.example": b"To: tim@d.example\r\n\r\nHey Tim.\r\n",
    }
    assert (await merged(tmp_path, sent)) == (codes, taken)


async def test_ordinary_mail_may_follow_and_come_before(tmp_path):
    plain = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nA: [FName]\r\n.\r\n"
    codes, taken = await merged(tmp_path, plain, XMRG + JIM + PART, plain)
    assert codes == [250, 250, 354, 250, 250, 250, 250, 354, 250, 250, 250, 354, 250]
    assert taken["c@d.example"] == b"A: [FName]\r\n"


async def test_envelope_parameters(tmp_path):
    wire = merging(tmp_path)
    await wire.say(GREETING)
    xmrg = b"XMRG FROM:<a@b.example> VERP RET=HDRS ENVID=e+2D1 BODY=8BITMIME SIZE=10\r\n"
    rcpt = b"RCPT TO:<c@d.example> NOTIFY=NEVER ORCPT=rfc822;x@d.example\r\n"
    await wire.say(xmrg + rcpt + b"XPRT 1 LAST\r\nX: [*envid]\r\n.\r\n")
    (made,) = wire.reception.merged_messages
    assert (made.mail.ret, made.mail.env_id, made.mail.is_verp) == ("HDRS", "e-1", True)
    assert (made.rcpt.notify, made.rcpt.orcpt) == ("NEVER", "rfc822;x@d.example")
    assert made.content == b"X: e-1\r\n"


# XDFN


async def test_variables_are_those_of_the_next_recipient_only(tmp_path):
    _, taken = await merged(tmp_path, XMRG, JIM, b"RCPT TO:<tim@d.example>\r\n", PART)
    assert taken["tim@d.example"].endswith(b"Hey .\r\n")


async def test_a_refused_recipient_has_spent_them(tmp_path):
    refused = b"XDFN FName=Secret\r\nRCPT TO:<nobody>\r\n"
    codes, taken = await merged(tmp_path, XMRG, refused, b"RCPT TO:<tim@d.example>\r\n", PART)
    assert codes == [250, 250, 501, 250, 354, 250]
    assert taken["tim@d.example"].endswith(b"Hey .\r\n")


async def test_several_definitions_add_up_and_the_last_counts(tmp_path):
    lines = b"XDFN FName=a x=1\r\nXDFN fname=b\r\nXDFN y=2\r\nRCPT TO:<c@d.example>\r\n"
    _, taken = await merged(
        tmp_path, XMRG, lines, b"XPRT 1 LAST\r\nA: b\r\n\r\n[FNAME][x][Y]\r\n.\r\n"
    )
    assert taken["c@d.example"] == b"A: b\r\n\r\nb12\r\n"


async def test_who_has_a_refused_variable_is_refused(tmp_path):
    codes, taken = await merged(
        tmp_path, XMRG, b"XDFN *vmta=a *parts=x\r\nRCPT TO:<c@d.example>\r\n", JIM, PART
    )
    assert codes == [250, 501, 503, 250, 250, 354, 250]
    assert list(taken) == ["jim@d.example"]


async def test_values_of_any_character_set_are_put_in_as_they_are(tmp_path):
    _, taken = await merged(
        tmp_path, XMRG, b'XDFN FName="J\xf6rg"\r\nRCPT TO:<c@d.example>\r\n', PART
    )
    assert taken["c@d.example"].endswith(b"Hey J\xf6rg.\r\n")


async def test_a_recipient_may_be_named_twice(tmp_path):
    wire = merging(tmp_path)
    await wire.say(GREETING, XMRG + JIM + JIM + PART)
    assert len(wire.taken) == 2


# XPRT


async def test_parts_go_to_those_who_want_them(tmp_path):
    rcpts = b"XDFN *parts=2,1\r\nRCPT TO:<a@d.example>\r\nRCPT TO:<b@d.example>\r\n"
    parts = b"XPRT 3\r\nA: 3\r\n.\r\nXPRT 1\r\nA: 1\r\n.\r\nXPRT 2 LAST\r\nA: 2\r\n.\r\n"
    codes, taken = await merged(tmp_path, XMRG, rcpts, parts)
    assert codes == [250, 250, 250, 250, 354, 250, 354, 250, 354, 250]
    assert taken == {
        "a@d.example": b"A: 2\r\nA: 1\r\n",
        "b@d.example": b"A: 1\r\nA: 2\r\nA: 3\r\n",
    }


async def test_a_part_that_did_not_come_refuses_all(tmp_path):
    codes, taken = await merged(
        tmp_path, XMRG, JIM, b"XDFN *parts=1-2\r\nRCPT TO:<a@d.example>\r\n", PART, PART
    )
    assert codes[:7] == [250, 250, 250, 250, 250, 354, 554]
    assert codes[7] == 503
    assert taken == {}


@pytest.mark.parametrize(
    ("number", "code"),
    [("0", 501), ("x", 501), ("", 501), ("1 END", 501), ("1001", 501), ("²", 501)],
)
async def test_a_part_has_a_number(tmp_path, number, code):
    codes, taken = await merged(tmp_path, XMRG, JIM, f"XPRT {number}\r\n".encode(), PART)
    assert codes == [250, 250, 250, code, 354, 250]
    assert len(taken) == 1


async def test_a_part_comes_once(tmp_path):
    one = b"XPRT 1\r\nA: 1\r\n.\r\n"
    codes, _ = await merged(tmp_path, XMRG, JIM, one, b"XPRT 1 LAST\r\n")
    assert codes == [250, 250, 250, 354, 250, 503]


async def test_dots_are_undone_once_and_done_again_where_a_value_begins_a_line(tmp_path):
    part = b"XPRT 1 LAST\r\nA: 1\r\n\r\n..x\r\n[FName]\r\n.\r\n"
    wire = merging(tmp_path)
    await wire.say(GREETING, XMRG + b"XDFN FName=.\r\nRCPT TO:<a@d.example>\r\n" + part)
    (taken,) = wire.taken
    assert taken.content == b"A: 1\r\n\r\n.x\r\n.\r\n"
    assert taken.has_leading_dot


@pytest.mark.parametrize("false_end", FALSE_ENDS)
async def test_a_part_ends_where_any_content_does(tmp_path, false_end):
    codes, taken = await merged(tmp_path, XMRG + JIM + b"XPRT 1 LAST\r\n" + probe(false_end))
    assert codes[:4] == [250, 250, 250, 354]
    assert len(codes) == 5, "nothing in it was a command"
    assert set(taken) <= {"jim@d.example"}


@pytest.mark.parametrize("bad", [b"x\ny", b"x\ry", b"x\0y"])
async def test_a_part_that_is_refused_ends_all(tmp_path, bad):
    codes, taken = await merged(
        tmp_path, XMRG, JIM, b"XPRT 1\r\nA: 1\r\n\r\n" + bad + b"\r\n.\r\n", PART[:13]
    )
    assert codes == [250, 250, 250, 354, 554, 503]
    assert taken == {}


# The order of commands


@pytest.mark.parametrize(
    ("sent", "codes"),
    [
        (XMRG + XMRG, [250, 503]),
        (b"MAIL FROM:<a@b.example>\r\n" + XMRG, [250, 503]),
        (b"MAIL FROM:<a@b.example>\r\nXDFN a=b\r\n", [250, 503]),
        (b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nXPRT 1 LAST\r\n", [250, 250, 503]),
        (b"XDFN a=b\r\n", [503]),
        (b"XPRT 1 LAST\r\n", [503]),
        (XMRG + b"XPRT 1 LAST\r\n", [250, 554]),
        (XMRG + JIM + b"DATA\r\n", [250, 250, 250, 503]),
        (XMRG + JIM + b"BDAT 5 LAST\r\nhello" + PART[:13], [250, 250, 250, 503, 503]),
        (XMRG + JIM + b"XPRT 1\r\n.\r\n" + JIM, [250, 250, 250, 354, 250, 503, 503]),
        (XMRG + JIM + b"RSET\r\n" + PART[:13], [250, 250, 250, 250, 503]),
        (XMRG + JIM + GREETING + PART[:13], [250, 250, 250, 250, 503]),
        (XMRG + JIM + b"XPRT 1\r\n.\r\nRSET\r\n" + XMRG, [250, 250, 250, 354, 250, 250, 250]),
        (b"XACK\r\nXACK MAYBE\r\nXACK on\r\n", [501, 501, 250]),
    ],
)
async def test_what_comes_out_of_order_is_told(tmp_path, sent, codes):
    assert await merged(tmp_path, sent) == (codes, {})


# XACK OFF


async def test_without_acknowledgements_rcpt_and_xdfn_have_no_reply(tmp_path):
    sent = b"XACK OFF\r\n" + XMRG + JIM + TIM + PART
    codes, taken = await merged(tmp_path, sent)
    assert codes == [250, 250, 354, 250]
    assert len(taken) == 2
    alone = sent.splitlines(keepends=True)
    assert await merged(tmp_path, *alone) == (codes, taken)


async def test_it_is_for_ordinary_mail_too(tmp_path):
    lines = [
        b"XACK OFF\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<c@d.example>\r\n",
        b"DATA\r\n", b"A: b\r\n.\r\n", b"XACK ON\r\n", b"MAIL FROM:<a@b.example>\r\n",
        b"RCPT TO:<c@d.example>\r\n",
    ]  # fmt: skip
    codes, taken = await merged(tmp_path, *lines)
    assert codes == [250, 250, 354, 250, 250, 250, 250]
    assert len(taken) == 1


@pytest.mark.parametrize("bad", [b"RCPT TO:<nobody>\r\n", b"XDFN *to=a\r\n", b"RCPT\r\n",
                                 b"XDFN a=" + b"x" * 70_000 + b"\r\n"])  # fmt: skip
async def test_what_was_wrong_is_told_where_content_would_come_and_ends_all(tmp_path, bad):
    sent = b"XACK OFF\r\n" + XMRG + JIM + bad + TIM
    codes, taken = await merged(tmp_path, sent, PART[:13], PART[:13], XMRG, JIM, PART)
    assert codes[:2] == [250, 250]
    assert codes[2] in (500, 501)
    assert codes[3:] == [503, 250, 354, 250]
    assert list(taken) == ["jim@d.example"]


@pytest.mark.parametrize("content", [b"DATA\r\n", b"BDAT 2 LAST\r\nhi"])
async def test_it_is_told_to_data_and_bdat_too(tmp_path, content):
    sent = b"XACK OFF\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<nobody>\r\n"
    codes, taken = await merged(tmp_path, sent, content, content)
    assert (codes, taken) == ([250, 250, 501, 503], {})


async def test_many_errors_that_are_not_told_are_one(tmp_path):
    sent = b"XACK OFF\r\n" + XMRG + JIM + b"RCPT TO:<nobody>\r\n" * (ERRORS_MAX + 1)
    codes, _ = await merged(tmp_path, sent, PART[:13], b"NOOP\r\n")
    assert codes == [250, 250, 501, 250]


async def test_outside_a_transaction_errors_are_nothing(tmp_path):
    sent = b"XACK OFF\r\n" + JIM + b"RCPT TO:<nobody>\r\n" + XMRG + TIM + PART
    codes, taken = await merged(tmp_path, sent)
    assert codes == [250, 250, 354, 250]
    assert list(taken) == ["tim@d.example"]


async def test_reset_forgets_what_was_wrong_and_keeps_silent(tmp_path):
    sent = b"XACK OFF\r\n" + XMRG + b"RCPT TO:<nobody>\r\nRSET\r\n" + XMRG + JIM + PART
    codes, taken = await merged(tmp_path, sent)
    assert codes == [250, 250, 250, 250, 354, 250]
    assert len(taken) == 1


async def test_ehlo_ends_the_silence(tmp_path):
    codes, _ = await merged(tmp_path, b"XACK OFF\r\n" + GREETING + XMRG + JIM)
    assert codes == [250, 250, 250, 250, 250]


async def test_bad_addresses_bounce_where_they_are_accepted(tmp_path):
    wire = merging(tmp_path, accept_invalid_recipients=True)
    sent = b"XACK OFF\r\n" + XMRG + JIM + b"RCPT TO:<nobody>\r\n" + PART
    assert await wire.say(GREETING, sent) == [250, 250, 250, 354, 250]
    refusals = [made.rcpt.refusal for made in wire.reception.merged_messages]
    assert [bool(one) for one in refusals] == [False, True]


async def test_what_is_not_silent_is_answered_at_once_as_before(tmp_path):
    wire = merging(tmp_path)
    await wire.say(GREETING, b"XACK OFF\r\n")
    for line, codes in ((b"MAIL FROM:<a@b.example>\r\n", [250]), (b"RCPT TO:<c@d.example>\r\n", []),
                        (b"NOOP\r\n", [250]), (b"DATA\r\n", [354]), (b".\r\n", [250])):  # fmt: skip
        assert await wire.say(line) == codes


# Limits


async def test_a_recipients_message_is_not_larger_than_any(tmp_path):
    values = b'XDFN FName="' + b"x" * 900 + b'"\r\nRCPT TO:<a@d.example>\r\n'
    codes, taken = await merged(tmp_path, XMRG, JIM, values, PART, max_message_size=900)
    assert codes == [250, 250, 250, 250, 250, 354, 552]
    assert taken == {}


async def test_a_line_of_variables_may_be_long_and_others_not(tmp_path):
    xdfn = b'XDFN FName="' + b"x" * 60_000 + b'"\r\n'
    sent = XMRG + xdfn + b"RCPT TO:<a@d.example>\r\n"
    codes, taken = await merged(tmp_path, *(sent[i : i + 999] for i in range(0, len(sent), 999)))
    assert codes == [250, 250, 250]
    codes, taken = await merged(tmp_path, sent, PART)
    assert taken["a@d.example"].endswith(b"Hey " + b"x" * 60_000 + b".\r\n")
    assert (await merged(tmp_path, XMRG, b"XDFN a=" + b"x" * 65_600))[0] == [250, 500]
    assert (await merged(tmp_path, XMRG, b"XPRT " + b"1" * 5000 + b"\r\n"))[0] == [250, 500]
    assert (await merged(tmp_path, xdfn))[0] == [500]


async def test_a_part_is_not_larger_than_a_message(tmp_path):
    codes, _ = await merged(
        tmp_path, XMRG, JIM, b"XPRT 1\r\n" + b"x" * 1000 + b"\r\n.\r\n", max_message_size=900
    )
    assert codes == [250, 250, 250, 354, 552]


async def test_as_many_recipients_as_the_source_says(tmp_path):
    codes, taken = await merged(tmp_path, XMRG, JIM, TIM, PART, max_rcpt_per_message=1)
    assert codes == [250, 250, 250, 250, 452, 354, 250]
    assert list(taken) == ["jim@d.example"]


async def test_too_many_recipients_may_fail_all(tmp_path):
    codes, taken = await merged(
        tmp_path, XMRG, JIM, TIM, PART[:13],
        max_rcpt_per_message=1, too_many_rcpts_fails_message=True,
    )  # fmt: skip
    assert codes == [250, 250, 250, 250, 250, 554]
    assert taken == {}


@pytest.mark.parametrize(
    ("limit", "value", "sent", "code", "word"),
    [
        ("VARIABLES_OCTETS_MAX", 150, JIM + TIM, 452, b"variables of all recipients"),
        ("RECIPIENTS_MAX", 1, JIM + TIM, 452, b"at most 1 recipients"),
        ("PARTS_OCTETS_MAX", 10, JIM + PART, 552, b"parts have more than 10 octets"),
        ("REFERENCES_MAX", 1, JIM + PART, 552, b"parts have more than 1 variables"),
        ("MESSAGE_OCTETS_MAX", 10, JIM + PART, 552, b"larger than 10 octets"),
    ],
)
async def test_memory_is_bounded_and_the_refusal_says_what_bounds_it(
    tmp_path, monkeypatch, limit, value, sent, code, word
):
    monkeypatch.setattr(mailmerge, limit, value)
    wire = merging(tmp_path)
    codes = await wire.say(GREETING, XMRG + sent)
    assert code in codes
    assert word in wire.transport.written
    assert wire.taken == []


def test_the_reply_of_the_last_part_is_that_of_a_message():
    assert RECEIVED.lines[0].startswith("2.6.0 message received")


def user_with():
    """A session of a client that said XACK OFF and authenticates then."""
    smtp = Server(Known(), Settings(allow_mailmerge=True), "mx.example")
    for line in (b"EHLO c.example", b"XACK OFF", b"AUTH PLAIN"):
        assert smtp.receive(line)[0].code in (250, 334)
    return smtp


def test_a_response_that_looks_like_rcpt_has_a_reply():
    reply, _ = user_with().receive(b"RCPT")
    assert reply.code == 501


def test_who_authenticates_goes_by_the_rules_of_the_user():
    smtp = user_with()
    smtp.receive(b"*")
    smtp.follow(Settings())
    for line in (b"XMRG FROM:<a@b.example>", b"XACK OFF", b"XDFN a=b", b"XPRT 1"):
        assert smtp.receive(line)[0].code == 502
    assert smtp.receive(b"RCPT TO:<a@b.example>")[0].code == 503
    smtp.follow(Settings(always_allow_api_submission=True))
    assert smtp.receive(b"XMRG FROM:<a@b.example>")[0].code == 250


class Checking(Policy):
    """Looks up each sender."""

    checks_sender = True


@pytest.mark.parametrize("refusal", [None, Reply(550, ("5.7.23 no",))])
def test_the_sender_is_checked_as_any(refusal):
    smtp = Server(Checking(), Settings(allow_mailmerge=True), "mx.example")
    smtp.receive(b"EHLO c.example")
    assert smtp.receive(b"XMRG FROM:<a@b.example>") == (None, Step.CHECK_SENDER)
    reply, _ = smtp.sender_checked(refusal)
    assert reply.lines == (refusal.lines if refusal else ("2.1.0 XMRG ok",))
    assert smtp.receive(b"XDFN a=b")[0].code == (503 if refusal else 250)


def test_transient_errors_may_end_the_connection_also_when_they_are_told_later():
    smtp = Server(
        Policy(),
        Settings(allow_mailmerge=True, disconnect_on_transient_error=True, max_rcpt_per_message=1),
        "mx.example",
    )
    for line in (b"EHLO c", b"XACK OFF", b"XMRG FROM:<>", b"RCPT TO:<a@d.example>"):
        smtp.receive(line)
    assert smtp.receive(b"RCPT TO:<b@d.example>") == (None, Step.GO_ON)
    reply, step = smtp.receive(b"XPRT 1")
    assert (reply.code, step) == (421, Step.END)
