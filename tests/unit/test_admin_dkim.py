"""`mta dkim`: keys made, their records, and what keeps a receiver from verifying with them."""

import re
import stat

import pytest

from mta.admin import dkim
from mta.admin.dkim import DkimError
from mta.admin.protocol import Exit
from mta.settings.domain import DomainSettings
from mta.signing import keys
from mta.signing.signature import BodyHasher, Signatory, SignatureForm, signature

KEY = keys.new_key("rsa-2048")
NAME = "s1._domainkey.example.com."
HEAD = b"From: a@example.com\r\nSubject: x\r\n\r\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(KEY.pem())
    path.chmod(0o600)
    return str(path)


def zone(text):
    """What a zone file holds, as DNS would answer it."""
    return {
        name: ["".join(re.findall(r'"([^"]*)"', value))]
        for name, value in re.findall(r"^(\S+) IN TXT (\((?:.|\n)*?\)|.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("kind", ["rsa-2048", "rsa-4096", "ed25519"])
def test_a_key_that_is_generated_is_safe_and_fits_the_record_that_is_printed(tmp_path, kind):
    path = tmp_path / "new.pem"
    made = dkim.generate("s1", "Example.com", kind, str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"domain-key s1,example.com,{path}" in made.text
    assert ("second-dkim-algorithm ed25519-sha256" in made.text) == (kind == "ed25519")
    published = zone(made.text)
    assert list(published) == [NAME]
    for string in re.findall(r'"([^"]*)"', made.text):
        assert len(string) <= 255
    checked = dkim.check(str(path), "s1", "example.com", published.get)
    assert checked.text.endswith(f"{NAME} publishes this key\n")
    assert checked.exit is Exit.DONE


def test_generate_overwrites_nothing(file):
    with pytest.raises(DkimError, match="File exists"):
        dkim.generate("s1", "example.com", "ed25519", file)


@pytest.mark.parametrize(
    ("selector", "domain"), [("a b", "example.com"), ("s1", "exa mple"), ("s;x", "example.com")]
)
def test_a_name_that_cannot_be_in_dns_is_refused(selector, domain, tmp_path):
    with pytest.raises(DkimError):
        dkim.generate(selector, domain, "ed25519", str(tmp_path / "k"))


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ([], "is not in DNS"),
        (["v=DKIM1; p="], "revokes the key"),
        (["v=DKIM1; p=abc"], "publishes another key"),
        ([f"v=DKIM2; p={KEY.public}"], "v=DKIM2"),
        ([f"v=DKIM1; k=ed25519; p={KEY.public}"], "k=ed25519"),
        ([f"v=DKIM1; h=sha1; p={KEY.public}"], "h=sha1"),
        ([f"v=DKIM1; s=other; p={KEY.public}"], "s=other"),
        ([KEY.record, KEY.record], "2 TXT records"),
        ([f"p={KEY.public}"], ""),
        ([f"v=DKIM1; h=sha1:sha256; s=email; t=y; p={KEY.public[:40]} {KEY.public[40:]}"], ""),
    ],
)
def test_check_compares_a_key_with_its_record(file, found, problem):
    checked = dkim.check(file, "s1", "example.com", lambda name: found if name == NAME else [])
    assert checked.exit is (Exit.REFUSED if problem else Exit.DONE)
    assert problem in checked.text
    assert ("what it should say" in checked.text) == bool(problem)


def test_check_of_a_key_needs_its_name(file):
    with pytest.raises(DkimError, match="selector and domain"):
        dkim.check(file, "", "", lambda _: [])


def test_check_of_a_message_names_each_signature(tmp_path):
    form = SignatureForm.of(DomainSettings(dkim_sign="yes"), "dkim_")
    hasher = BodyHasher(form.body)
    hasher.update(b"text\r\n")
    who = Signatory(KEY, "s1", "example.com", "a@example.com")
    good = signature(form, who, HEAD, hasher.finish(), 0)
    bad = signature(form, who, HEAD, BodyHasher(form.body).finish(), 0)
    path = tmp_path / "message.eml"
    path.write_bytes((good + bad + HEAD + b"text\r\n").replace(b"\r\n", b"\n"))
    checked = dkim.check(str(path), "", "", {NAME: [KEY.record]}.get)
    one, two = checked.text.splitlines()
    assert one == "s=s1 d=example.com i=a@example.com a=rsa-sha256: pass"
    assert "FAIL: body hash mismatch" in two
    assert checked.exit is Exit.REFUSED
    path.write_bytes(good + HEAD + b"text\r\n")
    assert dkim.check(str(path), "", "", {NAME: [KEY.record]}.get).exit is Exit.DONE
    assert "FAIL" in dkim.check(str(path), "", "", lambda _: []).text
    path.write_bytes(HEAD)
    assert "no DKIM-Signature" in dkim.check(str(path), "", "", lambda _: []).text


def test_dns_prints_the_records_of_all_keys(tmp_path, file):
    config = tmp_path / "config"
    config.write_text(
        f"domain-key s1,example.com,{file}\n"
        "<virtual-mta v>\ndomain-key s2,*,key.pem\n</virtual-mta>\n"
        "<domain-key-list l>\ndomain-key {selector},*,{domain}.pem\n</domain-key-list>\n"
    )
    printed = dkim.records(str(config))
    assert zone(printed.text) == {NAME: [KEY.record], "s2._domainkey": [KEY.record]}
    assert "{domain}.pem" in printed.text
    assert printed.exit is Exit.DONE
    config.write_text("domain-key s1,example.com,gone.pem\n")
    printed = dkim.records(str(config))
    assert "gone.pem: there is no such file" in printed.text
    assert printed.exit is Exit.REFUSED
    config.write_text("domain-key nonsense\n")
    with pytest.raises(DkimError, match="mta check"):
        dkim.records(str(config))


@pytest.mark.parametrize("text", ["nowhere", "1.2.3", "127.0.0.1:x"])
def test_a_name_server_is_an_address(text):
    with pytest.raises(DkimError):
        dkim.name_server(text)


def test_a_selector_and_a_domain_the_wrong_way_round_make_no_key(tmp_path):
    path = tmp_path / "new.pem"
    with pytest.raises(DkimError, match="s1 is no domain; the selector comes first"):
        dkim.generate("example.com", "s1", "ed25519", str(path))
    assert not path.exists()
