import base64
import hashlib
import hmac

import pytest

from mta.daemon.accounts import WRONG
from mta.model.secret import ClearSecret, parse_secret, scram_of, scrypt_of
from mta.smtp import sasl
from mta.smtp.server import ERRORS_MAX, Server, Step
from tests.conformance.test_rfc5321_server import Policy, Settings

SALT = b"0123456789abcdef"
SECRETS = {
    "anna": ClearSecret("pencil"),
    "otto": scrypt_of("pencil", SALT, ln=4),
    "ida": scram_of("pencil", SALT),
}


class Accounts:
    def secret(self, user):
        return SECRETS.get(user, ClearSecret("nobody's"))

    def scram_salt(self, user):
        return SALT, 4096

    def scram_keys(self, user, salt, iterations):
        secret = self.secret(user)
        if isinstance(secret, ClearSecret):
            return scram_of(secret.text, salt, iterations=iterations)
        return secret if user == "ida" else scram_of("nobody's", salt)

    def named_by(self, certificate):
        return "anna" if certificate == b"anna's" else ""


class Known(Policy):
    def __init__(self, offered=sasl.MECHANISMS, certificate=b""):
        self._offered = offered
        self._certificate = certificate

    def mechanisms(self):
        return self._offered

    def begin_auth(self, mechanism):
        return sasl.begin(
            mechanism, Accounts(), nonce="n1", host="mx.example", certificate=self._certificate
        )


def greeted(**policy):
    smtp = Server(Known(**policy), Settings(), "mx.example")
    smtp.receive(b"EHLO c.example")
    return smtp


def say(smtp, line):
    """The reply to a line; a claim is checked as the shell would."""
    reply, step = smtp.receive(line)
    if step is Step.VERIFY:
        refusal = None if smtp.claim.check() else WRONG
        reply, step = smtp.verified(refusal)
    return reply, step


def b64(octets):
    return base64.b64encode(octets)


def test_mechanisms_are_listed():
    reply, _ = Server(Known(), Settings(), "mx.example").receive(b"EHLO c.example")
    assert reply.lines[-1] == "AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN EXTERNAL"


@pytest.mark.parametrize("user", ["anna", "otto", "ida"])
def test_plain_with_each_kind_of_secret(user):
    smtp = greeted()
    reply, step = say(smtp, b"AUTH PLAIN " + b64(f"\0{user}\0pencil".encode()))
    assert (reply.code, step, smtp.user) == (235, Step.AUTHENTICATED, user)


def test_plain_in_two_steps():
    smtp = greeted()
    assert say(smtp, b"AUTH PLAIN")[0].code == 334
    assert say(smtp, b64(b"anna\0anna\0pencil"))[0].code == 235


@pytest.mark.parametrize("lines", [[b"AUTH LOGIN", b64(b"anna")], [b"AUTH LOGIN " + b64(b"anna")]])
def test_login(lines):
    smtp = greeted()
    for line in lines:
        assert say(smtp, line)[0].code == 334
    assert say(smtp, b64(b"pencil"))[0].code == 235
    assert smtp.user == "anna"


def test_cram_md5():
    smtp = greeted()
    challenge = base64.b64decode(say(smtp, b"AUTH CRAM-MD5")[0].lines[0])
    digest = hmac.new(b"pencil", challenge, hashlib.md5).hexdigest()
    assert say(smtp, b64(f"anna {digest}".encode()))[0].code == 235


def scram(smtp, user, password, *, binding=b"n,,", gs2=b"n,,"):
    """The client's side of RFC 5802, and the replies."""
    bare = f"n={user},r=client"
    first = base64.b64decode(
        say(smtp, b"AUTH SCRAM-SHA-256 " + b64(gs2 + bare.encode()))[0].lines[0]
    )
    parts = dict(item.split("=", 1) for item in first.decode().split(","))
    salted = hashlib.pbkdf2_hmac(
        "sha256", password.encode(), base64.b64decode(parts["s"]), int(parts["i"])
    )
    without = f"c={b64(binding).decode()},r={parts['r']}"
    message = f"{bare},{first.decode()},{without}".encode()
    key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
    proof = b64(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
    reply, _ = say(smtp, b64(f"{without},p={proof}".encode()))
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return reply, b"v=" + b64(hmac.digest(server_key, message, "sha256"))


@pytest.mark.parametrize("user", ["anna", "ida"])
def test_scram_convinces_both_sides(user):
    smtp = greeted()
    reply, expected = scram(smtp, user, "pencil")
    assert reply.code == 334
    assert base64.b64decode(reply.lines[0]) == expected
    assert smtp.user == ""
    reply, step = say(smtp, b"")
    assert (reply.code, step, smtp.user) == (235, Step.AUTHENTICATED, user)


def test_scram_takes_an_identity_that_is_the_user():
    smtp = greeted()
    reply, _ = scram(smtp, "anna", "pencil", binding=b"n,a=anna,", gs2=b"n,a=anna,")
    assert reply.code == 334


@pytest.mark.parametrize(
    ("user", "password", "binding"),
    [("anna", "pen", b"n,,"), ("nobody", "pencil", b"n,,"), ("otto", "pencil", b"n,,"),
     ("anna", "pencil", b"y,,")],
    ids=["password", "user", "no keys", "another binding"],
)  # fmt: skip
def test_scram_refuses(user, password, binding):
    reply, _ = scram(greeted(), user, password, binding=binding)
    assert reply.code == 535


def test_external_is_the_name_of_the_certificate():
    assert say(greeted(certificate=b"anna's"), b"AUTH EXTERNAL =")[0].code == 235
    assert say(greeted(certificate=b"anna's"), b"AUTH EXTERNAL " + b64(b"otto"))[0].code == 535
    assert say(greeted(), b"AUTH EXTERNAL =")[0].code == 535


@pytest.mark.parametrize("user", ["anna", "otto", "ida", "nobody", ""])
def test_a_wrong_password_and_a_wrong_user_are_told_the_same(user):
    smtp = greeted()
    assert say(smtp, b"AUTH PLAIN " + b64(f"\0{user}\0wrong".encode())) == (WRONG, Step.GO_ON)
    assert smtp.user == ""


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"AUTH PLAIN " + b64(b"no nul"), 501),
        (b"AUTH PLAIN " + b64(b"root\0anna\0pencil"), 535),
        (b"AUTH PLAIN " + b64(b"\0an\xff\0pencil"), 501),
        (b"AUTH PLAIN not!base64", 501),
        (b"AUTH PLAIN *", 501),
        (b"AUTH CRAM-MD5 " + b64(b"x"), 501),
        (b"AUTH SCRAM-SHA-256 " + b64(b"p=tls-unique,,n=a,r=b"), 501),
        (b"AUTH SCRAM-SHA-256 " + b64(b"n,,m=x,n=a,r=b"), 501),
        (b"AUTH SCRAM-SHA-256 " + b64(b"n,a=root,n=anna,r=b"), 535),
        (b"AUTH SCRAM-SHA-256 " + b64(b"n,a=ann=61,n=anna,r=b"), 501),
        (b"AUTH GSSAPI", 504),
        (b"AUTH", 504),
    ],
)
def test_what_is_malformed_ends_the_exchange(line, code):
    smtp = greeted()
    assert say(smtp, line)[0].code == code
    assert not smtp.is_in_exchange
    assert say(smtp, b"NOOP")[0].code == 250


def test_where_it_may_stand():
    assert Server(Known(), Settings(), "mx.example").receive(b"AUTH PLAIN")[0].code == 503
    smtp = greeted()
    say(smtp, b"AUTH PLAIN " + b64(b"\0anna\0pencil"))
    assert say(smtp, b"AUTH PLAIN " + b64(b"\0anna\0pencil"))[0].code == 503
    assert say(smtp, b"STARTTLS")[0].code in (502, 503)
    smtp = greeted()
    say(smtp, b"MAIL FROM:<a@b.example>")
    assert say(smtp, b"AUTH PLAIN")[0].code == 503


def test_nothing_is_offered_is_nothing_available():
    smtp = greeted(offered=())
    assert say(smtp, b"AUTH PLAIN " + b64(b"\0anna\0pencil"))[0].code == 504


def test_guessing_ends_the_connection():
    smtp = greeted()
    for _ in range(ERRORS_MAX - 1):
        assert say(smtp, b"AUTH PLAIN " + b64(b"\0anna\0wrong"))[0].code == 535
    assert say(smtp, b"AUTH PLAIN " + b64(b"\0anna\0wrong"))[1] is Step.END


def test_a_hash_reads_back_as_itself():
    for user in ("otto", "ida"):
        assert parse_secret(str(SECRETS[user])) == SECRETS[user]


@pytest.mark.parametrize(
    "text", ["{scrypt}", "{scrypt}ln=40,r=8,p=1$AA==$AA==", "{SCRAM-SHA-256}1,AA==,AA==,AA==",
             "{scrypt}ln=14,r=8,p=1$!$!"],
)  # fmt: skip
def test_a_hash_that_is_none_is_an_error(text):
    with pytest.raises(ValueError, match="expected"):
        parse_secret(text)


def test_another_spelling_of_a_letter_is_the_same_password():
    assert sasl.matches(ClearSecret("caf\u00e9"), "cafe\u0301")
