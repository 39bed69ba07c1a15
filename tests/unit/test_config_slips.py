"""A first configuration with ten slips: each is found in one run, at its place."""

from pathlib import Path

from mta.admin.files import load_file

FILE = Path(__file__).parent.parent / "data/config/slips.conf"

FOUND = [
    ("error", 13, "there is no virtual-mta mailer-1", 'did you mean "mailer1"?'),
    ("error", 17, "lets anybody relay", "name the networks that may"),
    ("error", 21, "password: argument missing", "in double quotes"),
    ("error", 25, "smtp-source-host: the address goes first", "192.0.2.1 mail1.example.org"),
    ("error", 31, "macro $yaho is not defined", 'did you mean "$yahoo"?'),
    ("error", 36, '<domain> has no directive "max-smpt-out"', 'did you mean "max-smtp-out"?'),
    ("warning", 37, "max-msg-rate 0 means no limit", "type discard"),
    ("error", 38, "expected an interval such as 10m", "'10 minutes'"),
    ("warning", 47, "the expression can never match", "421 4.7.0"),
    ("error", 48, "not a regular expression: missing )", ""),
    ("error", 49, "</smtp-pattern-lst> closes nothing", 'did you mean "</smtp-pattern-list>"?'),
]


def test_each_slip_is_told_at_its_line_with_what_to_do():
    found = [d for d in load_file(str(FILE)).diagnostics if d.severity != "note"]
    assert [(d.severity, d.place.line) for d in found] == [one[:2] for one in FOUND]
    for diagnostic, (_, _, words, hint) in zip(found, FOUND, strict=True):
        assert words in str(diagnostic)
        assert hint in str(diagnostic)
        assert diagnostic.line.strip()
        assert diagnostic.place.column <= len(diagnostic.line)
