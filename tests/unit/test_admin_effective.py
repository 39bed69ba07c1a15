"""`mta explain QUEUE` and `mta show settings QUEUE` of a file, with no daemon anywhere."""

import json

import pytest

from mta import cli
from mta.admin.protocol import Exit

TEXT = """\
<virtual-mta a>
    max-smtp-out 5
    <domain *>
        max-msg-rate 9/m
    </domain>
</virtual-mta>
<virtual-mta-pool p>
    virtual-mta a
    max-smtp-out 50
    max-smtp-msg-rate 7/s
</virtual-mta-pool>
<domain gmail.com>
    max-msg-rate 3/m
</domain>
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pmta.conf"
    path.write_text(TEXT)
    return str(path)


def test_explain_names_the_line_that_decides_and_those_it_hides(file, capsys):
    assert cli.main(["explain", "gmail.com/a", "max-msg-rate", "--file", file]) == Exit.DONE
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["is", "9/m", f"{file}:4"] in lines
    assert ["hides", "3/m", f"{file}:13"] in lines


def test_explain_without_a_directive_tells_those_that_the_file_gives(file, capsys):
    assert cli.main(["explain", "gmail.com/a", "--file", file, "--json"]) == Exit.DONE
    found = {s["directive"]: s for s in json.loads(capsys.readouterr().out)["data"]["settings"]}
    assert found.keys() == {"max-smtp-out", "max-smtp-msg-rate", "max-msg-rate"}
    assert found["max-smtp-msg-rate"]["place"] == f"{file}:10"
    assert found["max-smtp-out"]["hidden"] == [{"value": "50", "place": f"{file}:9"}]


def test_show_settings_tells_every_directive(file, capsys):
    assert cli.main(["show", "settings", "gmail.com/a", "--file", file]) == Exit.DONE
    lines = capsys.readouterr().out.splitlines()
    assert "max-smtp-out 5" in lines
    assert "max-msg-rate 9/m" in lines
    assert "retry-after 10m" in lines


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["gmail.com/b"], 'has no VirtualMTA "b"'),
        (["gmail.com/p"], "it is a pool of a"),
        (["gmail.com/a", "max-smpt-out"], 'did you mean "max-smtp-out"?'),
    ],
)
def test_what_is_not_there_is_refused(file, capsys, typed, said):
    assert cli.main(["explain", *typed, "--file", file]) == Exit.REFUSED
    assert said in capsys.readouterr().err


def test_a_file_with_errors_is_refused_with_the_first(tmp_path, capsys):
    path = tmp_path / "pmta.conf"
    path.write_text("max-smpt-out 3\n")
    assert cli.main(["explain", "gmail.com", "--file", str(path)]) == Exit.REFUSED
    assert 'no directive "max-smpt-out"' in capsys.readouterr().err
