"""RFC 6376 and RFC 8463: their canonical forms, and their signed messages byte for byte."""

import base64
import re

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mta.signing.canonical import BODIES, fields, relaxed_field, selected
from mta.signing.keys import parse_key
from mta.signing.signature import BodyForm, BodyHasher
from tests.conftest import ROOT
from tests.dkim_forms import covered

DATA = ROOT / "tests" / "data" / "dkim"
SEED = base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
"""The Ed25519 key of RFC 8463 appendix A.1."""
BRISBANE = (
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFC"
    "jxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9"
    "tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
)
"""The public key of RFC 6376 appendix C."""


def ed25519_key():
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    return parse_key(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def rsa_key(name):
    return parse_key((DATA / name).read_bytes())


class Octets(list):
    update = list.append


def canonical(kind, body):
    found = Octets()
    hasher = BODIES[kind](found)
    hasher.update(body)
    hasher.finish()
    return b"".join(found)


class TestSection3Canonicalization:
    BLOCK = b"A: X \r\nB : Y\t\r\n\tZ  \r\n"
    BODY = b" C \r\nD \t E\r\n\r\n\r\n"

    def test_relaxed(self):
        assert [relaxed_field(f.octets) for f in fields(self.BLOCK)] == [b"a:X", b"b:Y Z"]
        names = {b"A": b"a", b"B": b"b"}
        assert selected("relaxed", self.BLOCK, names) == ([b"b", b"a"], [b"b:Y Z\r\n", b"a:X\r\n"])
        assert canonical("relaxed", self.BODY) == b" C\r\nD E\r\n"

    @pytest.mark.parametrize(
        "indentation", [b"", b" ", b"  ", b"   ", b"\t", b" " * 9, b" \t" * 40]
    )
    @pytest.mark.parametrize("middle", [b"", b" ", b"  ", b"\t", b" " * 3, b"\t" * 17])
    @pytest.mark.parametrize("end", [b"", b" ", b"\t", b" \t", b" " * 8])
    def test_relaxed_is_the_same_in_whatever_way_it_is_come_by(self, indentation, middle, end):
        line = indentation + b"a" + middle + b"b" + end + b"\r\n"
        body = line + end + b"\r\n" + line * 3
        shortened = re.sub(rb"[ \t]+", b" ", body)
        assert canonical("relaxed", body) == re.sub(rb" +(?=\r\n)", b"", shortened)

    def test_simple(self):
        assert b"".join(f.octets for f in fields(self.BLOCK)) == self.BLOCK
        assert canonical("simple", self.BODY) == b" C \r\nD \t E\r\n"

    @pytest.mark.parametrize(
        ("kind", "digest"),
        [
            ("simple", "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="),
            ("relaxed", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        ],
    )
    @pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n\r\n"])
    def test_the_hash_of_an_empty_body(self, kind, digest, body):
        hasher = BodyHasher(BodyForm(kind, "sha256"))
        hasher.update(body)
        assert hasher.finish().digest == digest.encode()


@pytest.mark.parametrize(
    ("message", "number", "key", "body_canon", "headers_canon"),
    [
        ("rfc6376.eml", 0, rsa_key("rfc6376.pem"), "simple", "simple"),
        ("rfc8463.eml", 0, ed25519_key(), "relaxed", "relaxed"),
        ("rfc8463.eml", 1, rsa_key("rfc8463.pem"), "relaxed", "relaxed"),
    ],
    ids=["RFC 6376 A.2", "RFC 8463 A.3 Ed25519", "RFC 8463 A.3 RSA"],
)
def test_the_signature_printed_in_the_standard(message, number, key, body_canon, headers_canon):
    content = (DATA / message).read_bytes().replace(b"\n", b"\r\n")
    head, body = re.split(rb"(?<=\r\n)\r\n", content, maxsplit=1)
    found = fields(head)
    printed = [f for f in found if f.name == b"dkim-signature"][number].octets.rstrip(b"\r\n")
    tags = dict(re.findall(rb"([a-z]+)=(.*?)\s*(?:;|$)", printed, re.DOTALL))
    tags = {name: re.sub(rb"\s", b"", value) for name, value in tags.items()}

    hasher = BodyHasher(BodyForm(body_canon, "sha256"))
    hasher.update(body)
    assert hasher.finish().digest == tags[b"bh"]

    unsigned = re.sub(rb"(?<=[ ;]b=)[^;]*", b"", printed)
    octets = covered(headers_canon, head, tags[b"h"].lower().split(b":"), unsigned)
    algorithm = tags[b"a"].decode()
    assert base64.b64encode(key.sign(algorithm, octets)) == tags[b"b"]


def test_the_record_of_the_key_of_rfc_6376():
    assert rsa_key("rfc6376.pem").record == f"v=DKIM1; k=rsa; p={BRISBANE}"


def test_the_record_of_the_key_of_rfc_8463():
    record = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    assert ed25519_key().record == record
