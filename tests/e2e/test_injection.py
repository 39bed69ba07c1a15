"""What a client puts into addresses, parameters and fields stays there: no command, no header
field and no accounting row comes of it that was not asked for."""

import asyncio
import socket

import pytest

from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.scripted_peer import ScriptedPeer

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

SOURCE = """<virtual-mta a>
</virtual-mta>
<source 127.0.0.1>
always-allow-relaying yes
process-x-envid yes
process-x-job yes
process-x-virtual-mta yes
add-x-virtual-mta-header yes
verp-default yes
</source>"""
RCPTS = ('"a b"@d.example', '"q\\"@evil.example"@d.example', '"RCPT TO:x"@d.example', "ü@d.example")
ENVELOPE = (
    "MAIL FROM:<news@sender.example> SMTPUTF8 RET=HDRS{envid}\r\n"
    "RCPT TO:<{rcpt}> ORCPT=rfc822;a+3E+20NOTIFY+3DNEVER+3Cx+3E NOTIFY=FAILURE\r\nDATA\r\n"
)
CONTENT = (
    "X-Envid: e>\r\n RCPT TO:<evil@d.example>\r\n"
    'X-Job: j\r\n\t","x\x85Bcc: evil@d.example\u2028y\r\n'
    "X-Virtual-MTA:\r\n a\r\n"
    "Subject: s\r\n\tX-Evil: 1 \x85X-Evil: 2 \u2028X-Evil: 3\r\n\r\nhi\r\n.\r\n"
)
VERBS = {"EHLO", "MAIL", "RCPT", "DATA", "QUIT", "RSET"}


def told(address):
    """The reply codes to all of it."""
    with socket.create_connection(address, timeout=20) as peer:
        file = peer.makefile("rb")
        file.readline()
        codes = []

        def say(text, replies):
            peer.sendall(text.encode())
            while replies:
                line = file.readline()
                assert line
                if line[3:4] != b"-":
                    codes.append(int(line[:3]))
                    replies -= 1

        say("EHLO c.example\r\n", 1)
        for envid in ("", " ENVID=a+3E+20RCPT+20TO:<evil@d.example>"):
            for rcpt in RCPTS:
                say(ENVELOPE.format(envid=envid, rcpt=rcpt), 3)
                say(CONTENT, 1)
        say("QUIT\r\n", 1)
        return codes


async def test_nothing_breaks_out_of_its_place(tmp_path):
    offers = ("PIPELINING", "DSN", "8BITMIME", "SMTPUTF8")
    async with ScriptedPeer(offers=offers) as peer:
        loopback = Loopback(tmp_path, peer.port)
        loopback.configure(top=SOURCE, acct="records d,b\nrecord-fields d *,header_Subject")
        async with loopback.running():
            codes = await asyncio.to_thread(told, loopback.address)
            assert codes == [250, *[250, 250, 354, 250] * 8, 221]
            await until(lambda: len(loopback.rows("d,b")) == 8, 30, loopback.told)
    rows = loopback.rows()
    assert sorted(row["rcpt"] for row in rows) == sorted(RCPTS * 2)
    assert {row["jobId"] for row in rows} == {'j ","x Bcc: evil@d.example y'}
    assert {row["envId"] for row in rows} == {
        "a> RCPT TO:<evil@d.example>",
        "e> RCPT TO:<evil@d.example>",
    }
    assert all(len(row["header_Subject"].splitlines()) == 1 for row in rows)

    assert {line.split()[0] for line in peer.heard} <= VERBS
    for verb, before in (("MAIL", "MAIL FROM:<"), ("RCPT", "RCPT TO:<")):
        commands = [line for line in peer.heard if line.startswith(verb)]
        assert len(commands) == 8
        # Nor does a receiver see it that takes the last bracket for the end of the address.
        assert all(line.startswith(before) and line.count(">") == 1 for line in commands)
    sent = b"".join(peer.segments).split(b"\r\n.\r\n")
    assert len(sent) == 9
    for content in sent[:-1]:
        head, _, body = content.partition(b"\r\n\r\n")
        names = [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] not in b" \t"]
        assert sorted(names) == [b"Received", b"Subject", b"X-Virtual-MTA"]
        assert body == b"hi"
