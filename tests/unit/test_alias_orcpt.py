"""Who was written to is not forgotten when an alias stands for somebody else."""

import pytest

from mta.daemon.expansion import expanded
from mta.smtp.command import RcptParameters
from tests.texts import configured

ALIASES = "host-name h.example\nalias info@h.example a@x.example\nalias δοκ@h.example a@x.example\n"


@pytest.mark.parametrize(
    ("address", "given", "orcpt"),
    [
        ("info@h.example", "", "rfc822;info@h.example"),
        ("info@h.example", "rfc822;o@y.example", "rfc822;o@y.example"),
        ("δοκ@h.example", "", "utf-8;δοκ@h.example"),
    ],
)
def test_an_alias_keeps_its_name_as_orcpt(address, given, orcpt):
    """RFC 3461 §5.2.7; RFC 6533 §3 beyond ASCII."""
    (one,) = expanded([RcptParameters(address, given)], "", configured(ALIASES), {})
    assert (one.address, one.orcpt) == ("a@x.example", orcpt)
