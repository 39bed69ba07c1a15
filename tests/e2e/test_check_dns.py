"""What the DNS says of source addresses and keys is compared with the configuration."""

import pytest

from mta.admin.dns_check import check_dns
from mta.signing.keys import new_key
from tests.e2e.nameserver import Nameserver
from tests.texts import configured

ZONE = """
good.example. 60 IN A 192.0.2.1
good.example. 60 IN TXT "v=spf1 include:spf.example -all"
spf.example. 60 IN TXT "v=spf1 ip4:192.0.2.0/31 -all"
1.2.0.192.in-addr.arpa. 60 IN PTR good.example.
wrong.example. 60 IN A 192.0.2.99
wrong.example. 60 IN TXT "v=spf1 ip4:198.51.100.0/24 ~all"
3.2.0.192.in-addr.arpa. 60 IN PTR wrong.example.
s1._domainkey.good.example. 60 IN TXT "v=DKIM1; k=ed25519; p={public}"
s2._domainkey.good.example. 60 IN TXT "v=DKIM1; k=ed25519; p=AAAA"
"""
VMTA = "<virtual-mta {}>\nsmtp-source-host {} {}\n</virtual-mta>\n"

pytestmark = pytest.mark.skipif("sys.platform != 'linux'")


def found(text, server):
    text = f"name-server {server.address}:{server.port}\n{text}"
    return [(d.severity, d.message) for d in check_dns(configured(text))]


def test_addresses_and_keys_are_compared_with_the_dns(tmp_path):
    key = new_key("ed25519")
    path = tmp_path / "key.pem"
    path.write_bytes(key.pem())
    with Nameserver(ZONE.format(public=key.public), port=0) as server:
        assert found(VMTA.format("a", "192.0.2.1", "good.example"), server) == []
        assert found(f"domain-key s1,good.example,{path}\n", server) == []
        bad = found(VMTA.format("a", "192.0.2.3", "wrong.example"), server)
        assert [text for _, text in bad] == [
            "EHLO name wrong.example leads to 192.0.2.99, not to 192.0.2.3",
            "192.0.2.3 is named wrong.example (PTR), which does not lead back to it",
            "the SPF record of wrong.example does not let 192.0.2.3 send",
        ]
        none = found(VMTA.format("a", "192.0.2.7", "none.example"), server)
        assert [text[:40] for _, text in none] == [
            "EHLO name none.example leads to nothing,",
            "192.0.2.7 has no name (PTR); many receiv",
        ]
        other = found(
            f"domain-key s2,good.example,{path}\ndomain-key s3,good.example,{path}\n", server
        )
        assert [text.partition(" in the DNS")[0] for _, text in other] == [
            "s2._domainkey.good.example",
            "there is no s3._domainkey.good.example",
        ]
        server.servfail.add("good.example")
        ((_, text),) = found(VMTA.format("a", "192.0.2.1", "good.example"), server)
        assert "does not answer about 192.0.2.1" in text
