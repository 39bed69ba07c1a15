"""`mta fmt` and `mta directives`, as they are typed."""

import json
import stat
from xml.etree import ElementTree as ET

import pytest

from mta import cli
from mta.admin.protocol import Exit
from mta.config.sections import SECTIONS
from mta.settings.directive import directives

RAW = "SPOOL  /s # here\r\n<domain *>\r\nmax-smtp-out 3\r\n</domain>\r\n"
LAID_OUT = "spool /s  # here\n<domain *>\n    max-smtp-out 3\n</domain>\n"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "pmta.conf"
    path.write_bytes(RAW.encode())
    path.chmod(0o640)
    return path


def test_fmt_prints_and_leaves_the_file_alone(config, capsys):
    assert cli.main(["fmt", str(config)]) == Exit.DONE
    assert capsys.readouterr().out == LAID_OUT
    assert config.read_bytes() == RAW.encode()


def test_fmt_write_replaces_what_is_there_and_names_what_changed(config, capsys):
    assert cli.main(["fmt", "--write", str(config)]) == Exit.DONE
    assert capsys.readouterr().out == f"{config}\n"
    assert config.read_bytes() == LAID_OUT.encode()
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert cli.main(["fmt", "--write", str(config)]) == Exit.DONE
    assert capsys.readouterr().out == ""
    assert [path.name for path in config.parent.iterdir()] == ["pmta.conf"]


def test_fmt_of_a_link_writes_to_what_it_points_to(config):
    link = config.with_name("link.conf")
    link.symlink_to(config)
    assert cli.main(["fmt", "--write", str(link)]) == Exit.DONE
    assert link.is_symlink()
    assert config.read_bytes() == LAID_OUT.encode()


def test_fmt_leaves_what_it_cannot_read_and_does_the_others(config, capsys):
    other = config.with_name("latin.conf")
    other.write_bytes(b"# gr\xfc\xdfe\n")
    missing = config.with_name("none.conf")
    assert cli.main(["fmt", "--write", str(other), str(missing), str(config)]) == Exit.REFUSED
    said = capsys.readouterr().err
    assert "latin.conf: not UTF-8" in said
    assert "none.conf: No such file" in said
    assert other.read_bytes() == b"# gr\xfc\xdfe\n"
    assert config.read_bytes() == LAID_OUT.encode()


def test_a_directive_is_described_for_each_place_it_may_stand_in(capsys):
    assert cli.main(["directives", "MAX-MSG-RATE"]) == Exit.DONE
    said = capsys.readouterr().out
    assert "in <domain>" in said
    assert "in <virtual-mta>" in said
    assert "default unlimited" in said


def test_a_pattern_gives_all_that_match(capsys):
    assert cli.main(["directives", "backoff-max-*"]) == Exit.DONE
    said = capsys.readouterr().out
    assert "backoff-max-msg-rate N/TIME" in said
    assert "backoff-max-connect-rate" in said


def test_a_section_lists_its_directives(capsys):
    assert cli.main(["directives", "<source>"]) == Exit.DONE
    said = capsys.readouterr().out
    for name in directives(SECTIONS["source"].scope):
        assert f" {name} " in said


def test_without_a_name_all_are_listed(capsys):
    assert cli.main(["directives"]) == Exit.DONE
    said = capsys.readouterr().out
    assert all(f"<{tag}>" in said for tag in SECTIONS if tag != "global")


@pytest.mark.parametrize("status", ["NOT IN FORCE YET", "ACCEPTED WITHOUT EFFECT"])
def test_what_does_nothing_says_so(status, capsys):
    names = {"NOT IN FORCE YET": "process-bounces", "ACCEPTED WITHOUT EFFECT": "dk-sign"}
    assert cli.main(["directives", names[status]]) == Exit.DONE
    assert status in capsys.readouterr().out


def test_directives_are_told_to_programs(capsys):
    assert cli.main(["--json", "directives", "max-msg-rate"]) == Exit.DONE
    found = json.loads(capsys.readouterr().out)["data"]["directives"]
    (one,) = [d for d in found if d["section"] == "<domain>"]
    assert (one["default"], one["change"], one["status"]) == ("unlimited", "reload", "in force")
    assert one["inPowerMta"] is True
    assert cli.main(["directives", "--xml", "dk-sign"]) == Exit.DONE
    told = ET.fromstring(capsys.readouterr().out).find("data/directive")
    assert told.findtext("status") == "accepted without effect"
    assert told.findtext("reason")
    assert cli.main(["--dom", "directives", "<source>"]) == Exit.DONE
    names = capsys.readouterr().out.count("].name=")
    assert names == len(directives(SECTIONS["source"].scope))
    assert cli.main(["--json", "directives"]) == Exit.DONE
    assert len(json.loads(capsys.readouterr().out)["data"]["directives"]) > 300


def test_a_slip_is_told_to_programs(capsys):
    assert cli.main(["--xml", "directives", "max-smtp-ou"]) == Exit.REFUSED
    assert capsys.readouterr().out.startswith("<rsp><fail>there is no directive")


def test_a_slip_is_answered_with_the_nearest_name(capsys):
    assert cli.main(["directives", "max-smtp-ou"]) == Exit.REFUSED
    assert 'did you mean "max-smtp-out"' in capsys.readouterr().err
