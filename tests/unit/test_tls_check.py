"""What of TLS cannot be used is said at its line before any connection needs it."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from mta.admin.tls_check import check_tls
from mta.sim.certificate import self_signed
from tests.texts import HEAD, configured


def problems(directive, scope="domain *"):
    text = f"{HEAD}<virtual-mta v1>\n<{scope}>\n{directive}\n</domain>\n</virtual-mta>\n"
    return [str(one) for one in check_tls(configured(text))]


@pytest.fixture
def certificate():
    return self_signed().tls_certificate


def test_what_can_be_used_is_not_spoken_of(certificate):
    for directive in (
        f"smtp-tls-ca-file {certificate}",
        f"smtp-client-certificate {certificate}",
        "smtp-tls-ciphers HIGH:!aNULL",
        "smtp-tls-ciphers DEFAULT:@SECLEVEL=0",
        "max-smtp-out 3",
    ):
        assert problems(directive) == []


@pytest.mark.parametrize("directive", ["smtp-tls-ca-file", "smtp-client-certificate"])
def test_files_that_are_not_there_or_hold_something_else_are_named(directive, tmp_path):
    line = len(HEAD.splitlines()) + 3
    (missing,) = problems(f"{directive} {tmp_path}/none.pem")
    assert f":{line}:" in missing
    assert f"{directive} {tmp_path}/none.pem cannot be read: No such file" in missing
    other = tmp_path / "other.pem"
    other.write_text("no certificate\n")
    (wrong,) = problems(f"{directive} {other}")
    assert f"{directive} {other} cannot be used: it holds no certificate" in wrong


def test_for_the_password_of_a_key_nobody_is_asked_at_the_terminal(certificate, tmp_path):
    locked = tmp_path / "locked.pem"
    key = serialization.load_pem_private_key(Path(certificate).read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"secret")
    pkcs8 = serialization.PrivateFormat.PKCS8
    locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, secret))
    with locked.open("ab") as file:
        file.write(Path(certificate).read_bytes().partition(b"-----BEGIN PRIVATE")[0])
    assert problems(f"smtp-client-certificate {locked} secret") == []
    for password in ("", "another"):
        (wrong,) = problems(f"smtp-client-certificate {locked} {password}")
        assert f"{locked} cannot be used" in wrong


def test_a_list_of_ciphers_that_names_none_is_told():
    (one,) = problems("smtp-tls-ciphers NO-SUCH-CIPHER")
    assert "smtp-tls-ciphers NO-SUCH-CIPHER cannot be used: no cipher has that name" in one


def test_a_private_key_that_others_may_read_is_named(certificate, tmp_path):
    path = tmp_path / "pair.pem"
    path.write_bytes(Path(certificate).read_bytes())
    listener = f"<smtp-listener 127.0.0.1:2525>\ntls-certificate {path}\n</smtp-listener>\n"
    for mode, is_told in ((0o644, True), (0o640, True), (0o600, False)):
        path.chmod(mode)
        of_client = problems(f"smtp-client-certificate {path}")
        of_listener = [str(one) for one in check_tls(configured(HEAD + listener))]
        for found in (of_client, of_listener):
            assert len(found) == is_told
            assert all("others than its owner may read it; chmod 600" in one for one in found)


def test_what_keeps_a_listener_from_starting_is_told(certificate):
    def told(*lines):
        text = "\n".join(lines)
        section = f"<smtp-listener 127.0.0.1:2525>\n{text}\n</smtp-listener>\n"
        return [str(one) for one in check_tls(configured(HEAD + section))]

    assert told(f"tls-certificate {certificate}") == []
    (missing,) = told("tls-certificate /none.pem")
    assert "/none.pem cannot be used" in missing
    assert missing.endswith("the daemon does not start so")
    (forbidden,) = told(
        f"tls-certificate {certificate}", "tls-allow-tlsv1.2 no", "tls-allow-tlsv1.3 no"
    )
    assert "every version of TLS is forbidden" in forbidden
