import pytest

from mta.smtp.client import xtext
from mta.smtp.extensions import Extensions
from tests.conformance.test_rfc5321_client import begun, recipient
from tests.conformance.test_rfc5321_server import MAIL, last_reply, say, server

DSN = Extensions(dsn=True, pipelining=True)


def test_parameters_are_kept():
    smtp = server()
    codes, _ = say(
        smtp,
        "EHLO c.example",
        "MAIL FROM:<a@b.example> RET=hdrs ENVID=QQ+2B1",
        "RCPT TO:<c@d.example> NOTIFY=success,failure ORCPT=rfc822;c+40d.example",
    )
    assert codes == [250, 250, 250]
    assert (smtp.mail.ret, smtp.mail.env_id) == ("HDRS", "QQ+1")
    assert smtp.rcpts[0].notify == "SUCCESS,FAILURE"
    assert smtp.rcpts[0].orcpt == "rfc822;c@d.example"


@pytest.mark.parametrize(
    "parameter",
    [
        "NOTIFY=SOMETIMES",
        "NOTIFY=NEVER,FAILURE",
        "NOTIFY",
        "ORCPT=c@d.example",
        "ORCPT=a;+0Ab",
        "NOTIFY=NEVER NOTIFY=SUCCESS",
        "ORCPT=rfc822;+E9",
        "ORCPT=rfc822;a+E2+80+A8b",
    ],
)
def test_what_is_no_parameter_is_refused(parameter):
    assert last_reply(server(), *MAIL, f"RCPT TO:<c@d.example> {parameter}").code in (501, 555)


@pytest.mark.parametrize(
    "parameter",
    [
        "RET=ALL",
        "ENVID=",
        "ENVID=+0D+0A",
        f"ENVID={'x' * 101}",
        "ENVID=é",
        "ENVID=+C2+85",
        "ENVID=caf+C3+A9",
        "RET=FULL RET=HDRS",
        "SIZE=1 SIZE=2",
    ],
)
def test_what_is_no_envelope_parameter_is_refused(parameter):
    line = f"MAIL FROM:<a@b.example> {parameter}"
    assert last_reply(server(), "EHLO c.example", line).code in (501, 555)


def test_parameters_are_passed_on():
    written = begun(
        DSN,
        recipients=(recipient("c@d.example", notify="NEVER", orcpt="rfc822;c=d@d.example"),),
        ret="FULL",
        env_id="a+b",
    )
    assert b"MAIL FROM:<a@b.example> RET=FULL ENVID=a+2Bb\r\n" in written
    assert b"RCPT TO:<c@d.example> NOTIFY=NEVER ORCPT=rfc822;c+3Dd@d.example\r\n" in written


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ("rfc822;m+C3+BCller@d.example", b"rfc822;m+C3+BCller@d.example"),
        ("utf-8;m\\x{FC}ller@d.example", b"utf-8;m\\x{FC}ller@d.example"),
        ("utf-8;müller@d.example", b"utf-8;m\\x{FC}ller@d.example"),
        ("rfc822;a+2Bb+3Dc+20d@d.example", b"rfc822;a+2Bb+3Dc+20d@d.example"),
    ],
)
def test_what_is_not_ascii_is_passed_on_as_it_was_meant(given, passed_on):
    smtp = server()
    say(smtp, "EHLO c.example", "MAIL FROM:<a@b.example>", f"RCPT TO:<c@d.example> ORCPT={given}")
    orcpt = smtp.rcpts[0].orcpt
    written = begun(DSN, recipients=(recipient("c@d.example", orcpt=orcpt),))
    assert b"ORCPT=" + passed_on + b"\r\n" in written


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ("<m@b>", "+3Cm@b+3E"),
        (f"<{'m' * 98}>", f"<{'m' * 98}>"),
        ("<" * 100, "<" * 100),
        (f"{'m' * 97}+20", f"{'m' * 97}+20"),
    ],
)
def test_an_envid_that_may_come_may_go(given, passed_on):
    """§5.4: of at most 100 octets in xtext; a peer refuses a longer one, and the mail with it."""
    smtp = server()
    codes, _ = say(smtp, "EHLO c.example", f"MAIL FROM:<a@b.example> ENVID={given}")
    assert codes == [250, 250]
    assert f"ENVID={passed_on}\r\n".encode() in begun(DSN, env_id=smtp.mail.env_id)


def test_what_is_too_long_in_xtext_is_left_out_and_the_mail_goes():
    """X-Envid is not in xtext and may have blanks."""
    rcpt = recipient("c@d.example", orcpt=f"rfc822;{'ü' * 90}@d.example")
    written = begun(DSN, recipients=(rcpt,), env_id="a " * 50)
    assert b"MAIL FROM:<a@b.example>\r\n" in written
    assert b"RCPT TO:<c@d.example>\r\n" in written


def test_parameters_are_kept_back_where_dsn_is_not_offered():
    written = begun(
        Extensions(pipelining=True),
        recipients=(recipient("c@d.example", notify="NEVER", orcpt="rfc822;c@d.example"),),
        ret="FULL",
        env_id="ab",
    )
    assert b"RET" not in written
    assert b"NOTIFY" not in written


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("plain", "plain"),
        ("a b", "a+20b"),
        ("a+b=c", "a+2Bb+3Dc"),
        ("ü", "+C3+BC"),
        ("\r\n", "+0D+0A"),
    ],
)
def test_xtext(text, encoded):
    assert xtext(text) == encoded
