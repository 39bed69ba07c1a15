"""What a signature is over, chosen and remembered without growing beyond bounds."""

import gc
import weakref

import pytest

from mta.settings.domain import DomainSettings
from mta.signing import keys, signature
from mta.signing.canonical import fields, relaxed_field, selected
from mta.signing.identity import Authors
from mta.signing.signature import BodyHash, Signatory, SignatureForm, draft

KEY = keys.new_key("ed25519")


def relaxed():
    settings = DomainSettings(dkim_sign="yes", dkim_headers_canon="relaxed")
    return SignatureForm.of(settings, "dkim_")


def test_a_form_of_an_old_configuration_leaves_no_cycle():
    form = relaxed()
    assert form.names[b"FROM"] == b"from"
    assert form.names[b"X-Y"] == b""
    names = weakref.ref(form.names)
    gc.disable()
    try:
        del form
        assert names() is None
    finally:
        gc.enable()


def test_long_names_and_long_lists_of_names_are_not_remembered():
    form = relaxed()
    who = Signatory(KEY, "s", "d.example", "@d.example")
    before = signature._folded_names.cache_info().currsize
    block = b"From: a@d.example\r\n" + b"x" * 50_000 + b": y\r\n" + b"To: b\r\n" * 1000
    made = draft(form, who, block, BodyHash(b"", 0), 0)
    assert made.text.count(b"to") == 1000
    assert signature._folded_names.cache_info().currsize == before
    assert sorted(form.names) == [b"From", b"To"]


@pytest.mark.parametrize(
    "piece",
    [b"from ", b"from:\r\n ", b"\r\nfrom \r\n ", b"\r\n ", b"\r", b"from:", b"from:\r\n",
     b" ", b"\t", b"to :\r\n", b"to\r\n :", b":"],
)  # fmt: skip
@pytest.mark.parametrize("start", [b"", b"From: "])
def test_a_header_block_made_to_take_long_does_not(piece, start):
    block = start + piece * (200_000 // len(piece)) + b"\r\n"
    signed = [one for one in reversed(fields(block)) if one.name in (b"from", b"to")]
    form = relaxed()
    names, forms = selected("relaxed", block, form.names)
    assert names == [one.name for one in signed]
    assert forms == [relaxed_field(one.octets) + b"\r\n" for one in signed]
    authors = [one for one in reversed(fields(block)) if one.name == b"from"]
    assert len(Authors.of(block).froms) == len(authors)
