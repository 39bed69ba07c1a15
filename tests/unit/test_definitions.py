"""The argument of XDFN."""

import pytest

from mta.smtp.command import CommandError
from mta.smtp.definitions import PARTS_MAX, Range, parse_definitions, parse_parts


def parsed(rest, *, smtputf8=False, suffix=""):
    return parse_definitions(rest, smtputf8=smtputf8, suffix=suffix)


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        ('FName="Jim"  CID=1234', {"fname": "Jim", "cid": "1234"}),
        ('a="v w"\tb=', {"a": "v w", "b": ""}),
        ('a="" b=x=y', {"a": "", "b": "x=y"}),
        (r'a="say \"hi\"" b="C:\\" c="C:\dir"', {"a": 'say "hi"', "b": "C:\\", "c": "C:\\dir"}),
        ('a="O"Brien"', {"a": 'O"Brien'}),
        (r"a=\r\n", {"a": r"\r\n"}),
        ("a_1=é", {"a_1": "é"}),
        ("A=1 a=2", {"a": "2"}),
        ("*vmta=v *jobID=j *Parts=1 *priority=100", {
            "*vmta": "v", "*jobid": "j", "*parts": "1", "*priority": "100"}),
        ("*from=<a@b.example> *envid=e-2", {"*from": "a@b.example", "*envid": "e-2"}),
        ('*from="" *custommessageid=x *subaccountid=y', {
            "*from": "", "*custommessageid": "x", "*subaccountid": "y"}),
    ],
)  # fmt: skip
def test_what_is_defined(rest, found):
    assert parsed(rest) == found


@pytest.mark.parametrize(
    "rest",
    ['a="6" of "it""', "", "a", "=b", "1a=b", "_a=b", "a-b=c", 'a="b', 'a=b"c" "d', '"a"=b',
     "**a=b", "a = b",
     "*from=a\udcff@b.example", '*from="\\"a<b\\"@b.example"',
     "*to=a@b.example", "*date=now", "*nothing=1", "*priority=0", "*priority=101", "*priority=x",
     "*priority=²", "*parts=", "*parts=0", "*parts=2-1", "*parts=1,,2", "*parts=1-1001", "*parts=٣",
     "*from=nobody", "*from=jö@b.example", '*jobid="a b"', "*envid=é", "*envid=" + "x" * 101,
     "*parts=" + ",".join(["1-500"] * 3)],
)  # fmt: skip
def test_what_is_refused(rest):
    with pytest.raises(CommandError) as refused:
        parsed(rest)
    assert refused.value.reply.code == 501
    assert refused.value.reply.text.isprintable()
    assert refused.value.reply.text.isascii()


def test_a_sender_is_completed_as_any():
    assert parsed("*from=jim", suffix="b.example") == {"*from": "jim@b.example"}
    assert parsed("*from=jö@b.example", smtputf8=True) == {"*from": "jö@b.example"}


def test_no_value_takes_long():
    for rest in ('a="' + "\\" * 4000, 'a="' + '\\"' * 2000, 'a="' + '"' * 4000 + "x"):
        with pytest.raises(CommandError):
            parsed(rest)


def test_parts_keep_their_order():
    assert parse_parts("3,1-2, 5") == (Range(3, 3), Range(1, 2), Range(5, 5))
    assert parse_parts(f"1-{PARTS_MAX}") == (Range(1, PARTS_MAX),)
