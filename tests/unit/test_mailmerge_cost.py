"""What a mail merge costs while it comes in."""

import tracemalloc

import pytest

from mta.smtp import mailmerge
from mta.smtp.command import MailParameters, RcptParameters
from mta.smtp.definitions import parse_parts as parse
from mta.smtp.framing import LINE_OCTETS_MAX
from mta.smtp.mailmerge import REFERENCES_MAX, MailMerge


def begun():
    return MailMerge(MailParameters("a@b.example"), suffix="", size_max=1 << 30, verp_default=False)


def message(part):
    merge = begun()
    merge.add(merge.spend())
    merge.begin_part("1 LAST")
    submission = merge.take(part, [RcptParameters("r@d.example")])
    return submission.message(0, "date", expands=True)


def test_a_variable_is_counted_once_however_many_a_recipient_has(monkeypatch):
    counted = []
    cost = mailmerge._cost
    monkeypatch.setattr(mailmerge, "_cost", lambda some: counted.append(len(some)) or cost(some))
    merge = begun()
    for number in range(100):
        merge.define(f"v{number}=x")
    assert sum(counted) == 100


def test_what_a_recipient_was_refused_counts_for_nobody(monkeypatch):
    monkeypatch.setattr(mailmerge, "VARIABLES_OCTETS_MAX", 250)
    merge = begun()
    for _ in range(10):
        merge.define("a=x b=y")
        merge.spend()


def test_many_short_lines_take_no_memory_of_their_own():
    part = b"A: b\r\n\r\n" + b"y\r\n" * LINE_OCTETS_MAX
    tracemalloc.start()
    made = message(part)
    _, top = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(made.content) == len(part)
    assert top < 5 * len(part)


def test_a_line_has_a_million_octets_at_most():
    for before in (b"", b"\r\n", b"y\r\n" * LINE_OCTETS_MAX):
        start = b"A: b\r\n\r\n" + before
        line = b"x" * (LINE_OCTETS_MAX - 1)
        assert message(start + line + b"\r\nend\r\n").content.endswith(b"end\r\n")
        assert message(start + line + b"x\r\nend\r\n").code == 554


@pytest.mark.parametrize("bracket", [b"[a]", b"a[["])
def test_a_part_of_too_many_brackets_is_refused_before_it_is_taken_to_pieces(bracket):
    merge = begun()
    merge.add(merge.spend())
    merge.begin_part("1 LAST")
    part = b"A: b\r\n\r\n" + (bracket * 20 + b"\r\n") * (REFERENCES_MAX // 20)
    rcpts = [RcptParameters("r@d.example")]
    merge.take(part, rcpts).message(0, "date", expands=True)
    merge.begin_part("2 LAST")
    part = bracket * 100_000
    tracemalloc.start()
    refusal = merge.take(part, rcpts)
    _, top = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refusal.code == 552
    assert top < 10_000


def test_which_parts_a_recipient_gets_is_looked_at_when_its_message_is_made(monkeypatch):
    merge = begun()
    for parts in ("1,1", "1-2"):
        merge.define(f"*parts={parts}")
        merge.add(merge.spend())
    merge.begin_part("1 LAST")
    read = []
    monkeypatch.setattr(mailmerge, "parse_parts", lambda text: read.append(text) or parse(text))
    rcpts = [RcptParameters("a@d.example"), RcptParameters("b@d.example")]
    submission = merge.take(b"A: b\r\n", rcpts)
    assert read == [], "all of them at once would hold up the loop"
    assert submission.message(0, "date", expands=True).content == b"A: b\r\n" * 2
    refusal = submission.message(1, "date", expands=True)
    assert refusal.code == 554
    assert "part 2 is in *parts of <b@d.example>" in refusal.text
