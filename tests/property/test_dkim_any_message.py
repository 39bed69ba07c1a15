"""Whatever a message looks like, dkimpy verifies what we signed, and OpenDKIM a sample of it.

`PETREL_DKIM_MESSAGES` says how many; `PETREL_SEED` repeats an earlier run.
"""

import base64
import contextlib
import os
import random
import re
import subprocess
import time
from dataclasses import replace

import dkim
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from hypothesis import given
from hypothesis import strategies as st

from mta.address import is_valid
from mta.settings.domain import DomainSettings
from mta.signing import keys
from mta.signing.canonical import fields, relaxed_field, selected
from mta.signing.identity import Authors, is_within, key_text, parse_options
from mta.signing.signature import (
    BodyForm,
    BodyHasher,
    Signatory,
    SignatureForm,
    signature,
)
from tests.conftest import ROOT, require
from tests.dkim_forms import covered

COUNT = int(os.environ.get("PETREL_DKIM_MESSAGES", "300"))
SEED = int(os.environ.get("PETREL_SEED", "1"))
OPENDKIM_COUNT = 40
RSA = keys.parse_key((ROOT / "tests/data/dkim/rfc6376.pem").read_bytes())
ED25519 = keys.new_key("ed25519")
NAMES = (
    b"To", b"Cc", b"Subject", b"SUBJECT", b"Date", b"Message-ID", b"MIME-Version", b"X-Track",
    b"Content-Type", b"content-transfer-encoding", b"Received", b"List-Unsubscribe", b"Comments",
    b"References", b"X", b"Return-Path", b"Sender", b"X;y",
)  # fmt: skip
NO_FIELDS = (
    b"", b" no field: x\r\n", b"no field\r\n: x\r\n", b"Subject\r\n : x\r\n", b"To\r\n\t\t: x\r\n",
    b"To\r\n \r\n :x\r\nSubject : y\r\n",
)  # fmt: skip
PIECES = (
    b"a", b"word", b" ", b"  ", b"\t", b" \t ", b"\r\n", b"\r\n", b"\r\n\r\n", b".", b"\r\n.",
    b"\xc3\xa9", b"\xff\x00"[:1], b"x" * 1500, b"=", b";", b":", b"b=abc;", b"From ", b"-- ",
)  # fmt: skip
OVER_SIGNED = (
    (), ("From", "Subject"), ("X-Absent", "To"), ("X-Track", "x"), ("X-TRACK", "Received", "X;y"),
)  # fmt: skip
FOLDS = (b"\r\n ", b"\r\n\t", b"\r\n  \t", b" \r\n ")


def value(rng):
    words = []
    for _ in range(rng.randrange(9)):
        words.append(rng.choice(PIECES).replace(b"\r\n", b""))
        if rng.random() < 0.3:
            words.append(rng.choice(FOLDS) + rng.choice((b"x", b"yz ", b"\xc3\xbc")))
    return rng.choice((b"", b" ", b"  ", b"\t")) + b"".join(words) + rng.choice((b"", b" ", b"\t"))


def message(rng):
    """A header block with its empty line, and a body."""
    block = [rng.choice(NAMES) + b":" + value(rng) + b"\r\n" for _ in range(rng.randrange(14))]
    block.insert(rng.randrange(len(block) + 1), b"From: News <news@sender.example>\r\n")
    body = b"".join(rng.choice(PIECES) for _ in range(rng.randrange(40)))
    body = rng.choice((b"", b"\r\n" * rng.randrange(5), body))
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    return b"".join(block) + b"\r\n", body


def settings(rng):
    return DomainSettings(
        dkim_sign="yes",
        dkim_algorithm=rng.choice(("rsa-sha256", "rsa-sha256", "ed25519-sha256")),
        dkim_body_canon=rng.choice(("simple", "relaxed")),
        dkim_headers_canon=rng.choice(("simple", "relaxed")),
        dkim_headers=rng.choice(((), ("X-Track",), ("/^x/",))),
        dkim_disallow_adding_headers=rng.choice(OVER_SIGNED),
        dkim_add_body_limit=rng.random() < 0.3,
        dkim_add_timestamp=rng.random() < 0.3,
        dkim_expire_after=rng.choice((None, 3600)),
        dkim_query_method=rng.choice(("", "dns/txt")),
    )


def sign(rng, chosen, head, body):
    """The signature field, the body having come in pieces."""
    form = SignatureForm.of(chosen, "dkim_")
    hasher = BodyHasher(form.body)
    at = 0
    while at < len(body):
        size = rng.choice((1, 2, 3, 7, 100, 5000))
        hasher.update(body[at : at + size])
        at += size
    key = RSA if form.key_type == "rsa" else ED25519
    identity = rng.choice(("@sender.example", "news@sender.example", 'a+b="x"@sub.sender.example'))
    who = Signatory(key, form.key_type, "sender.example", identity)
    return signature(form, who, head, hasher.finish(), int(time.time()))


def record(name, timeout=5):
    return (RSA if name.startswith(b"rsa") else ED25519).record.encode()


def test_every_message_verifies_with_dkimpy():
    for number in range(COUNT):
        rng = random.Random(f"{SEED}/{number}")
        head, body = message(rng)
        chosen = settings(rng)
        content = sign(rng, chosen, head, body) + head + body
        if rng.random() < 0.2:  # one signature over another
            second = sign(rng, settings(rng), content[: content.find(b"\r\n\r\n") + 4], body)
            content = second + content
            assert dkim.DKIM(content).verify(idx=1, dnsfunc=record), (SEED, number)
        verifier = dkim.DKIM(content, minkey=1024)
        assert verifier.verify(dnsfunc=record), (SEED, number)


def test_fields_together_have_the_form_that_each_has_alone():
    for number in range(COUNT):
        rng = random.Random(f"{SEED}/{number}")
        head, _ = message(rng)
        head = rng.choice(NO_FIELDS) + head
        form = SignatureForm.of(settings(rng), "dkim_")
        signed = [one for one in reversed(fields(head)) if form.names[one.name]]
        names, forms = selected("relaxed", head, form.names)
        assert names == [one.name for one in signed], (SEED, number)
        assert forms == [relaxed_field(one.octets) + b"\r\n" for one in signed], (SEED, number)
        names, forms = selected("simple", head, form.names)
        assert names == [one.name for one in signed], (SEED, number)
        assert forms == [one.octets for one in signed], (SEED, number)


def test_a_change_of_what_is_signed_is_noticed():
    """The other side of it: dkimpy does not simply say yes."""
    for number in range(50):
        rng = random.Random(f"{SEED}/{number}")
        head, body = message(rng)
        content = sign(rng, DomainSettings(dkim_sign="yes"), head, b"text\r\n" + body)
        changed = head.replace(b"From: News", b"From: Old")
        assert not dkim.verify(content + changed + b"text\r\n" + body, dnsfunc=record)
        assert not dkim.verify(content + head + b"taxt\r\n" + body, dnsfunc=record)


@given(st.binary(max_size=300))
def test_any_octets_have_an_address_or_none(octets):
    block = b"Sender:" + octets.replace(b"\r", b"").replace(b"\n", b"\r\n ") + b"\r\n"
    found = Authors.of(block).identity("sender-or-from")
    assert not found or is_valid(found)
    with contextlib.suppress(ValueError):
        key_text(block)


@given(st.lists(st.sampled_from(["s=", "d=", "i=", "q=", "key-list=", ";", "@", "x", ".a"])))
def test_any_options_make_sense_or_are_refused(parts):
    found = parse_options("".join(parts))
    if not isinstance(found, str) and found.identity and found.domain:
        assert is_within(found.identity.rpartition("@")[2], found.domain)


@pytest.fixture
def opendkim(tmp_path):
    require("opendkim", "opendkim-testmsg")
    (tmp_path / "keys").write_text(f"rsa._domainkey.sender.example {RSA.record}\n")
    (tmp_path / "conf").write_text(f"Mode v\nSyslog no\nTestPublicKeys {tmp_path}/keys\n")
    return tmp_path


def plain_message(rng):
    """What OpenDKIM takes: each field once, a Date, one blank after each colon, short lines."""
    _, body = message(rng)
    block = [b"Date: Fri, 11 Jul 2003 21:00:37 -0700\r\n", b"From: a@sender.example\r\n"]
    for name in rng.sample((b"Subject", b"X-Track", b"Received", b"Comments"), 3):
        text = value(rng).strip().replace(b"x" * 1500, b"x" * 700)
        block.append(name + b": " + text + b"\r\n")
    return b"".join(block) + b"\r\n", body.replace(b"x" * 1500, b"x" * 700)


def test_a_sample_verifies_with_opendkim(opendkim):
    names = []
    for number in range(OPENDKIM_COUNT):
        rng = random.Random(f"{SEED}/{number}")
        chosen = replace(settings(rng), dkim_algorithm="rsa-sha256")
        simple = chosen.dkim_headers_canon == "simple"
        head, body = plain_message(rng) if simple else message(rng)
        path = opendkim / f"{number}.eml"
        path.write_bytes(sign(rng, chosen, head, body) + head + body)
        names.append(str(path))
    command = ["/usr/sbin/opendkim", "-x", str(opendkim / "conf"), "-t", ",".join(names), "-v"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert len(re.findall("verification .*succeeded", said)) == len(names), said


def test_what_opendkim_signs_is_over_the_octets_our_forms_give(opendkim):
    """The other way. It signs with rsa-sha1, relaxed/simple."""
    pem = opendkim / "key.pem"
    pem.write_bytes((ROOT / "tests/data/dkim/rfc6376.pem").read_bytes())
    pem.chmod(0o600)
    public = serialization.load_der_public_key(base64.b64decode(RSA.public))
    for number in range(20):
        rng = random.Random(f"{SEED}/{number}")
        head, body = plain_message(rng)
        command = ["opendkim-testmsg", "-C", "-d", "sender.example", "-s", "rsa", "-k", str(pem)]
        done = subprocess.run(
            command, input=head + body, capture_output=True, timeout=60, check=True
        )
        signed = fields(done.stdout[: -len(head + body)])[0].octets.rstrip(b"\r\n")
        tags = dict(re.findall(rb"([a-z]+)=(.*?)\s*(?:;|$)", signed, re.DOTALL))
        hasher = BodyHasher(BodyForm("simple", "sha1"))
        hasher.update(body)
        assert hasher.finish().digest == tags[b"bh"], (SEED, number)
        named = re.sub(rb"\s", b"", tags[b"h"]).lower().split(b":")
        unsigned = re.sub(rb"(\tb=).*", rb"\1", signed, flags=re.DOTALL)
        octets = covered("relaxed", head, named, unsigned)
        public.verify(
            base64.b64decode(re.sub(rb"\s", b"", tags[b"b"])), octets, PKCS1v15(), hashes.SHA1()
        )
