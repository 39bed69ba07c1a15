"""What may stand in an envelope, and in a command to a peer, as an address."""

import pytest

from mta import address


@pytest.mark.parametrize(
    "text",
    ["a@b.example", ".a..b.@b.example", '"a b"@b.example', r'"a\"b"@b.example', "δοκ@παρ.example",
     "a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "a@b.example.", "!#$%&'*+-/=?^_`{|}~@b.example",
     f"{'a' * 64}@b.example", f"{'a' * 385}@b.example"],
)  # fmt: skip
def test_what_is_an_address(text):
    assert address.is_valid(text)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a@", "@b.example", "a b@b.example", 'a"b@b.example', "a@b..example", "a@-b.example",
     f"{'a' * 386}@b.example", f"{'é' * 193}@b.example", f"a@{'b' * 256}"],
)  # fmt: skip
def test_what_is_none(text):
    assert not address.is_valid(text)


@pytest.mark.parametrize("local", ["<", ">", "a<b", r"\<", r"a\>b"])
def test_no_address_has_angle_brackets_not_even_quoted(local):
    assert not address.is_valid(f'"{local}"@b.example')


@pytest.mark.parametrize("text", ["a\udcff@b.example", '"\udcff"@b.example', "a@b\udcff.example"])
def test_what_is_no_utf8_is_no_address(text):
    assert not address.is_valid(text)


@pytest.mark.parametrize(
    "text", [f'{"a" * 63}"@b.example', f"a@{'b' * 250}~", f"a@{'b.' * 127}~", f"{'a.' * 2000}@"]
)
def test_no_text_takes_long_to_be_refused(text):
    """A repetition within a repetition would take years for the first of them."""
    assert not address.is_valid(text)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("Bücher.Example.", "xn--bcher-kva.example"),
        ("bücher。example", "xn--bcher-kva.example"),
        ("BU\u0308CHER.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
        ("{default}", "{default}"),
    ],
)
def test_a_domain_has_one_spelling(given, name):
    assert address.domain_name(given) == name
    assert address.domain_name(name) == name


@pytest.mark.parametrize("text", [
        "\uff5bdefault\uff5d", "\uff3b192.0.2.1\uff3d", "a\uff0fb.example", "ü" * 64, "\u2026",
    ]
)  # fmt: skip
def test_what_cannot_stand_in_dns_is_no_other_name(text):
    assert address.domain_name(text) == text
    assert not address.ascii_domain(text)


@pytest.mark.parametrize(
    ("given", "one"),
    [
        ("Joe@Example.com.", "Joe@example.com"),
        ('"Joe"@example.com', "Joe@example.com"),
        (r'"j\oe"@example.com', "joe@example.com"),
        ('"joe"', "joe"),
        ('"a b"@example.com', '"a b"@example.com'),
        (r'"a\ b"@example.com', '"a b"@example.com'),
        (r'"a\"b"@example.com', r'"a\"b"@example.com'),
        ('"a@b"@example.com.', '"a@b"@example.com'),
        ('""@example.com', '""@example.com'),
        ("joe@bücher.example", "joe@xn--bcher-kva.example"),
    ],
)
def test_an_address_has_one_spelling(given, one):
    assert address.mailbox(given) == one
    assert address.mailbox(one) == one


def test_an_expression_sees_every_spelling():
    assert address.spellings("Joe@Example.com") == ("joe@example.com",)
    assert set(address.spellings('"joe"@xn--bcher-kva.example.')) == {
        '"joe"@xn--bcher-kva.example.', "joe@xn--bcher-kva.example", "joe@bücher.example"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("xn--bcher-kva.example", "bücher.example"),
        ("xn--fa-hia.example", "faß.example"),
        ("example.com", "example.com"),
        ("xn--a.example", "xn--a.example"),
        ("xn--" + "{default}".encode("punycode").decode(), "xn--{default}-"),
    ],
)
def test_people_read_u_labels_where_they_lead_back(name, shown):
    assert address.utf8_domain(name) == shown
