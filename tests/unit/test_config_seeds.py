"""The simple dialect: three files as their authors wrote them load and mean what they say."""

from pathlib import Path

import pytest

from mta.admin.files import DiskFiles
from mta.config.load import load
from mta.model.queue_key import QueueKey
from mta.units import Rate

SEED = Path(__file__).parent.parent / "data" / "config" / "seed"


def seed(name):
    result = load(str(SEED / name), DiskFiles(), host_name="h.example")
    assert result.configuration is not None, "\n".join(map(str, result.diagnostics))
    return result.configuration, result.diagnostics


@pytest.mark.parametrize("name", ["complete.conf", "headers.conf", "regional.conf"])
def test_each_loads_and_names_the_defaults_it_relies_on(name):
    found = {d.message.split(";")[0] for d in seed(name)[1] if not d.place.line}
    for directive in ("spool", "log-file", "postmaster", "http-mgmt-port"):
        assert any(f"no {directive} is given" in message for message in found), directive


def test_complete():
    one, diagnostics = seed("complete.conf")
    assert [(door.address, door.port) for door in one.listeners] == [("192.168.1.1", 25)]
    assert one.domain(QueueKey("a.org", "{default}")).max_msg_rate == Rate(100, 3600)
    example = one.domain(QueueKey("example.com", "vmta01"))
    assert example.max_msg_rate == Rate(200, 3600)
    assert [[h.name for h in group] for group in example.smtp_hosts.groups] == [
        ["smtp.example.com"]
    ]
    assert one.vmta("vmta01").smtp_source_host == (("192.168.1.2", "h.example"),)
    assert one.vmta("VMTA-Bounce").smtp_source_host == (("192.168.1.3", "h.example"),)
    (acct,) = one.acct_files
    assert (acct.path, acct.records) == ("/var/log/pmta/acct/acct.csv", ("b", "c", "d"))
    assert one.root.log_file == "/var/log/pmta/log"
    lines = SEED.joinpath("complete.conf").read_text().splitlines()
    not_yet = {lines[d.place.line - 1] for d in diagnostics if "not in force yet" in d.message}
    assert not_yet == {"process-bounces yes", "process-fbl yes"}


def test_headers():
    one, _ = seed("headers.conf")
    assert one.root.add_header == ("X-MyCompany-Mailer: PowerMTA", "Precedence: bulk")
    vmta = one.vmta("vmta-custom-header")
    assert vmta.add_header == ("X-Custom-Header: SpecificValue",)
    assert (vmta.add_received_header, vmta.hide_received_header) == (False, True)
    assert one.domain_vmtas("example.com") == ("vmta-custom-header",)
    assert one.domain_vmtas("example.org") == ()


def test_regional():
    one, _ = seed("regional.conf")
    assert one.domain_vmtas("example.com") == ("vmta-us", "vmta-eu", "vmta-asia")
    rates = {name: one.vmta(name).max_msg_rate for name in one.domain_vmtas("example.com")}
    assert rates == {
        "vmta-us": Rate(200, 3600),
        "vmta-eu": Rate(150, 3600),
        "vmta-asia": Rate(100, 3600),
    }
