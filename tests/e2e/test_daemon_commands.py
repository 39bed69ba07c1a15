"""Commands put to a running daemon, as operators and their scripts do."""

import asyncio
import json
import subprocess

import pytest

from mta.sim.provider import Provider
from tests.e2e.daemon import PROGRAM, stays, until
from tests.e2e.loopback import Loopback
from tests.e2e.scripted_peer import ScriptedPeer
from tests.e2e.submission import Letter, letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

WAIT_S = 30
SOURCE = """<source 127.0.0.1>
always-allow-relaying yes
process-x-virtual-mta yes
process-x-job yes
</source>"""
VMTA = f"""<virtual-mta one>
max-smtp-out 3
</virtual-mta>
{SOURCE}"""
CHOSEN = "X-Virtual-MTA: one\r\nX-Job: spring\r\n"


@pytest.fixture
async def held(tmp_path):
    """A daemon with three recipients in each of two paused queues, and its provider."""
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(top=VMTA)
        async with loopback.running() as daemon:
            assert (await daemon.command("pause", "queue", "*/*")).code == 1  # none yet
            for queue in ("a.example/one", "b.example/{default}"):
                assert (await daemon.command("pause", "queue", queue)).code == 0
            await loopback.submit(*letters(3, "a.example", CHOSEN), *letters(3, "b.example"))
            yield loopback, daemon, provider


async def test_list_and_delete_by_pattern(held):
    loopback, daemon, provider = held
    listed = await daemon.command("list", "--queue=a.example/one")
    assert listed.code == 0
    assert listed.text.count("@a.example") == 3, listed.text
    document = await daemon.command("--xml", "list", "--queue=a.example/one")
    assert document.text.count("<header_subject>a test</header_subject>") == 3, document.text
    gone = await daemon.command("delete", "--queue=a.example/one", "--rcpt=r1@a.example")
    assert gone.code == 0, gone.text
    await until(lambda: len(loopback.rows("b")) == 1, WAIT_S, loopback.told)
    assert loopback.rows("b")[0]["rcpt"] == "r1@a.example"
    assert (await daemon.command("resume", "queue", "a.example/one")).code == 0
    await until(lambda: len(provider.journal) == 2, WAIT_S, loopback.told)
    nothing = await daemon.command("delete", "--queue=nobody.example/one")
    assert nothing.text == "0 of 0 matching recipients deleted.\n"


async def test_list_has_priority_and_schedule_where_they_are_asked_for(tmp_path):
    loopback = Loopback(tmp_path, 9)
    source = "<source 127.0.0.1>\nalways-allow-relaying yes\nprocess-x-schedule yes\n</source>"
    loopback.configure(top=source)
    window = "2038-01-01 10:00:00 / 2038-01-01 11:00:00"
    async with loopback.running() as daemon:
        await loopback.submit(Letter("a@example.com", f"X-Schedule: {window}\r\n"))
        done = await daemon.command("set", "priority", "90", "--queue=*/*")
        assert done.code == 0, done.text
        listed = await daemon.command("list", "--priority", "--schedule")
        assert f" 90 {window} " in f"{listed.text.splitlines()[2]} ", listed.text
        document = await daemon.command("--xml", "list", "--schedule")
        assert f"<priority>90</priority><schedule>{window}</schedule>" in document.text


async def test_list_has_what_is_in_a_transaction_and_pauses_nothing_for_that(tmp_path):
    async with ScriptedPeer(content=None) as peer:
        loopback = Loopback(tmp_path, peer.port)
        async with loopback.running() as daemon:
            await loopback.submit(Letter("a@example.com"))
            await until(lambda: "DATA" in peer.heard, WAIT_S, loopback.told)
            listed = await daemon.command("list", "--pause")
            assert listed.code == 0, listed.text
            assert "a@example.com" in listed.text
            assert "--pause paused nothing: recipients in a transaction are listed" in listed.text
            assert "0 of 0" in (await daemon.command("show", "queues", "--paused")).text
            daemon.kill()


async def test_show_queues_tells_what_became_of_the_last_recipients(tmp_path):
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(domain="track-recipient-events yes", top=VMTA)
        async with loopback.running() as daemon:
            await loopback.submit(*letters(2, "a.example", CHOSEN))
            await until(lambda: len(loopback.rows("d")) == 2, WAIT_S, loopback.told)
            # A queue without mail is shown if it is paused.
            assert (await daemon.command("pause", "queue", "a.example/one")).code == 0
            shown = await daemon.command("show", "queues")
            assert "Recipient Events (deliveries:2, bounces:0, deferrals:0)\n" in shown.text
            assert " | r1@a.example | spring | " in shown.text
            hidden = await daemon.command("show", "queues", "--no-rcpt-events")
            assert "Recipient Events" not in hidden.text
            document = await daemon.command("--json", "show", "topqueues")
            (queue,) = json.loads(document.text)["data"]["queues"]
            assert {event["type"] for event in queue["rcptEvents"]} == {"delivered"}


async def test_a_source_is_disabled_shown_and_enabled_again(tmp_path):
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        one = "<virtual-mta one>\nsmtp-source-host 127.0.0.1 mta.sender.example\n</virtual-mta>"
        loopback.configure(top=f"{one}\n{SOURCE}")
        async with loopback.running() as daemon:
            disable = ("disable", "source", "127.0.0.1", "a.example/one")
            assert (await daemon.command(*disable)).text == (
                "Source disabled for 1 of 1 matching queues.\n"
            )
            wrong = await daemon.command("disable", "source", "192.0.2.1", "a.example/one")
            assert wrong.code == 1
            assert "no queue that matches a.example/one sends from 192.0.2.1" in wrong.text
            await loopback.submit(*letters(2, "a.example", CHOSEN))
            shown = await daemon.command("--json", "show", "disabled", "sources")
            (source,) = json.loads(shown.text)["data"]["sources"]
            assert (source["queue"], source["ip"]) == ("a.example/one", "127.0.0.1")
            assert "until" not in source
            explained = await daemon.command("explain", "a.example/one")
            assert "127.0.0.1 mta.sender.example (disabled: by an operator)" in explained.text
            await stays(lambda: provider.journal, 0.5)
            enabled = await daemon.command("enable", "source", "127.0.0.1", "a.example/*")
            assert enabled.text == "Source enabled for 1 of 1 matching queues.\n"
            await until(lambda: len(provider.journal) == 2, WAIT_S, loopback.told)
            settings = await daemon.command("show", "vmta-settings", "one")
            assert "smtp-source-host 127.0.0.1 mta.sender.example\n" in settings.text
            assert "Queue Settings" not in settings.text


async def test_show_queues_tells_when_the_mode_changed(held):
    _, daemon, _ = held
    set_ = await daemon.command("set", "queue", "a.example/one", "--mode=backoff")
    assert set_.code == 0, set_.text
    shown = await daemon.command("show", "queues", "--mode-events", "--no-rcpt-events")
    assert "entered backoff mode" in shown.text.partition("b.example")[0].partition("\n    ")[2]
    document = await daemon.command("--dom", "show", "topqueues", "a.example", "--mode-events")
    assert 'queue[0].event[0].type="mode"' in document.text, document.text


async def test_a_rotation_of_an_unknown_accounting_file_is_refused_with_those_there_are(held):
    loopback, daemon, _ = held
    known = str(loopback.directory / "acct/acct.csv")
    assert (await daemon.command("rotate", "acct", known)).code == 0
    refused = await daemon.command("rotate", "acct", "acct.csv")
    assert refused.code == 1
    assert f"no accounting file acct.csv; there are: {known}" in refused.text


async def test_delete_of_a_job_without_accounting(held):
    loopback, daemon, _ = held
    done = await daemon.command("delete", "--jobid=spring", "--no-accounting")
    assert done.code == 0, done.text
    await stays(lambda: loopback.rows("b"), 0.5)
    assert (await daemon.command("list", "--queue=a.example/one")).text.count("@a.example") == 0


async def test_what_is_shown_is_for_people_and_for_machines(held):
    _, daemon, _ = held
    for words in ("status", "queues", "topqueues", "domains", "vmtas", "jobs"):
        shown = await daemon.command("show", *words.split())
        assert shown.code == 0, shown.text
        parsed = await daemon.command("--json", "show", *words.split())
        assert json.loads(parsed.text)["status"]
    queues = (await daemon.command("show", "queues")).text
    assert "a.example/one" in queues
    assert "b.example/{default}" in queues
    settings = await daemon.command("show", "settings", "a.example/one")
    assert settings.code == 0
    assert "max-smtp-out" in settings.text
    jobs = (await daemon.command("show", "jobs")).text.splitlines()
    assert jobs[1].split()[:2] == ["spring", "3"]
    assert jobs[2:] == ["Total of 1 job(s)."]


async def test_explain_of_a_message_says_where_it_is_and_why(held):
    loopback, daemon, _ = held
    (letter,) = letters(1, "a.example", CHOSEN)
    await loopback.submit(letter)
    listed = json.loads((await daemon.command("--json", "list", "--queue=a.example/one")).text)
    number = json.dumps(listed).partition('"id": "')[2].partition('"')[0]
    assert number, listed
    explained = await daemon.command("explain", number)
    assert explained.code == 0, explained.text
    assert "a.example/one" in explained.text
    assert "paused" in explained.text


async def test_one_directive_is_explained_with_its_line(held):
    _, daemon, _ = held
    explained = await daemon.command("explain", "a.example/one", "max-smtp-out")
    assert explained.code == 0, explained.text
    assert "is     5  " in explained.text
    assert "petrel.conf:" in explained.text
    wrong = await daemon.command("explain", "a.example/one", "max-smtp-ot")
    assert wrong.code == 1
    assert 'did you mean "max-smtp-out"' in wrong.text


async def test_a_plan_looks_at_the_queues_that_hold_mail(held, tmp_path):
    _, daemon, _ = held
    text = daemon.config.read_text()
    new = tmp_path / "new.conf"
    new.write_text(text.replace("<virtual-mta one>", "<virtual-mta two>"))
    planned = await daemon.command("plan", str(new))
    assert planned.code == 0, planned.text
    assert "! a.example/one holds mail" in planned.text
    assert "- VirtualMTA one" in planned.text
    assert "+ VirtualMTA two" in planned.text
    assert "b.example" not in planned.text


async def test_trace_shows_the_dialogue_as_it_happens(held):
    _, daemon, _ = held
    trace = await asyncio.create_subprocess_exec(
        *PROGRAM, "trace", "b.example/{default}", "--config", str(daemon.config),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert trace.stdout
        first = await asyncio.wait_for(trace.stdout.readline(), WAIT_S)
        assert first.startswith(b"watching b.example/{default}")
        assert (await daemon.command("resume", "queue", "b.example/{default}")).code == 0
        seen = ""
        async with asyncio.timeout(WAIT_S):
            while "250 " not in seen or "RCPT TO:<r0@b.example>" not in seen:
                seen += (await trace.stdout.readline()).decode()
    finally:
        trace.terminate()
        await trace.wait()
    assert "MAIL FROM:<news@sender.example>" in seen


async def test_trace_has_a_waiting_queue_tried_and_every_octet_shown_and_logged(tmp_path):
    async with Provider() as gone:
        port = gone.port
    loopback = Loopback(tmp_path, port)
    one = "<virtual-mta one>\nsmtp-source-host 127.0.0.1 mta.sender.example\n</virtual-mta>"
    loopback.configure(top=f"{one}\n{SOURCE}", domain="retry-after 1h")
    async with loopback.running() as daemon:
        await loopback.submit(*letters(1, "a.example", CHOSEN))
        await until(lambda: "ECONNREFUSED" in loopback.told(), WAIT_S, loopback.told)
        async with Provider(port=port):
            trace = "trace */* --log-data --log-resolution --to-log --seconds=2s --source-ip="
            traced = await asyncio.gather(
                daemon.command(*f"{trace}192.0.2.1".split()),
                # The other may not have it tried before this one watches.
                daemon.command(*f"{trace}127.0.0.1".split(), "--retry-recipients"),
            )
    elsewhere, here = (one.text for one in traced)
    assert "1 of 1 matching queues scheduled." in here
    for text in (here, loopback.told()):
        assert "dns: a host of a.example is" in text
        assert ">>> 220 " in text
        assert ">>> rd " in text
        assert b"EHLO".hex().upper() in text
    assert ">>> " not in elsewhere


async def test_scripts_hear_of_what_is_wrong_in_their_format_and_of_nothing_where_all_is_well(held):
    _, daemon, _ = held
    for words in ("schedule", "resume queue"):
        assert (await daemon.command(*words.split(), "nobody.example/one")).code == 0
    assert (await daemon.command("pause", "queue", "nobody.example/*")).code == 1
    wrong = await daemon.command("--xml", "show", "queues", "--no-such")
    assert wrong.code == 2
    assert "<rsp><fail>No such option" in wrong.text


async def test_schedule_tries_a_waiting_queue_now(tmp_path):
    async with Provider() as gone:
        port = gone.port
    loopback = Loopback(tmp_path, port)
    loopback.configure(domain="retry-after 1h")
    async with loopback.running() as daemon:
        await loopback.submit(Letter("a@example.com"))
        await until(lambda: "ECONNREFUSED" in loopback.told(), WAIT_S, loopback.told)
        async with Provider(port=port) as back:
            done = await daemon.command("schedule", "example.com/{default}")
            assert done.code == 0, done.text
            await until(lambda: len(back.journal) == 1, WAIT_S, loopback.told)


async def test_without_a_daemon_a_command_says_so_and_ends_with_2(tmp_path):
    loopback = Loopback(tmp_path, 9)
    said = await loopback.daemon.command("show", "status")
    assert said.code == 2
    assert "no daemon" in said.text.lower() or "not running" in said.text.lower(), said.text
