"""Which domain block applies, and which wins."""

import pytest

from mta.config.patterns import DomainPattern, candidates, parse_pattern
from tests.texts import domain, only


@pytest.mark.parametrize(
    ("pattern", "domains", "others"),
    [
        ("gmail.com", ["gmail.com"], ["mail.gmail.com", "xgmail.com"]),
        ("*.gmail.com", ["a.gmail.com", "a.b.gmail.com"], ["gmail.com", "agmail.com"]),
        ("[*.]gmail.com", ["gmail.com", "a.gmail.com"], ["agmail.com"]),
        ("Gmail.com.", ["gmail.com"], ["gmail.com."]),
        ("Bücher.example", ["xn--bcher-kva.example"], ["bücher.example"]),
        ("xn--bcher-kva.example", ["xn--bcher-kva.example"], ["bücher.example"]),
        ("[*.]bücher.example.", ["xn--bcher-kva.example", "a.xn--bcher-kva.example"], []),
        ("*", ["gmail.com", "a", "[192.0.2.1]"], []),
        ("[192.0.2.0/24]", ["[192.0.2.7]"], ["[192.0.3.7]", "gmail.com"]),
        ("[2001:db8::/32]", ["[ipv6:2001:db8::1]"], ["[192.0.2.1]"]),
        ("{default}", ["{default}"], ["default"]),
    ],
)
def test_what_a_pattern_matches(pattern, domains, others):
    one = DomainPattern(parse_pattern(pattern))
    assert [one.matches(name) for name in domains] == [True] * len(domains)
    assert [one.matches(name) for name in others] == [False] * len(others)


def test_most_specific_first():
    assert list(candidates("a.b.c")) == [
        "a.b.c", "[*.]a.b.c", "*.b.c", "[*.]b.c", "*.c", "[*.]c", "*",
    ]  # fmt: skip


BLOCKS = {
    "*": 1,
    "[*.]example.com": 2,
    "*.example.com": 3,
    "a.example.com": 4,
    "[10.0.0.0/8]": 5,
    "[10.1.0.0/16]": 6,
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("elsewhere.org", 1),
        ("example.com", 2),
        ("b.example.com", 3),
        ("c.b.example.com", 3),
        ("a.example.com", 4),
        ("b.a.example.com", 3),
        ("[10.2.0.1]", 5),
        ("[10.1.0.1]", 6),
        ("[11.0.0.1]", 1),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_the_most_specific_block_wins_in_any_order(name, expected, order):
    blocks = [f"<domain {p}>\nmax-smtp-out {n}\n</domain>\n" for p, n in BLOCKS.items()]
    assert domain("".join(blocks[::order]), name).max_smtp_out == expected


def test_what_a_specific_block_leaves_out_comes_from_a_wider_one():
    text = (
        "<domain *>\nmax-smtp-out 3\nbounce-after 1d\n</domain>\n"
        "<domain *.b>\nbounce-after 2d\n</domain>\n"
        "<domain a.b>\nretry-after 7m\n</domain>\n"
    )
    settings = domain(text, "a.b")
    assert settings.max_smtp_out == 3
    assert settings.bounce_after == 2 * 86400
    assert settings.retry_after == (7 * 60,)


@pytest.mark.parametrize(
    "pattern", ["gmail .com", "*.*.com", "g*l.com", "[192.0.2.0/99]", "gmail.com/vmta", "-", "a..b"]
)
def test_what_is_no_pattern_is_an_error_at_its_line(pattern):
    assert only(f"\n<domain {pattern}>\nmax-smtp-out 3\n</domain>\n", "error").place.line == 2


@pytest.mark.parametrize("pattern", ["Bücher.example", "*.example.", "xn--bcher-kva.example"])
@pytest.mark.parametrize("name", ["bücher.example", "xn--bcher-kva.example"])
def test_a_block_is_for_a_domain_with_u_labels_or_a_labels(pattern, name):
    text = f"<domain {pattern}>\nmax-smtp-out 3\n</domain>\n"
    assert domain(text, f"{name}/v").max_smtp_out == 3
