"""`mta check` says everything about a file, and ends as scripts need it."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mta import cli
from mta.admin.files import DiskFiles
from mta.admin.find_daemon import control_socket
from mta.admin.protocol import Exit
from mta.config.load import load

ROOT = Path(__file__).parent.parent.parent
QUICKSTART = ROOT / "config" / "quickstart.conf"
HEAD = "spool spool\nlog-file log\npostmaster p@example.com\nsmtp-listener 127.0.0.1:2525\n"


@pytest.fixture
def config(tmp_path):
    return tmp_path / "pmta.conf"


def test_a_good_file_ends_with_0_and_says_so(config, capsys):
    config.write_text(HEAD)
    assert cli.main(["check", str(config)]) == Exit.DONE
    assert f"{config} can be used" in capsys.readouterr().out


def test_every_error_of_every_file_is_told_with_its_line(config, capsys):
    config.write_text(HEAD + "max-smtp-ou 3\n<domain *>\nretry-after soon\n</domain>\n")
    other = config.with_name("other.conf")
    other.write_text(HEAD + "no-such yes\n")
    assert cli.main(["check", str(config), str(other)]) == Exit.REFUSED
    out = capsys.readouterr().out
    for place in (f"{config}:5:", f"{config}:7:", f"{other}:5:"):
        assert place in out
    assert "    retry-after soon\n" in out
    assert f"{config} cannot be used: 2 errors" in out


def test_what_is_in_a_file_cannot_play_with_the_terminal(config, capsys):
    config.write_text(HEAD + "max-smtp-\x1b[31mout 3\n<domain \x1b]0;x\x07>\n</domain>\n")
    assert cli.main(["check", str(config)]) == Exit.REFUSED
    out = capsys.readouterr().out
    assert "max-smtp- [31mout" in out
    assert out.replace("\n", "").isprintable()


def test_a_file_that_is_not_there_is_an_error(config, capsys):
    assert cli.main(["check", str(config)]) == Exit.REFUSED
    told = capsys.readouterr().out
    assert f"cannot read {config}" in told
    assert f"{config} cannot be used: 1 error\n" in told, "nothing is said of its defaults"


def test_json_is_for_machines(config, capsys):
    config.write_text(HEAD + "no-such yes\n")
    for words in (["check", str(config), "--format=json"], ["--json", "check", str(config)]):
        assert cli.main(words) == Exit.REFUSED
        (document,) = json.loads(capsys.readouterr().out)
        assert (document["file"], document["usable"]) == (str(config), False)
        errors = [d for d in document["diagnostics"] if d["severity"] == "error"]
        assert errors[0]["line"] == 5


def test_a_source_address_of_another_host_is_a_warning_there_and_an_error_here(config, capsys):
    config.write_text(
        HEAD + "<virtual-mta a>\nsmtp-source-host 192.0.2.77 a.example\n</virtual-mta>\n"
    )
    assert cli.main(["check", str(config)]) == Exit.DONE
    assert f"{config}:6" in capsys.readouterr().out
    assert cli.main(["check", str(config), "--strict"]) == Exit.REFUSED
    assert cli.main(["test", "config", "--config", str(config)]) == Exit.REFUSED
    assert "192.0.2.77" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--tcp", "--dumppackets"]])
def test_words_of_powermta_after_check_are_not_taken_for_files(capsys, options):
    words = ["check", "mfrom", *options, "a@example.com", "192.0.2.1"]
    assert cli.main(words) == Exit.REFUSED
    assert "check mfrom: Sender ID (RFC 4406) is historic; use" in capsys.readouterr().err


def test_test_config_answers_programs_as_all_commands_of_powermta_do(config, capsys):
    config.write_text(HEAD + "no-such <yes>\n")
    words = ["test", "config", "--config", str(config)]
    assert cli.main(words) == Exit.REFUSED
    text = capsys.readouterr().out
    assert cli.main(["--json", *words]) == Exit.REFUSED
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "error"
    assert document["message"] == text.rstrip("\n")
    (file,) = document["data"]["files"]
    assert (file["name"], file["usable"]) == (str(config), False)
    assert 5 in [d["line"] for d in file["diagnostics"] if d["severity"] == "error"]
    assert cli.main(["--xml", *words]) == Exit.REFUSED
    told = ET.fromstring(capsys.readouterr().out)
    assert "5" in [line.text for line in told.findall("data/file/diagnostic/line")]
    assert "cannot be used" in told.findtext("fail")
    assert cli.main(["--dom", *words]) == Exit.REFUSED
    assert '].line="5"\n' in capsys.readouterr().out
    config.write_text(HEAD)
    assert cli.main(["--xml", *words]) == Exit.DONE
    assert "can be used" in ET.fromstring(capsys.readouterr().out).findtext("succ")


def test_the_quickstart_is_in_order(capsys):
    assert cli.main(["check", "--strict", str(QUICKSTART)]) == Exit.DONE, capsys.readouterr().out


def test_the_socket_found_by_lines_is_that_of_the_loaded_configuration(config):
    for text in (QUICKSTART.read_text(), HEAD, "<spool here>\n</spool>\n", "# nothing\n"):
        config.write_text(text)
        configuration = load(str(config), DiskFiles()).configuration
        assert configuration is not None
        loaded = Path(configuration.spools[0].directory) / "control"
        assert control_socket(config).resolve() == loaded.resolve()
