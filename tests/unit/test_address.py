"""What may stand in an envelope, and in a command to a peer, as an address."""

import pytest

from mta import address


@pytest.mark.parametrize(
    "text",
    ["a@b.example", ".a..b.@b.example", '"a b"@b.example', r'"a\"b"@b.example', "δοκ@παρ.example",
     "a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "a@b.example.", "!#$%&'*+-/=?^_`{|}~@b.example",
     f"{'a' * 64}@b.example"],
)  # fmt: skip
def test_what_is_an_address(text):
    assert address.is_valid(text)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a@", "@b.example", "a b@b.example", 'a"b@b.example', "a@b..example", "a@-b.example",
     f"{'a' * 65}@b.example", f"{'é' * 33}@b.example", f"a@{'b' * 256}"],
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
