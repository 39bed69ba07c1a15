"""Every declared command can be typed, shortened, asked for help and refused with a reason."""

import json
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete

from mta import cli
from mta.admin.commands import COMMANDS
from mta.admin.digest import siphash
from mta.admin.local_commands import LOCAL_COMMANDS
from mta.admin.protocol import Exit

# Guide: pmta commands, with what they take.
MANUAL = """
    clear dnscache, clear secretscache, check mfrom, check pra, check spf, delete, deregister,
    digest, disable source, enable source, list, pause queue, resume queue, pause job, resume job,
    register, reload, reset counters, reset status, resolve, rotate acct, rotate log, schedule,
    set priority, set queue, show disabled sources, show domains, show topdomains, show queues,
    show topqueues, show jobs, show vmtas, show vmta-settings, show settings, show status,
    show version, show license, show precache, show registration, test config, trace
"""


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Requests put to the daemon, and where; `type_` types a command."""
    config = tmp_path / "pmta.conf"
    config.write_text("spool /var/spool/petrel-1\n")
    asked = Asked(config)
    monkeypatch.setattr("mta.admin.client.ask", asked.ask)
    return asked


class Asked:
    def __init__(self, config):
        self.config = config
        self.requests = []
        self.paths = []

    def ask(self, path, request, **_):
        self.paths.append(str(path))
        self.requests.append(request)
        return Exit.DONE

    def type_(self, typed: str) -> int:
        return cli.main(["--config", str(self.config), *typed.split()])


def test_every_command_of_the_manual_is_declared_or_refused():
    declared = {
        words
        for command in (*COMMANDS, *LOCAL_COMMANDS)
        for words in (command.words, *command.aliases)
    }
    assert {words.strip() for words in MANUAL.split(",")} <= declared


def test_a_command_has_exactly_one_way_to_be_carried_out():
    for c in (*COMMANDS, *LOCAL_COMMANDS):
        ways = [c.run is not None, c.stream is not None, bool(c.unavailable), c.local]
        assert sum(ways) == 1, c.words
        assert c.local == (c in LOCAL_COMMANDS)
    assert {c.words for c in LOCAL_COMMANDS} == set(cli._LOCAL)


@pytest.mark.parametrize(
    "words", [c.words for c in (*COMMANDS, *LOCAL_COMMANDS) if c.words != "sink"]
)
def test_every_command_has_help(words, capsys):
    assert cli.main([*words.split(), "--help"]) == 0
    assert "Usage:" in capsys.readouterr().out


@pytest.mark.parametrize("words", [c.words for c in COMMANDS if c.unavailable])
def test_an_unavailable_command_is_refused_with_what_to_do_instead(words, capsys):
    assert cli.main([*words.split(), "x", "--queue=*/*"]) == Exit.REFUSED
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(f"{words}: ")


def test_an_unavailable_command_is_refused_in_the_format_asked_for(capsys):
    assert cli.main(["--json", "show", "license"]) == Exit.REFUSED
    assert json.loads(capsys.readouterr().out)["status"] == "error"


@pytest.mark.parametrize(
    ("typed", "command", "arguments"),
    [
        ("show status", "show status", {}),
        ("sh stat", "show status", {}),
        ("SHOW Status", "show status", {}),
        ("show topq --errors", "show topqueues", {"errors": "yes"}),
        ("sh queues gmail.com/*", "show queues", {"queues": "gmail.com/*"}),
        ("show queues --paused", "show queues", {"paused": "yes"}),
        ("show queues --paused=no", "show queues", {"paused": "no"}),
        (
            "show queues --paused gmail.com/*",
            "show queues",
            {"paused": "yes", "queues": "gmail.com/*"},
        ),
        ("show queues --maxitems 5", "show queues", {"maxitems": "5"}),
        ("reset status", "reset counters", {}),
        ("reset count", "reset counters", {}),
        ("clear dns *", "clear dnscache", {"domain": "*"}),
        ("delete --jobId=j1 --DSN", "delete", {"jobId": "j1", "dsn": "yes"}),
        ("delete --jobid=j1", "delete", {"jobId": "j1"}),
        ("delete --orig=<>", "delete", {"orig": "<>"}),
        ("list --older-than=2h", "list", {"older-than": "2h"}),
        ("set queue a.com --mode=backoff", "set queue", {"queues": "a.com", "mode": "backoff"}),
        ("explain a.com/v1", "explain", {"subject": "a.com/v1"}),
        ("pause queue a.com/v1", "pause queue", {"queues": "a.com/v1"}),
        (
            "disable source 192.0.2.1 a.com --reenable-after=1h",
            "disable source",
            {
                "ip": "192.0.2.1",
                "queues": "a.com",
                "reenable-after": "1h",
            },
        ),
        ("show dis so", "show disabled sources", {}),
        ("show vmta-settings v1", "show vmta-settings", {"vmta": "v1"}),
        ("show dom --conn", "show domains", {"connected": "yes"}),
        ("show q --max=5 --Mode-E", "show queues", {"maxitems": "5", "mode-events": "yes"}),
        ("show topq --no-rcpt-events", "show topqueues", {"no-rcpt-events": "yes"}),
        (
            "list --pause --priority --schedule",
            "list",
            {
                "pause": "yes",
                "priority": "yes",
                "schedule": "yes",
            },
        ),
        ("list --job=j --rcpt=--max", "list", {"jobId": "j", "rcpt": "--max"}),
        ("delete --queue=a/* --accounting", "delete", {"queue": "a/*", "accounting": "yes"}),
        (
            "trace --logdata --logresolution --to-log a.com",
            "trace",
            {
                "log-data": "yes",
                "log-resolution": "yes",
                "to-log": "yes",
                "queues": "a.com",
            },
        ),
        (
            "trace --log-data --retry-recipients --source-ip=192.0.2.1 a.com",
            "trace",
            {
                "log-data": "yes",
                "retry-recipients": "yes",
                "source-ip": "192.0.2.1",
                "queues": "a.com",
            },
        ),
    ],
)
def test_what_is_typed_becomes_a_request(asked, typed, command, arguments):
    assert asked.type_(typed) == Exit.DONE
    (request,) = asked.requests
    assert asked.paths == ["/var/spool/petrel-1/control"]
    assert (request.command, request.arguments) == (command, arguments)


@pytest.mark.parametrize(
    "typed",
    ["--dom show topq", "show topq --dom", "show --dom topq", "--xml show topq --dom"],
)
def test_the_format_may_stand_anywhere(asked, typed):
    assert asked.type_(typed) == Exit.DONE
    assert asked.requests[0].format == "dom"


@pytest.mark.parametrize("before", [True, False])
def test_the_daemon_is_found_by_its_configuration(asked, tmp_path, before):
    other = tmp_path / "other.conf"
    other.write_text("spool other\n")
    option = ["--config", str(other)]
    words = ["show", "status"]
    assert cli.main([*option, *words] if before else [*words, *option]) == Exit.DONE
    assert asked.paths == [str(tmp_path / "other" / "control")]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("no-such", "no command 'no-such' here"),
        ("show", ""),
        ("show top", "topdomains or topqueues"),
        ("re", "reload, reset, resolve or resume"),
        ("show queues a b", "unexpected extra argument"),
        ("show queues --maxitems=0", "--maxitems=N: expected a number from 1"),
        ("show queues --no-such", "No such option"),
        ("show queues /", "expected a queue such as"),
        ("pause queue", "Missing argument"),
        ("set queue a.com", "Missing option '--mode'"),
        ("set queue a.com --mode=slow", "expected normal or backoff"),
        ("delete", "everything is --queue=*/*"),
        ("delete --older-than=2h", "delete needs"),
        ("explain */*", "without wildcards"),
        ("show queues --mod=normal", "--mod may be --mode or --mode-events"),
        ("show queues --con", "--con may be --config or --connected; write more of it"),
        ("trace a.com --xml", "trace has no --xml, only text"),
        ("digest x --key=k", "digest needs --hmac-sha256 or --siphash, one of them"),
        ("digest x --siphash", "digest needs --key or --hexkey, one of them"),
        ("digest x --siphash --key=12345678901234567", "at most 16 octets; this one has 17"),
        ("digest x --siphash --hexkey=abc", "an even number of hexadecimal digits"),
        ("--json fmt x", "fmt has no --json, only text"),
        ("plan x --dom", "plan has no --dom, only text; it has --json"),
    ],
)
def test_what_is_typed_wrongly_ends_with_2_and_reaches_no_daemon(asked, capsys, typed, said):
    assert asked.type_(typed) == Exit.USAGE
    assert said in capsys.readouterr().err
    assert asked.requests == []


@pytest.mark.parametrize(
    "typed",
    [
        "--json show queues --no-such",
        "show queues --maxitems=0 --json",
        "show queues --xml / --JSON",
        "--json delete",
        "--json pause queue",
        "--json no-such",
        "--json show",
        "--json",
    ],
)
def test_a_program_that_typed_it_wrongly_reads_why_in_its_format(asked, capsys, typed):
    assert asked.type_(typed) == Exit.USAGE
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["status"] == "error"
    assert document["message"]
    assert document["message"] in said.err or "Usage:" in said.err


def test_wrong_xml_commands_are_answered_with_a_failure_and_text_ones_with_nothing(asked, capsys):
    asked.type_("--xml show queues --no-such")
    assert capsys.readouterr().out.startswith("<rsp><fail>No such option")
    asked.type_("show queues --no-such -- --xml")
    assert capsys.readouterr().out == ""


def test_an_answer_that_breaks_off_before_its_beginning_is_a_document_too(
    asked, capsys, monkeypatch
):
    def ask(*_, error, **__):
        error("the daemon ended the connection in the middle of its answer")
        return Exit.UNKNOWN

    monkeypatch.setattr("mta.admin.client.ask", ask)
    assert asked.type_("--json show status") == Exit.UNKNOWN
    assert json.loads(capsys.readouterr().out)["message"].startswith("the daemon ended")


def test_without_a_daemon_it_says_what_to_do(tmp_path, capsys):
    config = tmp_path / "pmta.conf"
    config.write_text(f"spool {tmp_path}\n")
    assert cli.main(["--config", str(config), "show", "status"]) == Exit.USAGE
    error = capsys.readouterr().err
    assert "no daemon answers" in error
    assert "mta run" in error


def test_an_unreadable_configuration_is_named(tmp_path, capsys):
    assert cli.main(["--config", str(tmp_path / "none"), "reload"]) == Exit.USAGE
    assert f"cannot read {tmp_path / 'none'}" in capsys.readouterr().err


def test_asking_a_daemon_imports_no_mail_library():
    script = (
        "import sys; from mta import cli; import mta.admin.client, mta.admin.find_daemon; "
        "cli.main(['show', 'status', '--config', '/nonexistent']); "
        "print(*sorted({'asyncio', 'aiosmtpd', 'aiosmtplib', 'dns', 'rich', 'sqlite3', 'ssl', "
        "'mta.config', 'mta.settings', 'mta.net'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("options", "result"),
    [
        (
            "--hmac-sha256 --key=secretkey",
            "614648A140A88192D375C22E606BEC922E8CFA71A5063C067E6BE7CB49C506AA",
        ),
        ("--siphash --key=secretkey", "EB938A2508145899"),
        (
            "--hmac-sha256 --hexkey=1234abcd",
            "3BB5D751EB1C3ECCD12C10B315DADEBA35C3A6DF822E44A347FC01B38001477A",
        ),
        ("--siphash --hexkey=1234abcd", "D343D887797D2CFB"),
    ],
)
def test_a_digest_is_that_of_powermta(capsys, options, result):
    assert cli.main(["digest", *options.split(), "port25"]) == Exit.DONE
    assert capsys.readouterr().out == f"Result: {result}\n"
    assert cli.main(["--json", "digest", *options.split(), "port25"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["message"] == f"Result: {result}"


@pytest.mark.parametrize("length", [0, 1, 7, 8, 15])
def test_siphash_has_the_values_of_its_authors(length):
    wanted = {
        0: "310e0edd47db6f72", 1: "fd67dc93c539f874", 7: "37d1018bf50002ab",
        8: "6224939a79f5f593", 15: "e545be4961ca29a1",
    }  # fmt: skip
    assert siphash(bytes(range(16)), bytes(range(length))).hex() == wanted[length]


def test_a_reader_that_has_enough_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m mta --help | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""


def test_the_command_tree_of_click_is_the_registry():
    def walk(group: click.Group, words: str = ""):
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from walk(command, f"{words}{name} ")
            else:
                yield f"{words}{name}"

    every = {w for c in (*COMMANDS, *LOCAL_COMMANDS) for w in (c.words, *c.aliases)}
    by_check = {w for w in every if w.startswith("check ")}
    assert set(walk(cli._root())) == every - by_check


@pytest.mark.parametrize("words", [["directives"], ["explain", "gmail.com/a"]])
def test_the_shell_completes_names_of_directives(words):
    completer = ShellComplete(cli._root(), {}, "mta", "_MTA_COMPLETE")
    found = {one.value for one in completer.get_completions(words, "retry-after")}
    assert found == {"retry-after", "retry-after-dns-error"}
