"""Fields that are not named stay octet by octet and in order, and no value ever makes a field."""

import re
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from mta.model.header_field import field_name
from mta.model.message import Envelope
from mta.smtp.head import HeadRules
from mta.smtp.rewriting import RewriteList, with_domains

DATE = "Tue, 24 Nov 2026 04:00:00 +0000"
ENVELOPE = Envelope(message_id=64, mail_from="", time_queued=0.0, size=9, head_size=9)
NAMES = ("x-a", "x-b", "received", "from", "subject", "x.a", "x-a-b")
PIECES = st.sampled_from(
    [b"a", b" ", b"\t", b":", b"x-a:", b"X-A", b"\r\n", b"\r\n ", b"\r\n\t", b"\xff", b"=?utf-8?q?",
     b"@d.example", b"<", b">", b'"', b"(", b")", b"\\", b",", b";", b"\0", b"\r", b"\n", b"\x0b"]
)  # fmt: skip
VALUES = st.lists(PIECES, max_size=12).map(b"".join)
FIELDS = st.tuples(st.sampled_from(NAMES), st.booleans(), st.sampled_from([b":", b" :", b"\t: "]))
HEADS = st.lists(
    st.tuples(FIELDS, VALUES).map(
        lambda one: (one[0][0].upper() if one[0][1] else one[0][0]).encode() + one[0][2] + one[1]
    )
    | VALUES,
    max_size=8,
).map(lambda fields: b"X-First: 1\r\n" + b"".join(field + b"\r\n" for field in fields))


class Everything:
    def matches(self, domain):
        return True


def taken_apart(head):
    """The parts of a block as (lower-case name, octets); what is no field has no name."""
    parts = []
    for line in head.split(b"\n"):
        if parts and line[:1] in (b" ", b"\t"):
            parts[-1][1] += b"\n" + line
            continue
        name = re.match(rb"([\x21-\x39\x3b-\x7e]+)[ \t]*:", line)
        parts.append([name[1].lower().decode() if name else "", line])
    return [(name, octets + b"\n") for name, octets in parts[:-1]] if parts else []


def rules(*added, **more):
    given = {"add_received": False, "hide_received": False, **more}
    return HeadRules(host_name="h.example", added=added, **given)


@given(HEADS, st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)))
def test_what_is_not_named_stays_as_it_is_and_where_it_is(head, by_source, by_domain):
    envelope = replace(ENVELOPE, remove_fields=tuple(sorted(by_source)))
    rendered = rules(removed=sorted(by_domain)).render(envelope, "", DATE, head)
    sent = rendered.octets + head[rendered.skip :]
    kept = [octets for name, octets in taken_apart(head) if name not in by_source | by_domain]
    assert sent == b"".join(kept)
    again = rules(removed=sorted(by_domain)).render(envelope, "", DATE, sent)
    assert again.octets + sent[again.skip :] == sent


@given(HEADS, st.text(max_size=20).filter(lambda text: text.isprintable()))
def test_an_added_field_is_there_once_and_changes_nothing_else(head, value):
    field = f"X-A: {value}"
    rendered = rules(field).render(ENVELOPE, "", DATE, head)
    sent = rendered.octets + head[rendered.skip :]
    first, *others = taken_apart(sent)
    assert first == ("x-a", f"{field}\r\n".encode())
    assert others == [part for part in taken_apart(head) if part[0] != "x-a"]
    again = rules(field).render(ENVELOPE, "", DATE, sent)
    assert again.octets + sent[again.skip :] == sent


@given(HEADS, st.sets(st.sampled_from(NAMES)))
def test_a_from_field_is_rewritten_in_its_place_and_nothing_else_is(head, removed):
    everything = RewriteList(domains=((Everything(), "new.example"),))
    envelope = replace(ENVELOPE, remove_fields=tuple(sorted(removed)))
    rendered = rules(rewrites=everything).render(envelope, "", DATE, head)
    sent = rendered.octets + head[rendered.skip :]
    kept = [part for part in taken_apart(head) if part[0] not in removed]
    for (name, before), (_, after) in zip(kept, taken_apart(sent), strict=True):
        assert after == (
            with_domains(before, lambda _: "new.example") if name == "from" else before
        )


@given(VALUES, st.sampled_from(["d.example", "n", "x" * 60 + ".example"]))
@example(b'"a@d.example <b@d.example>', "n")
def test_rewriting_touches_domains_alone_and_is_the_same_when_done_twice(value, domain):
    field = b"From: " + value + b"\r\n"
    assert with_domains(field, lambda asked: asked) == field
    asked = []
    once = with_domains(field, lambda was: (asked.append(was), domain)[1])
    assert with_domains(once, lambda _: domain) == once
    assert re.sub(rb"@[ \t\r\n]*[\w.\x80-\xff-]+", b"@", once) == re.sub(
        rb"@[ \t\r\n]*[\w.\x80-\xff-]+", b"@", field
    )


@given(st.text(max_size=40))
@example("X: a\r\nY: b")
@example("X: a\nY: b")
@example("X: \0")
@example("X\r\n: b")
def test_no_configured_text_is_more_than_one_field(text):
    try:
        name = field_name(text)
    except ValueError:
        return
    assert not set("\r\n\0\x85\u2028") & set(text)
    sent = rules(text).render(ENVELOPE, "", DATE, b"").octets
    assert [part for part, _ in taken_apart(sent)] == [name.lower()]
    assert sent.count(b"\r\n") == sent.count(b"\n") == sent.count(b"\r") == 1
