"""Configurations of senders, anonymised: what is right in them loads, what is wrong is named.

Some are damaged, or in dialects somebody invented; each such line has its own error, and no
other line has one.
"""

from pathlib import Path

import pytest

from mta.admin.files import DiskFiles
from mta.config.load import load

REAL = Path(__file__).parent.parent / "data" / "config" / "real"
INCLUDED = {
    "/etc/pmta/conf.d/": "c02.d/conf.d/",
    "/etc/pmta/dkimlist.txt": "c02.d/dkimlist.txt",
    "/var/www/exactarget/PMTA/": "c37.d/",
}
"""Where included files stand here."""


class Elsewhere(DiskFiles):
    """Files of another host."""

    def read(self, path):
        for there, here in INCLUDED.items():
            if path.startswith(there):
                path = str(REAL / here) + path[len(there) :].join(["/", ""])
        return super().read(path.rstrip("/"))


def loaded(name):
    return load(str(REAL / name), Elsewhere(), host_name="h.example")


def found(name, severity):
    """Lines, with a part of what is said."""
    return [(d.place.line, d.message) for d in loaded(name).diagnostics if d.severity == severity]


@pytest.mark.parametrize("name", sorted(path.name for path in REAL.glob("c*.conf")))
def test_every_problem_is_at_a_line_there_is(name):
    for one in loaded(name).diagnostics:
        path = Path(one.place.file)
        if path.exists() and one.place.line:
            lines = path.read_bytes().decode("utf-8", "replace").splitlines()
            assert one.place.line <= len(lines)
            if one.line:
                assert one.line.strip()[:60] in lines[one.place.line - 1]


@pytest.mark.parametrize(
    "name",
    ["c01", "c05", "c09", "c14", "c16", "c22", "c23", "c25", "c26", "c27", "c31", "c36", "c38"],
)
def test_what_its_server_took_is_taken(name):
    assert found(f"{name}.conf", "error") == []
    assert loaded(f"{name}.conf").configuration is not None


ERRORS = {
    "c03": {53: "cannot read", 50: "no pattern-list pmta-pattern", 90: "no closing slash",
            91: "no directive", 95: "no closing slash", 96: "no directive"},
    "c06": {32: "bounce-classification-file", 35: "routing-file", 67: "map-header-to-column",
            73: "map-header-to-column", 88: "require-starttls", 129: "require-starttls",
            396: "domain-selection", 397: "one word", 398: "one word", 399: "one word"},
    "c07": {13: "listen-on-tcp", 14: "process-x-virtual-mta", 15: "process-x-sender",
            25: 'no kind of record "all"', 44: "one pattern", 51: "one pattern",
            65: "one pattern", 81: "smtp-source-host", 94: "one pattern",
            103: "smtp-source-host", 116: "one pattern", 136: "virtual-mta-pool-map",
            82: "SELECTOR,DOMAIN,FILE", 104: "SELECTOR,DOMAIN,FILE"},
    "c11": {73: "argument missing"},
    "c15": {57: "argument missing", 100: "argument missing"},
    "c19": {29: "bounce-address", 87: "virtual-mta-group", 92: "virtual-mta-group",
            97: "no virtual-mta group_a", 101: "no virtual-mta group_b",
            115: "no virtual-mta group_a", 116: "no virtual-mta group_b",
            269: "no closing slash", 270: "no directive", 271: "no closing slash",
            272: "no closing slash", 273: "no closing slash", 275: "no closing slash",
            276: "no closing slash", 277: "no closing slash", 278: "no directive"},
    "c29": {2: "argument missing"},
    "c32": {1: "there is more after <virtual-mta pmta-vmta1>", 6: "pmta-vmta2",
            7: "pmta-vmta3", 8: "pmta-vmta4", 9: "pmta-vmta5", 10: "pmta-vmta6",
            17: "pmta-vmta2", 18: "pmta-vmta3", 19: "pmta-vmta4", 20: "pmta-vmta5",
            21: "pmta-vmta6"},
    "c40": {18: "spool-dir", 20: "acct-file", 33: "retry-after", 40: "retry-after",
            62: "bounce-alternative", 68: "use-starttls", 70: "bounce-alternative",
            76: "use-starttls", 78: "bounce-alternative"},
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_each_mistake_is_an_error_at_its_line_and_nothing_else_is(name):
    errors = found(f"{name}.conf", "error")
    assert [line for line, _ in errors] == sorted(ERRORS[name])
    for line, message in errors:
        assert ERRORS[name][line] in message


def test_files_that_are_included_are_read_in_their_place():
    result = loaded("c02.conf")
    files = {Path(d.place.file).name for d in result.diagnostics}
    assert files >= {"c02.conf", "bounce-category-patterns.conf", "domains.conf"}
    vmta = loaded("c37.conf").diagnostics
    assert not [d for d in vmta if "source.txt" in d.message or "vmta.txt" in d.message]


def test_a_wrong_place_names_the_right_one():
    hints = {d.place.line: d.hint for d in loaded("c33.conf").diagnostics if d.severity == "error"}
    assert hints[11] == (
        "it belongs in <smtp-listener> or <smtp-user>; a section begins with <source …>"
    )
    assert hints[14] == "it belongs in <domain>; for all queues, in <domain *>"
    assert hints[151] == "it belongs in <smtp-pattern-list>"


def test_a_dialect_of_ones_own_is_refused_line_by_line():
    assert len(found("c12.conf", "error")) > 70
