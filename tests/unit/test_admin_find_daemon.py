"""The control socket is found in any configuration that names a spool, broken or not."""

import pytest

from mta.admin.find_daemon import control_socket
from mta.errors import PetrelError


@pytest.fixture
def config(tmp_path):
    return tmp_path / "pmta.conf"


@pytest.mark.parametrize(
    ("text", "directory"),
    [
        ("spool /var/spool/pmta", "/var/spool/pmta"),
        ("  Spool\t/var/spool/pmta  # the first\nspool /second", "/var/spool/pmta"),
        ("<spool /var/spool/pmta>\n min-free-space 1G\n</spool>", "/var/spool/pmta"),
        ('<spool "/var/my spool" >\n</spool>', "/var/my spool"),
        ('spool "/var/my spool" # it has a blank', "/var/my spool"),
        ("<global>\nspool /s\n</global>", "/s"),
        ("# spool /no\n<domain *>\nmax-smtp-ou 3\n\nspool /s\n<never closed", "/s"),
        ("spool-min-free-space 4\nspool /s", "/s"),
    ],
)
def test_the_first_spool_named_holds_the_socket(config, text, directory):
    config.write_text(text)
    assert str(control_socket(config)) == f"{directory}/control"


def test_a_relative_spool_stands_beside_the_configuration(config):
    config.write_text("spool ../spool\n")
    assert control_socket(config) == config.parent / ".." / "spool" / "control"


def test_included_files_are_searched_where_they_are_included(config):
    (config.parent / "b.d").mkdir()
    (config.parent / "b.d" / "2.conf").write_text("spool /two")
    (config.parent / "b.d" / "1.conf").write_text("# nothing here")
    config.write_text("include none.conf\ninclude b.d/*.conf\nspool /last")
    assert str(control_socket(config)) == "/two/control"
    config.write_text(f"include {config.parent}/b.d/*.conf\nspool /last")
    assert str(control_socket(config)) == "/two/control"


def test_files_that_include_each_other_do_not_hang_it(config):
    config.write_text("include *.conf\n" * 40 + "spool /s")
    config.with_name("other.conf").write_text("include *.conf\n" * 40)
    assert str(control_socket(config)) == "/s/control"


def test_a_file_that_cannot_be_read_is_named(config):
    with pytest.raises(PetrelError, match=f"cannot read {config}: No such file"):
        control_socket(config)
