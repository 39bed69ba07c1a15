"""REQUIRETLS (RFC 8689): such mail goes only to who promises it, over verified TLS, or back."""

import json
import re
import ssl
from contextlib import AsyncExitStack

import aiosmtplib
import pytest

from mta.sim.certificate import Authority, self_signed
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.e2e.daemon import Daemon, accounting_rows, free_port, stays, until
from tests.e2e.loopback import ADDRESS, Loopback
from tests.e2e.nameserver import Nameserver
from tests.e2e.netns import MX1, MX2, NAMESERVER
from tests.e2e.submission import SENDER, Letter, client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

WAIT_S = 30
STILL_S = 2.5
OTHER = "127.0.0.2"
WILLING = Profile(starttls="offer", requiretls=True)
PLAIN = Profile(starttls="offer")
SOURCE = "<source 127/8>\nallow-starttls yes\nalways-allow-relaying yes\n</source>"


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def trusting(authority):
    """The environment of a daemon whose system trusts that authority alone."""
    return {"SSL_CERT_FILE": str(authority.path)}


class Host(Loopback):
    """A loopback daemon whose listener has a certificate."""

    def begin(self, *, top="", domain="", told=False, acct="records d,b,t"):
        self.certificate = self_signed("mta.sender.example").tls_certificate
        self.configure(
            top=f"{SOURCE}\n{top}",
            listener=f"tls-certificate {self.certificate}",
            domain=domain,
            acct=acct,
            is_sender_told=told,
        )
        return self

    async def send(self, letter, *options, inside=None):
        await send(self.address, self.certificate, letter, options, inside)

    async def row(self, kind):
        await until(lambda: self.rows(kind), WAIT_S, self.told)
        return self.rows(kind)[0]


async def send(address, certificate, letter, options, inside=None):
    trust = ssl.create_default_context(cafile=certificate)
    trust.check_hostname = False
    async with client(address, inside) as smtp:
        await smtp.starttls(tls_context=trust)
        await smtp.ehlo()
        assert smtp.supports_extension("requiretls")
        await smtp.mail(letter.mail_from, options=list(options))
        await smtp.rcpt(letter.rcpt)
        await smtp.data(letter.content)


async def test_it_is_neither_offered_nor_taken_in_clear_text(tmp_path):
    host = Host(tmp_path, 1).begin()
    async with host.running(), client(host.address) as smtp:
        assert not smtp.supports_extension("requiretls")
        with pytest.raises(aiosmtplib.SMTPResponseException, match="within TLS") as refused:
            await smtp.mail(SENDER, options=["REQUIRETLS"])
        assert refused.value.code == 530


async def test_it_goes_on_with_the_message_and_with_no_other(tmp_path, authority, trusting):
    async with Provider({"*": WILLING}, certificate=authority.issue(ADDRESS)) as provider:
        host = Host(tmp_path, provider.port).begin()
        async with host.running(**trusting):
            await host.send(Letter("a@example.com"))
            await host.send(Letter("b@example.com"), "REQUIRETLS")
            await host.send(Letter("c@example.com"))
            await until(lambda: len(host.rows("d")) == 3, WAIT_S, host.told)
    assert {one.rcpt[0]: one.requires_tls for one in provider.journal} == {
        "a": False, "b": True, "c": False,
    }  # fmt: skip
    assert all(one.tls for one in provider.journal)


async def test_authorities_of_the_operator_do_as_well(tmp_path, authority):
    """Guide: smtp-tls-ca-file."""
    async with Provider({"*": WILLING}, certificate=authority.issue(ADDRESS)) as provider:
        host = Host(tmp_path, provider.port).begin(domain=f"smtp-tls-ca-file {authority.path}")
        async with host.running():
            await host.send(Letter("b@example.com"), "REQUIRETLS")
            await host.row("d")
    assert [one.requires_tls for one in provider.journal] == [True]


async def test_it_survives_a_restart(tmp_path, authority, trusting):
    host = Host(tmp_path, free_port()).begin()
    async with host.running(**trusting):
        await host.send(Letter("b@example.com"), "REQUIRETLS")
    async with (
        Provider(
            {"*": WILLING}, port=host.provider_port, certificate=authority.issue(ADDRESS)
        ) as provider,
        host.running(**trusting),
    ):
        await until(lambda: provider.journal, WAIT_S, host.told)
    assert [one.requires_tls for one in provider.journal] == [True]


@pytest.mark.parametrize(
    ("profile", "shown", "status", "missing"),
    [
        (Profile(requiretls=True), ADDRESS, "5.7.10", "STARTTLS is not offered"),
        (PLAIN, ADDRESS, "5.7.30", "REQUIRETLS is not offered"),
        (WILLING, "", "5.7.10", "its certificate does not prove that it is 127.0.0.1"),
        (WILLING, OTHER, "5.7.10", "its certificate does not prove that it is 127.0.0.1"),
        (WILLING, "late", "5.7.10", "its certificate does not prove that it is 127.0.0.1"),
    ],
    ids=["no TLS", "no REQUIRETLS", "self-signed", "another name", "out of date"],
)
async def test_it_bounces_where_something_is_missing_and_other_mail_goes(
    tmp_path, authority, trusting, profile, shown, status, missing
):
    certificate = None
    if shown:
        days = -1 if shown == "late" else 30
        certificate = authority.issue(ADDRESS if shown == "late" else shown, days=days)
    async with Provider({"*": profile}, certificate=certificate) as provider:
        host = Host(tmp_path, provider.port).begin(domain="max-smtp-out 1")
        async with host.running(**trusting):
            await host.send(Letter("a@example.com"))
            await host.send(Letter("b@example.com"), "REQUIRETLS")
            bounced = await host.row("b")
            await host.send(Letter("c@example.com"))
            await until(lambda: len(host.rows("d")) == 2, WAIT_S, host.told)
    assert sorted(one.rcpt[0] for one in provider.journal) == ["a", "c"]
    assert (bounced["rcpt"], bounced["dsnStatus"][: len(status)]) == ("b@example.com", status)
    assert bounced["dsnDiag"].startswith("x-pmta;REQUIRETLS: ")
    assert missing in bounced["dsnDiag"]


async def test_it_waits_where_tls_is_broken_and_explain_says_so(tmp_path, trusting):
    async with Provider({"*": Profile(starttls="broken")}) as provider:
        host = Host(tmp_path, provider.port).begin()
        async with host.running(**trusting) as daemon:
            await host.send(Letter("a@example.com"))
            await host.send(Letter("b@example.com"), "REQUIRETLS")
            row = await host.row("t")
            await until(lambda: host.rows("d"), WAIT_S, host.told)
            listed = json.loads((await daemon.command("--json", "list")).text)
            number = re.findall(r'"id": "(\w+)"', json.dumps(listed))[0]
            explained = await daemon.command("explain", number)
    assert [one.rcpt for one in provider.journal] == ["a@example.com"]
    assert row["dsnStatus"].startswith("4.7.10")
    assert "STARTTLS is offered and does not work" in row["dsnDiag"]
    assert "REQUIRETLS: [127.0.0.1] (127.0.0.1)" in explained.text, explained.text
    assert host.rows("b") == []


def both(port):
    """The two hosts of a domain, the one to be preferred first."""
    return (
        f"<domain example.com>\nsmtp-hosts [{ADDRESS}]:{port},[{OTHER}]:{port}\nmax-smtp-out 1\n"
        "connect-timeout 2s\n</domain>"
    )


async def test_it_goes_to_the_next_host_that_promises_it(tmp_path, authority, trusting):
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            Provider({"*": PLAIN}, certificate=authority.issue(ADDRESS))
        )
        second = await stack.enter_async_context(
            Provider({"*": WILLING}, host=OTHER, port=first.port,
                     certificate=authority.issue(OTHER))
        )  # fmt: skip
        host = Host(tmp_path, first.port).begin(top=both(first.port))
        async with host.running(**trusting):
            for name in "abc":
                await host.send(Letter(f"{name}@example.com"))
                await host.send(Letter(f"{name}2@example.com"), "REQUIRETLS")
            await until(lambda: len(host.rows("d")) == 6, WAIT_S, host.told)
    assert not any(one.requires_tls for one in first.journal)
    assert sum(one.requires_tls for one in second.journal) == 3
    assert host.rows("b") == []


async def test_a_host_that_lacked_something_is_not_asked_for_every_message(
    tmp_path, authority, trusting
):
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            Provider({"*": PLAIN}, certificate=authority.issue(ADDRESS))
        )
        second = await stack.enter_async_context(
            Provider({"*": PLAIN}, host=OTHER, port=first.port)
        )
        host = Host(tmp_path, first.port).begin(top=both(first.port))
        async with host.running(**trusting):
            for number in range(5):
                await host.send(Letter(f"b{number}@example.com"), "REQUIRETLS")
            await until(lambda: len(host.rows("b")) == 5, WAIT_S, host.told)
    assert (first.journal, second.journal) == ([], [])
    assert first.connections_total + second.connections_total <= 6  # A round would be ten
    for row in host.rows("b"):
        assert ": REQUIRETLS is not offered" in row["dsnDiag"]
        assert "[127.0.0.2] (127.0.0.2)" in row["dsnDiag"]


async def test_a_host_that_closes_an_idle_connection_holds_no_slot(tmp_path, authority, trusting):
    """Also where the message that led to it bounced."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            Provider({"*": PLAIN}, certificate=authority.issue(ADDRESS))
        )
        other = Provider({"*": PLAIN}, host=OTHER, port=first.port)
        idle = "max-smtp-out 1\nconnection-idle-timeout 5m"
        host = Host(tmp_path, first.port).begin(
            top=both(first.port).replace("max-smtp-out 1", idle), acct="records b,connection"
        )
        async with other, host.running(**trusting):
            await host.send(Letter("b@example.com"), "REQUIRETLS")
            await host.row("b")
            await first.__aexit__()
            await other.__aexit__()
            row = await host.row("c")
    assert row["closeReason"] == "closed by the remote host"


async def test_it_waits_for_a_host_that_is_down_and_may_promise_it(tmp_path, authority, trusting):
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            Provider({"*": PLAIN}, certificate=authority.issue(ADDRESS))
        )
        host = Host(tmp_path, first.port).begin(top=both(first.port))
        async with host.running(**trusting):
            await host.send(Letter("b@example.com"), "REQUIRETLS")
            row = await host.row("t")
            await host.send(Letter("a@example.com"))
            await host.row("d")
    assert row["dsnStatus"].startswith("4.7.10")
    assert "ECONNREFUSED" in row["dsnDiag"]
    assert [one.rcpt for one in first.journal] == ["a@example.com"]
    assert host.rows("b") == []


@pytest.mark.parametrize("given", ["", "REQUIRETLS"])
async def test_tls_required_no_counts_where_the_option_is_not_given(tmp_path, given):
    async with Provider({"*": Profile(starttls="none")}) as provider:
        host = Host(tmp_path, provider.port).begin()
        async with host.running():
            await host.send(Letter("a@example.com", "TLS-Required: No\r\n"), *filter(None, [given]))
            await host.row("b" if given else "d")
    assert len(provider.journal) == (not given)
    if not given:  # The next host is to read it, too.
        assert b"TLS-Required: No" in provider.journal[0].headers


async def test_tls_required_no_does_not_undo_what_the_operator_requires(tmp_path):
    async with Provider({"*": Profile(starttls="none")}) as provider:
        host = Host(tmp_path, provider.port).begin(domain="require-starttls yes")
        async with host.running():
            await host.send(Letter("a@example.com", "TLS-Required: No\r\n"))
            await until(lambda: "require-starttls" in host.told(), WAIT_S, host.told)
            await stays(lambda: len(provider.journal), STILL_S)
    assert provider.journal == []


@pytest.mark.parametrize(
    ("mailbox", "is_heard", "is_asked"),
    [(WILLING, True, True), (PLAIN, True, False), (Profile(), False, False)],
    ids=["promised", "not promised", "no TLS"],
)
async def test_a_notification_is_protected_as_the_message_was(
    tmp_path, authority, trusting, mailbox, is_heard, is_asked
):
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(Provider({"*": Profile()}))
        sender = Provider({"*": mailbox}, certificate=authority.issue(ADDRESS))
        sender.keeps_bodies = True
        await stack.enter_async_context(sender)
        host = Host(tmp_path, provider.port).begin(
            top=f"<domain sender.example>\nsmtp-hosts [{ADDRESS}]:{sender.port}\n</domain>",
            told=True,
        )
        async with host.running(**trusting):
            letter = Letter("b@example.com", body="the body of it\r\n")
            await host.send(letter, "REQUIRETLS", "RET=FULL")
            await until(lambda: sender.journal or len(host.rows("b")) == 2, WAIT_S, host.told)
    assert bool(sender.journal) == is_heard
    if is_heard:
        (report,) = sender.journal
        assert (report.mail_from, report.requires_tls, bool(report.tls)) == ("", is_asked, True)
        assert b"5.7.10" in report.body
        assert b"Subject: a test" in report.body
        assert b"the body of it" not in report.body  # RFC 8689 §5: as if with RET=HDRS


ZONE = f"""
signed.example. 60 IN MX 10 mx1.provider.example.
signed.example. 60 IN MX 20 mx2.provider.example.
unsigned.example. 60 IN MX 10 mx1.provider.example.
route.example. 60 IN MX 10 mx1.provider.example.
mx1.provider.example. 60 IN A {MX1}
mx2.provider.example. 60 IN A {MX2}
"""


async def test_a_host_is_named_by_a_signed_answer_or_by_the_operator(
    network, tmp_path, authority, trusting
):
    """The resolver of this host says what is signed; one elsewhere could be anybody."""
    certificate = self_signed("mta.sender.example").tls_certificate
    (tmp_path / "acct").mkdir()
    config = tmp_path / "petrel.conf"
    listener = ("192.168.1.1", 25)

    def configure(resolver):
        config.write_text(
            f"host-name mta.sender.example\npostmaster p@sender.example\n"
            f"log-file {tmp_path}/log.txt\nname-server {resolver}\n"
            "<source 192.168.1.1>\nallow-starttls yes\nalways-allow-relaying yes\n</source>\n"
            f"<smtp-listener 192.168.1.1:25>\ntls-certificate {certificate}\n</smtp-listener>\n"
            f"<spool {tmp_path}/spool>\n</spool>\n"
            f"<acct-file {tmp_path}/acct/acct.csv>\nrecords d,b,t\n</acct-file>\n"
            "<domain sender.example>\ndeliver-local-dsn no\n</domain>\n"
            "<domain route.example>\nsmtp-hosts mx1.provider.example\n</domain>\n"
        )

    def rows(kinds):
        return accounting_rows(tmp_path / "acct", kinds)

    async with AsyncExitStack() as stack:
        with network.provider.inside():
            far = stack.enter_context(Nameserver(ZONE, NAMESERVER))
            providers = [
                await stack.enter_async_context(
                    Provider({"*": WILLING}, host=ip, port=25, certificate=authority.issue(name))
                )
                for ip, name in ((MX1, "mx1.provider.example"), (MX2, "mx2.provider.example"))
            ]
        with network.sender.inside():
            near = stack.enter_context(Nameserver(ZONE, ADDRESS))
        near.authentic = {"signed.example"}
        far.authentic = {"."}
        for resolver, wanted in (
            (ADDRESS, {"signed.example": "d", "unsigned.example": "b", "route.example": "d"}),
            (NAMESERVER, {"signed.example": "b", "route.example": "d"}),
        ):
            before = len(rows("d,b"))
            configure(resolver)
            daemon = Daemon(config, listener, network.sender)
            try:
                await daemon.start(**trusting)
                for domain in wanted:
                    letter = Letter(f"{resolver}@{domain}".replace(".", "-", 3))
                    await send(
                        listener, certificate, letter, ["REQUIRETLS"], network.sender.inside()
                    )
                await until(lambda: len(rows("d,b")) == before + len(wanted), WAIT_S, daemon.said)  # noqa: B023
                assert await daemon.stop() == 0, daemon.said()
            finally:
                daemon.kill()
            found = {one["rcpt"].partition("@")[2]: one for one in rows("d,b")[before:]}
            assert {domain: one["type"] for domain, one in found.items()} == wanted
            for one in found.values():
                if one["type"] == "b":
                    assert one["dsnStatus"].startswith("5.7.30")
                    assert "no signed MX answer (DNSSEC)" in one["dsnDiag"]
    assert all(one.requires_tls for provider in providers for one in provider.journal)
    assert far.queries
