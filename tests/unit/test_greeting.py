"""The name a client is greeted with: the VirtualMTA of the source, the address, the host."""

import pytest

from mta.routing.greeting import greeting_name
from tests.texts import configured

TEXT = """host-name main.example
smtp-source-host 192.0.2.9 nine.example
<virtual-mta named>
host-name named.example
smtp-source-host 192.0.2.1 one.example
</virtual-mta>
<virtual-mta plain>
smtp-source-host 192.0.2.2 two.example
smtp-source-host 192.0.2.3 three.example
</virtual-mta>
<virtual-mta net>
smtp-source-host 198.51.100.0/24 net.example
smtp-source-host 127.0.0.0/8 loop.example
</virtual-mta>
<virtual-mta bare>
</virtual-mta>
<virtual-mta-pool all>
virtual-mta named
</virtual-mta-pool>
"""


@pytest.mark.parametrize(
    ("default", "ip", "name"),
    [
        ("named", "192.0.2.1", "named.example"),
        ("named", "192.0.2.2", "named.example"),
        ("NAMED", "203.0.113.1", "named.example"),
        ("plain", "192.0.2.3", "three.example"),
        ("plain", "203.0.113.1", "main.example"),
        ("bare", "192.0.2.2", "two.example"),
        ("", "192.0.2.2", "two.example"),
        ("", "192.0.2.1", "one.example"),
        ("", "192.0.2.9", "nine.example"),
        ("", "198.51.100.7", "net.example"),
        ("", "127.0.0.2", "loop.example"),
        ("", "127.0.0.1", "main.example"),
        ("", "203.0.113.1", "main.example"),
        ("", "2001:db8::1", "main.example"),
        ("by-smtp-source-ip", "192.0.2.1", "named.example"),
        ("by-smtp-source-ip", "192.0.2.2", "two.example"),
        ("By-SMTP-Source-IP", "192.0.2.2", "two.example"),
        ("by-smtp-source-ip", "203.0.113.1", "main.example"),
        ("all", "203.0.113.1", "main.example"),
        ("gone", "203.0.113.1", "main.example"),
    ],
)
def test_the_first_that_has_a_name_gives_it(default, ip, name):
    assert greeting_name(configured(TEXT), default, ip) == name
