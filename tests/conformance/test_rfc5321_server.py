from dataclasses import dataclass

import pytest

from mta.model.reply import Reply
from mta.smtp.server import ERRORS_MAX, Server, Step


@dataclass
class Settings:
    max_message_size: int = 10_000
    max_rcpt_per_message: int = 3
    allow_smtputf8: bool = True
    allow_chunking: bool = True
    too_many_rcpts_fails_message: bool = False
    disconnect_on_transient_error: bool = False
    accept_invalid_recipients: bool = False
    auto_qualify_domain: bool = True
    allow_mailmerge: bool = False
    always_allow_api_submission: bool = False
    verp_default: bool = False


class Policy:
    """Accepts all but `bad@…`."""

    checks_sender = False

    def renewed(self):
        return None

    def mechanisms(self):
        return ()

    def mail(self, mail):
        return Reply(550, ("5.7.1 not you",)) if mail.mail_from.startswith("bad@") else None

    def rcpt(self, mail, rcpt):
        return Reply(550, ("5.1.1 no such user",)) if rcpt.address.startswith("bad@") else None


def server(*, offers_tls=False, **settings):
    return Server(Policy(), Settings(**settings), "mx.example", offers_tls=offers_tls)


def say(to, *lines):
    """The codes of the replies, and the last step."""
    codes, step = [], None
    for line in lines:
        reply, step = to.receive(line.encode())
        codes.append(reply.code if reply else None)
    return codes, step


def last_reply(to, *lines):
    for line in lines:
        reply, _ = to.receive(line.encode() if isinstance(line, str) else line)
    return reply


MAIL = ("EHLO client.example", "MAIL FROM:<a@b.example>")


def test_a_whole_dialogue():
    codes, step = say(server(), *MAIL, "RCPT TO:<c@d.example>", "DATA")
    assert codes == [250, 250, 250, 354]
    assert step is Step.CONTENT


def test_commands_are_the_same_in_any_case():
    codes, _ = say(server(), "ehlo c.example", "mail from:<a@b.example>", "rCpT tO:<c@d.example>")
    assert codes == [250, 250, 250]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["MAIL FROM:<a@b.example>"], 503),
        (["EHLO c.example", "RCPT TO:<c@d.example>"], 503),
        (["EHLO c.example", "DATA"], 503),
        ([*MAIL, "DATA"], 554),
        ([*MAIL, "RCPT TO:<bad@d.example>", "DATA"], 554),
        ([*MAIL, "MAIL FROM:<a@b.example>"], 503),
        (["EHLO"], 501),
        (["EHLO two words"], 501),
        (["EHLO c.example", "MAIL a@b.example"], 501),
        (["EHLO c.example", "MAIL FROM:a@b.example"], 501),
        ([*MAIL, "RCPT TO:<nobody>"], 501),
        ([*MAIL, "RCPT TO:<>"], 501),
        ([*MAIL, "DATA now"], 501),
        (["TURN"], 502),
        (["EHLO c.example", "MAIL FROM:<bad@b.example>"], 550),
        (["EHLO c.example", "MAIL FROM:<a@b.example> FOO=1"], 555),
        ([*MAIL, "RCPT TO:<c@d.example> FOO=1"], 555),
        (["EHLO c.example", "STARTTLS"], 502),
    ],
)
def test_what_is_out_of_place_is_refused(lines, code):
    assert last_reply(server(), *lines).code == code


def test_every_refusal_has_an_enhanced_code_and_a_sentence():
    for lines in (["DATA"], ["TURN"], [*MAIL, "RCPT TO:<x>"], ["EHLO a b"], [b"\xff"]):
        reply = last_reply(server(), *lines)
        status, _, text = reply.lines[0].partition(" ")
        assert status.split(".")[0] == str(reply.code)[0]
        assert len(text) > 10


def test_the_null_sender_is_taken():
    smtp = server()
    say(smtp, "EHLO c.example", "MAIL FROM:<>")
    assert smtp.mail.mail_from == ""


def test_a_source_route_is_passed_over():
    smtp = server()
    say(smtp, *MAIL, "RCPT TO:<@one.example,@two.example:c@d.example>")
    assert smtp.rcpts[0].address == "c@d.example"


def test_postmaster_needs_no_domain():
    smtp = server()
    assert say(smtp, *MAIL, "RCPT TO:<Postmaster>")[0][-1] == 250
    assert smtp.rcpts[0].address == "Postmaster@mx.example"


def test_too_many_recipients_are_for_another_message():
    codes, _ = say(server(), *MAIL, *[f"RCPT TO:<u{n}@d.example>" for n in range(4)])
    assert codes[2:] == [250, 250, 250, 452]


@pytest.mark.parametrize("again", ["RSET", "EHLO c.example", "HELO c.example"])
def test_sender_and_recipients_are_forgotten(again):
    smtp = server()
    say(smtp, *MAIL, "RCPT TO:<c@d.example>", again)
    assert (smtp.mail, smtp.rcpts) == (None, [])


def test_quit_ends():
    assert say(server(), "QUIT") == ([221], Step.END)


def test_noop_help_and_vrfy_are_answered():
    assert say(server(), "NOOP", "HELP", "VRFY someone")[0] == [250, 214, 252]


def test_who_makes_only_errors_is_sent_away():
    smtp = server()
    answers = [smtp.receive(b"GET / HTTP/1.1") for _ in range(ERRORS_MAX)]
    assert [step for _, step in answers] == [Step.GO_ON] * (ERRORS_MAX - 1) + [Step.END]
    assert answers[-1][0].code == 421


@pytest.mark.parametrize("line", [b"EHLO a\0b", b"NOOP \x7f", b"MAIL FROM:<a\rRCPT@b.example>"])
def test_control_characters_are_refused(line):
    assert last_reply(server(), "EHLO c.example", line).code in (500, 501)


def test_a_tab_is_space():
    assert last_reply(server(), "NOOP\tx").code in (250, 502)


def test_helo_offers_nothing():
    assert last_reply(server(), "HELO c.example").lines == ("mx.example",)


def test_what_is_offered():
    said = last_reply(server(offers_tls=True), "EHLO c.example").lines
    assert said == (
        "mx.example", "PIPELINING", "SIZE 10000", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN",
        "VERP", "LIMITS RCPTMAX=3", "SMTPUTF8", "CHUNKING", "STARTTLS",
    )  # fmt: skip


def test_what_was_said_in_the_clear_counts_for_nothing():
    smtp = server(offers_tls=True)
    say(smtp, *MAIL)
    assert smtp.receive(b"STARTTLS")[1] is Step.START_TLS
    smtp.tls_started()
    assert say(smtp, "MAIL FROM:<a@b.example>")[0] == [503]
    assert "STARTTLS" not in last_reply(smtp, "EHLO c.example").lines
    assert last_reply(smtp, "STARTTLS").code == 502


@pytest.mark.parametrize(
    ("parameters", "code"), [("", 553), (" SMTPUTF8", 250), (" SMTPUTF8=1", 555)]
)
def test_addresses_beyond_ascii_need_smtputf8(parameters, code):
    line = f"MAIL FROM:<jörg@b.example>{parameters}"
    assert last_reply(server(), "EHLO c.example", line).code == code


def test_smtputf8_that_is_not_allowed_is_neither_offered_nor_taken():
    smtp = server(allow_smtputf8=False)
    assert "SMTPUTF8" not in last_reply(smtp, "EHLO c.example").lines
    assert last_reply(smtp, "MAIL FROM:<a@b.example> SMTPUTF8").code == 555
