"""What each dkim directive does to the signature, from configuration text to the octets sent."""

import asyncio
import os
import re

import dkim
import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from mta.config.load import load
from mta.daemon.signing import Signer
from mta.daemon.signing_threads import Threads
from mta.model.message import Envelope, FileContent
from mta.model.queue_key import QueueKey
from mta.signing import keys
from mta.signing.check import check_signing
from mta.smtp.head import Head
from tests.texts import Texts

KEYS = {
    "rsa": keys.new_key("rsa-2048"),
    "other": keys.new_key("rsa-1024"),
    "ed": keys.new_key("ed25519"),
}
NOW = 1_700_000_000
MESSAGE = (
    b"From: News <news@mail.sender.example>\r\nTo: a@example.com\r\nTo: b@example.com\r\n"
    b"Subject:  two  blanks\r\nX-Track: 7\r\nComments: none\r\n\r\nHello \t there. \r\n\r\n\r\n"
)


class Site:
    """A configuration with keys in files, and the messages signed under it."""

    def __init__(self, directory, text):
        self.directory = directory
        self.logged = []
        for name, key in KEYS.items():
            path = directory / f"{name}.pem"
            if not path.exists():
                path.write_bytes(key.pem())
                path.chmod(0o600)
        path = f"{directory}/config"
        loaded = load(path, Texts({path: text}), host_name="h.example")
        self.diagnostics = loaded.diagnostics
        self.configuration = loaded.configuration
        assert self.configuration, loaded.diagnostics
        self.threads = Threads(self.logged.append, 0)
        self.signer = Signer(self.configuration, self.threads, self.logged.append)

    async def signed(self, content=MESSAGE, vmta="v1", *, added=b"", number=64, **envelope):
        """What would be sent."""
        size = content.find(b"\r\n\r\n") + 4
        known = Envelope(
            message_id=number, mail_from="", time_queued=0, size=len(content), head_size=size,
            **envelope,
        )  # fmt: skip
        head = await self.signer.sign(
            QueueKey("example.com", vmta), known, Head(added, 0), content[:size], content
        )
        return head.octets + content[head.skip :]

    async def tags(self, *args, **named):
        """The tags of each signature, all of which verify."""
        return verified(await self.signed(*args, **named))

    async def who(self, *args, **named):
        """`selector/domain/identity` of each signature."""
        found = await self.tags(*args, **named)
        return [f"{tags['s']}/{tags['d']}/{tags['i']}" for tags in found]


def verified(message):
    found = []
    head = message.partition(b"\r\n\r\n")[0]
    for index in range(len(re.findall(rb"^DKIM-Signature:", head, re.MULTILINE))):
        verifier = dkim.DKIM(message, minkey=1024)
        assert verifier.verify(idx=index, dnsfunc=record), message
        tags = {name.decode(): text.decode() for name, text in verifier.signature_fields.items()}
        found.append({name: re.sub(r"\s", "", text) for name, text in tags.items()})
    return found


def record(name, timeout=5):
    """Selectors begin with the name of a key."""
    selector = re.match(rb"[a-z]+", name)[0].decode()
    return KEYS[selector].record.encode()


@pytest.fixture
async def site(tmp_path):
    opened = []

    def open_site(text, domain=""):
        head = "" if "<domain *>" in text else f"<domain *>\ndkim-sign yes\n{domain}\n</domain>\n"
        vmta = "" if "<virtual-mta v1>" in text else "<virtual-mta v1>\n</virtual-mta>\n"
        opened.append(Site(tmp_path, text + "\n" + vmta + head))
        return opened[-1]

    yield open_site
    for one in opened:
        one.threads.close()
    await asyncio.sleep(0)  # what is closed is closed at the end of this turn


GLOBAL = "domain-key rsa, sender.example, rsa.pem"


# Whose key


async def test_nothing_is_signed_unless_dkim_sign_says_so(site):
    assert await site(GLOBAL + "\n<domain *>\n</domain>").tags() == []
    assert len(await site(GLOBAL).tags()) == 1


async def test_a_key_of_a_parent_domain_signs_for_the_address_in_from(site):
    assert await site(GLOBAL).who() == ["rsa/sender.example/news@mail.sender.example"]


async def test_sender_counts_before_from(site):
    message = b"Sender: <boss@sender.example>\r\n" + MESSAGE
    assert await site(GLOBAL).who(message) == ["rsa/sender.example/boss@sender.example"]


async def test_keys_of_the_vmta_come_before_those_of_its_pool_and_these_before_global_ones(site):
    text = (
        "domain-key rsa-global, sender.example, rsa.pem\n"
        "<virtual-mta v1>\ndomain-key rsa-vmta, sender.example, rsa.pem\n</virtual-mta>\n"
        "<virtual-mta v2>\n</virtual-mta>\n<virtual-mta v3>\n</virtual-mta>\n"
        "<virtual-mta-pool p>\nvirtual-mta v1\nvirtual-mta v2\n"
        "domain-key rsa-pool, sender.example, rsa.pem\n</virtual-mta-pool>"
    )
    opened = site(text)
    for vmta, selector in (("v1", "rsa-vmta"), ("v2", "rsa-pool"), ("v3", "rsa-global")):
        assert (await opened.tags(vmta=vmta))[0]["s"] == selector


async def test_a_key_for_any_domain_signs_in_the_name_of_the_identity(site):
    opened = site("domain-key rsa, *, rsa.pem")
    assert await opened.who() == ["rsa/mail.sender.example/news@mail.sender.example"]


async def test_the_first_key_that_fits_counts_and_one_that_cannot_be_read_is_passed_over(site):
    text = (
        "domain-key rsa-a, other.example, rsa.pem\ndomain-key rsa-b, sender.example, gone.pem\n"
        "domain-key rsa-c, sender.example, rsa.pem\ndomain-key rsa-d, *, rsa.pem"
    )
    assert (await site(text).tags())[0]["s"] == "rsa-c"


async def test_selector_and_domain_stand_for_themselves_in_the_path(site, tmp_path):
    (tmp_path / "mail.sender.example").mkdir()
    path = tmp_path / "mail.sender.example" / "other-1.key"
    path.write_bytes(KEYS["other"].pem())
    text = "domain-key {selector}, *, {domain}/${selector}.key\n" + GLOBAL
    opened = site(text)
    assert (await opened.tags())[0]["s"] == "rsa"
    assert (await opened.tags(dkim_options="s=other-1"))[0]["s"] == "other-1"
    assert await opened.tags(dkim_options="s=other-2") == []


async def test_a_macro_in_a_key_is_each_of_its_domains(site):
    text = "domain-macro ours one.example, sender.example\ndomain-key rsa, $ours, rsa.pem"
    assert (await site(text).tags())[0]["d"] == "sender.example"


async def test_a_key_in_a_vault_is_said_not_to_be_in_force(site):
    opened = site("domain-key rsa, *, {vault}:/secret/dkim:key\n" + GLOBAL)
    assert any("vault" in d.message for d in opened.diagnostics)
    assert (await opened.tags())[0]["s"] == "rsa"


@pytest.mark.parametrize(
    ("identity", "who"),
    [
        ("@sender.example", ["rsa/sender.example/@sender.example"]),
        ("Info@Sub.Sender.Example", ["rsa/sender.example/Info@sub.sender.example"]),
        ("sender-or-from", ["rsa/sender.example/news@mail.sender.example"]),
        ("strict-from", []),
        ("@elsewhere.example", []),
    ],
)
async def test_dkim_identity(site, identity, who):
    assert await site(GLOBAL, f"dkim-identity {identity}").who() == who


async def test_strict_from_takes_the_key_of_exactly_the_domain_in_from(site):
    text = GLOBAL + "\ndomain-key rsa-2, mail.sender.example, rsa.pem"
    message = b"Sender: boss@sender.example\r\n" + MESSAGE
    opened = site(text, "dkim-identity strict-from")
    assert await opened.who(message) == ["rsa-2/mail.sender.example/news@mail.sender.example"]


async def test_dkim_identity_fallback(site):
    domain = "dkim-identity @elsewhere.example\ndkim-identity-fallback info@sender.example"
    assert await site(GLOBAL, domain).who() == ["rsa/sender.example/info@sender.example"]


@pytest.mark.parametrize("content", [b"To: a@b.example\r\n\r\nx\r\n", b"From: nobody\r\n\r\nx\r\n"])
async def test_a_message_without_an_address_in_from_is_sent_unsigned(site, content):
    assert await site(GLOBAL).signed(content) == content


async def test_an_identity_too_long_for_a_line_is_that_of_the_domain(site):
    for local, shown in (("ö" * 90, "=C3=B6" * 90), ("ö" * 150, "")):
        message = f"From: {local}@sender.example\r\n\r\nx\r\n".encode()
        assert await site(GLOBAL).who(message) == [f"rsa/sender.example/{shown}@sender.example"]
        sent = await site(GLOBAL).signed(message)
        assert max(map(len, sent.split(b"\r\n"))) <= 998


# How it looks


@pytest.mark.parametrize("number", ["", "second-"])
async def test_how_a_signature_looks(site, number):
    text = GLOBAL + "\ndomain-key other, sender.example, other.pem"
    sign = "second-dkim-sign yes\n" if number else ""

    async def tags(domain, **named):
        opened = site(text, sign + domain.replace("dkim-", f"{number}dkim-"))
        return (await opened.tags(**named))[-1]

    assert (await tags(""))["c"] == "relaxed/relaxed"
    assert (await tags("dkim-body-canon simple"))["c"] == "relaxed/simple"
    assert (await tags("dkim-headers-canon simple"))["c"] == "simple/relaxed"
    plain = await tags("")
    assert plain["a"] == "rsa-sha256"
    assert not {"t", "x", "l", "q"} & set(plain)
    assert (await tags("dkim-query-method dns/txt"))["q"] == "dns/txt"
    assert (await tags("dkim-add-body-limit yes"))["l"] == str(len("Hello there.\r\n"))
    stamped = await tags("dkim-add-timestamp yes\ndkim-expire-after 1h")
    assert int(stamped["x"]) - int(stamped["t"]) == 3600
    assert plain["h"] == "subject:to:to:from"
    assert "x-track" in (await tags("dkim-headers X-Track, Comments"))["h"].split(":")
    assert "x-track" in (await tags("dkim-headers /^x-tr/"))["h"].split(":")
    assert "comments" not in (await tags("dkim-headers X-Track, Comments"))["h"].split(":")
    over = await tags("dkim-disallow-adding-headers Subject,Cc")
    assert over["h"] == "subject:to:to:from:subject:cc"
    over = await tags("dkim-disallow-adding-headers X-Track")
    assert over["h"] == "x-track:subject:to:to:from:x-track"
    assert (await tags("dkim-identity @sender.example"))["i"] == "@sender.example"
    fallback = "dkim-identity @no.example\ndkim-identity-fallback @sender.example"
    assert (await tags(fallback))["i"] == "@sender.example"


async def test_rsa_sha1_is_made_where_it_is_asked_for(site):
    signed = await site(GLOBAL, "dkim-algorithm rsa-sha1").signed()
    assert b"a=rsa-sha1;" in signed


async def test_a_header_added_on_the_way_breaks_a_signature_that_disallows_it(site):
    for domain, holds in (("", True), ("dkim-disallow-adding-headers Subject", False)):
        signed = await site(GLOBAL, domain).signed()
        head, empty, body = signed.partition(b"\r\n\r\n")
        forged = head + b"\r\nCc: mallory@example.org" + empty + body
        assert dkim.verify(forged, dnsfunc=record)
        signature, _, rest = signed.partition(b"From:")
        forged = signature + b"Subject: buy\r\nFrom:" + rest
        assert dkim.verify(forged, dnsfunc=record) == holds


async def test_the_algorithm_chooses_among_keys_of_both_kinds(site):
    text = "domain-key ed, sender.example, ed.pem\ndomain-key rsa, sender.example, rsa.pem"
    domain = "second-dkim-sign yes\nsecond-dkim-algorithm ed25519-sha256"
    found = await site(text, domain).tags()
    assert [tags["a"] for tags in found] == ["rsa-sha256", "ed25519-sha256"]
    assert [tags["s"] for tags in found] == ["rsa", "ed"]


async def test_a_signature_already_there_is_left_and_still_verifies(site):
    once = await site(GLOBAL).signed()
    twice = await site("domain-key other, sender.example, other.pem").signed(once)
    assert [tags["s"] for tags in verified(twice)] == ["other", "rsa"]


async def test_fields_added_by_us_are_signed(site):
    opened = site(GLOBAL)
    tags = verified(await opened.signed(added=b"Reply-To: answers@sender.example\r\n"))
    assert "reply-to" in tags[0]["h"].split(":")


async def test_content_in_a_file_is_signed_as_content_in_memory_is(site, tmp_path):
    opened = site(GLOBAL, "dkim-add-body-limit yes\nsecond-dkim-sign yes\n"
                          "second-dkim-body-canon simple")  # fmt: skip
    head, empty, _ = MESSAGE.partition(b"\r\n\r\n")
    content = head + empty + b"line  of \t text \r\n\r\n" * 50_000
    path = tmp_path / "content"
    path.write_bytes(content)
    size = len(head + empty)
    known = Envelope(message_id=1, mail_from="", time_queued=0, size=0, head_size=size)
    signed = await opened.signer.sign(
        QueueKey("example.com", "v1"),
        known,
        Head(b"", 0),
        content[:size],
        FileContent(path, len(content)),
    )
    assert len(verified(signed.octets + content)) == 2
    assert signed.octets.replace(b"b=", b"") == (
        (await opened.signed(content)).partition(b"From:")[0].replace(b"b=", b"")
    )


# What the message asks


async def test_options_choose_selector_domain_identity_and_query_method(site):
    text = GLOBAL + "\ndomain-key rsa-2, sender.example, rsa.pem\ndomain-key rsa-3, *, rsa.pem"
    opened = site(text)
    assert await opened.who(dkim_options="s=rsa-2") == [
        "rsa-2/sender.example/news@mail.sender.example"
    ]
    assert await opened.who(dkim_options="d=x.example") == ["rsa-3/x.example/@x.example"]
    options = "i=a@sub.x.example; d=x.example; q=dns/txt"
    assert await opened.who(dkim_options=options) == ["rsa-3/x.example/a@sub.x.example"]
    assert (await opened.tags(dkim_options=options))[0]["q"] == "dns/txt"


async def test_no_signature_names_an_identity_outside_its_domain(site):
    text = "domain-key rsa, *, rsa.pem"
    opened = site(text, "dkim-identity-fallback @sender.example")
    assert await opened.who(dkim_options="d=x.example; s=rsa") == ["rsa/x.example/@x.example"]
    assert await opened.who(dkim_options="d=x.example; s=no") == []
    text = "domain-key rsa-1, *, rsa.pem\n<domain *>\ndkim-sign yes\ndkim-identity a@b.example\n"
    assert await site(text + "</domain>").who() == ["rsa-1/b.example/a@b.example"]


async def test_key_list_limits_the_search_and_nothing_found_there_means_unsigned(site):
    text = GLOBAL + (
        "\n<domain-key-list l1>\ndomain-key rsa-l, sender.example, rsa.pem\n</domain-key-list l1>"
        "\n<domain-key-list empty>\ndomain-key rsa-l, x.example, rsa.pem\n</domain-key-list>"
    )
    opened = site(text, "dkim-identity-fallback @sender.example")
    assert (await opened.tags(dkim_options="key-list=L1"))[0]["s"] == "rsa-l"
    assert await opened.tags(dkim_options="key-list=empty") == []
    assert await opened.tags(dkim_options="key-list=nowhere") == []


async def test_options_have_no_say_in_the_second_signature(site):
    text = GLOBAL + "\ndomain-key rsa-2, sender.example, rsa.pem"
    found = await site(text, "second-dkim-sign yes").tags(dkim_options="s=rsa-2")
    assert [tags["s"] for tags in found] == ["rsa-2", "rsa"]


async def test_if_options_present_signs_only_what_has_options(site):
    text = GLOBAL + "\n<domain *>\ndkim-sign if-x-dkim-options-present\n</domain>"
    opened = site(text)
    assert await opened.tags() == []
    assert len(await opened.tags(dkim_options="s=rsa")) == 1


@pytest.mark.parametrize(
    "options",
    ["z=1", "s", "i=news", "d=..", "s=a b", "i=a@x.example; d=y.example", "q=a;;=", "s=a" * 2000],
)
async def test_options_that_make_no_sense_are_refused_and_count_as_none(site, options):
    opened = site(GLOBAL)
    assert len(await opened.tags(dkim_options=options)) == 1
    assert "X-DKIM-Options is refused" in opened.logged[0]


def folded(pem):
    return b"X-DKIM-Key: " + pem.strip().replace(b"\n", b"\r\n ") + b"\r\n"


async def test_a_key_that_comes_with_a_message_signs_it(site):
    opened = site(GLOBAL)
    content = folded(KEYS["other"].pem()) + MESSAGE
    options = "s=other-x; d=sender.example"
    assert await opened.who(content, dkim_options=options, has_dkim_key=True) == [
        "other-x/sender.example/@sender.example"
    ]
    assert opened.logged == []


@pytest.mark.parametrize(
    ("field", "options", "why"),
    [
        (folded(KEYS["other"].pem()), "", "needs s="),
        (folded(KEYS["other"].pem()), "d=sender.example", "needs s="),
        (b"X-DKIM-Key: nonsense\r\n", "s=rsa", "expected a private key"),
        (folded(KEYS["other"].pem()[:200] + KEYS["other"].pem()[-200:]), "s=rsa", "expected"),
        (folded(KEYS["ed"].pem()), "s=rsa", "it is Ed25519"),
    ],
)
async def test_a_key_that_is_refused_is_named_without_its_text(site, field, options, why):
    opened = site(GLOBAL)
    found = await opened.tags(field + MESSAGE, dkim_options=options, has_dkim_key=True)
    assert [tags["s"] for tags in found] == ["rsa"]
    assert "X-DKIM-Key is refused" in opened.logged[-1]
    assert why in opened.logged[-1]
    assert "MII" not in "".join(opened.logged)


# Keys on disk


async def test_a_key_whose_file_changes_is_read_again_without_a_reload(site, tmp_path, monkeypatch):
    opened = site("domain-key rsa, sender.example, changing.pem")
    path = tmp_path / "changing.pem"
    path.write_bytes(KEYS["other"].pem())
    monkeypatch.setattr(keys, "RECHECK_S", 0.0)
    first = await opened.signed()
    path.write_bytes(KEYS["rsa"].pem())
    async with asyncio.timeout(20):
        while not opened.logged:
            await opened.signed()
    assert verified(await opened.signed())[0]["s"] == "rsa"
    assert await opened.signed() != first
    path.unlink()
    opened.logged.clear()
    async with asyncio.timeout(20):
        while not opened.logged:
            await opened.signed()
    assert await opened.signed() == MESSAGE


def test_a_key_that_is_just_being_written_is_not_taken_for_damaged(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(KEYS["rsa"].pem())
    known = keys.read_key(str(path))
    path.write_bytes(KEYS["rsa"].pem()[:300])
    assert keys.changed(str(path), known) is None
    os.utime(path, (1, 1))
    found = keys.changed(str(path), known)
    assert found is not None
    assert found.problem


def test_a_key_written_twice_in_one_tick_of_the_clock_is_noticed(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(KEYS["rsa"].pem())
    status = path.stat()
    known = keys.read_key(str(path))
    assert keys.changed(str(path), known) is None
    other = KEYS["other"].pem()
    path.write_bytes(other + b"\n" * (status.st_size - len(other)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    found = keys.changed(str(path), known)
    assert found is not None
    assert found.key is not None


def checked(site):
    return [d.message for d in check_signing(site.configuration)]


async def test_check_names_what_is_wrong_with_keys(site, tmp_path):
    (tmp_path / "open.pem").write_bytes(KEYS["rsa"].pem())
    (tmp_path / "open.pem").chmod(0o640)
    (tmp_path / "broken.pem").write_bytes(KEYS["rsa"].pem()[:300])
    (tmp_path / "dir.pem").mkdir()
    names = ("open", "broken", "dir", "gone", "ed", "rsa")
    lines = "\n".join(f"domain-key s, {n}.example, {n}.pem" for n in names)
    domain = "dkim-algorithm rsa-sha1\ndkim-headers Received"
    found = checked(site(lines, domain))
    for part in (
        "open.pem: others than its owner may read it",
        "broken.pem: expected a private key in PEM",
        "dir.pem: it is no file",
        "gone.pem: there is no such file",
        "dkim-algorithm rsa-sha1",
        "Received is not signed",
    ):
        assert sum(part in message for message in found) == 1, found
    assert len(found) == 7  # and that others may read broken.pem


async def test_check_says_that_nothing_is_signed_without_keys(site):
    assert any("signs nothing" in message for message in checked(site("")))
    source = "<source {x}>\nprocess-x-dkim-key yes\n</source>"
    assert not any("signs nothing" in message for message in checked(site(source)))


async def test_the_same_refusal_is_logged_once_in_a_while(site):
    opened = site(GLOBAL)
    for _ in range(3):
        await opened.signed(dkim_options="z=1")
    await opened.signed(dkim_options="z=2")
    assert len(opened.logged) == 2


async def test_what_cannot_be_signed_is_sent_unsigned_and_logged(site, monkeypatch):
    opened = site(GLOBAL)
    await opened.signed()

    async def refuse(*_):
        raise UnsupportedAlgorithm("this hash is not allowed here")

    monkeypatch.setattr(opened.threads, "sign", refuse)
    assert await opened.signed() == MESSAGE
    assert opened.logged == ["message 0000000020 is sent unsigned: this hash is not allowed here"]
