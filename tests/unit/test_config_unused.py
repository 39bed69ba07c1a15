"""What can never be in effect, or never be reached, is warned of at its line."""

import pytest

from tests.texts import only, said

HERE = "<source 127.0.0.1>\n{}\n</source>\n<source ::1>\nalways-allow-relaying yes\n</source>\n"
"""Speaks of every client of this host, so that none may choose a VirtualMTA by default."""
VMTA = "<virtual-mta a>\n{}\n</virtual-mta>\n"


def block(pattern, connections):
    return f"<domain {pattern}>\nmax-smtp-out {connections}\n</domain>\n"


POOL = "<virtual-mta-pool p>\nvirtual-mta a\n</virtual-mta-pool>\n"
TWO = "domain-macro m x.org, y.org\n"
NEVER = "max-smtp-out 3 is never in effect: /etc/pmta/config:{} hides it"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (block("x.org", 3) + block("x.org", 4), 2, NEVER.format(5)),
        (TWO + block("$m", 3) + block("x.org", 4) + block("y.org", 4), 3, NEVER.format(6)),
        (
            block("[*.]x.org", 3) + block("x.org", 4) + block("*.x.org", 5),
            2,
            NEVER.format(5),
        ),
        (
            block("x.org", 3) + block("y.org", 4) + VMTA.format(block("*", 9)),
            2,
            "max-smtp-out here (and 1 more at the top level) holds for no VirtualMTA but {default}",
        ),
        (VMTA.format("host-name b.org") + HERE.format("smtp-service yes"), 1, "to VirtualMTA a"),
        (VMTA.format("") + POOL + HERE.format("smtp-service yes"), 4, "to pool p"),
    ],
)
def test_what_nothing_can_come_to_is_told(text, line, words):
    found = only(text, "warning")
    assert found.place.line == line
    assert words in found.message
    assert found.line


@pytest.mark.parametrize(
    "text",
    [
        TWO + block("$m", 3) + block("x.org", 4),
        block("x.org", 3) + block("x.org", 3),
        block("[*.]x.org", 3) + block("x.org", 4),
        block("*", 3) + VMTA.format(block("*", 9)),
        VMTA.format(""),
        VMTA.format("") + HERE.format("process-x-virtual-mta yes"),
        VMTA.format("") + HERE.format("default-virtual-mta a"),
        VMTA.format("") + POOL + HERE.format("default-virtual-mta p"),
        VMTA.format("") + HERE.format("default-virtual-mta by-smtp-source-ip"),
    ],
)
def test_what_some_mail_comes_to_is_no_matter(text):
    assert said(text, "warning") == []


@pytest.mark.parametrize(
    ("tag", "body", "ending"),
    [
        ("smtp-pattern-list", "reply /421/ mode=backoff\n", "and are one"),
        ("address-list", "", "and are one"),
        ("domain-key-list", "", "are one"),
        ("smtp-user", "password x\n", "and are two"),
    ],
)
def test_names_that_differ_only_in_case_are_told(tag, body, ending):
    text = "".join(f"<{tag} {name}>\n{body}</{tag}>\n" for name in ("Bulk", "bulk"))
    use = "<domain *>\nsmtp-pattern-list Bulk\n</domain>\n" if tag == "smtp-pattern-list" else ""
    found = only(text + use, "warning").message
    assert "bulk and Bulk" in found
    assert ending in found
