"""Address lists: what is in them is refused, and what is not passes."""

import tracemalloc

import pytest

from mta.daemon.suppression import AddressSet, read_now
from mta.errors import ConfigError
from tests.texts import configured

LISTS = """
domain-macro isp one.example,two.example
<address-list bad>
address Anna@Example.com
address abuse
address /^spam-.*@trap\\.example$/
domain $isp
domain [*.]deep.example
domain *.sub.example
</address-list>
<address-list other>
address otto@example.com
</address-list>
"""


def lists(text=LISTS):
    return read_now(configured(text).submitters.address_lists)


@pytest.mark.parametrize(
    "address",
    ["anna@example.com", "ANNA@EXAMPLE.COM", "abuse@anywhere.example", "spam-1@trap.example",
     "x@one.example", "x@TWO.example", "x@deep.example", "x@very.deep.example", "x@a.sub.example"],
)  # fmt: skip
def test_who_is_in_a_list_is_refused(address):
    reply = lists().refusal(("Bad",), address)
    assert str(reply) == (
        f'550 5.7.1 recipient is in suppression list "bad": <{address}> in "RCPT TO:<{address}>"'
    )


@pytest.mark.parametrize(
    "address",
    ["hanna@example.com", "anna@example.org", "abuse.x@example.com", "spam-1@trap.example.com",
     "x@three.example", "x@sub.example", "x@undeep.example", "otto@example.com"],
)  # fmt: skip
def test_who_is_not_passes(address):
    assert lists().refusal(("bad",), address) is None


def test_the_first_list_that_has_it_is_named():
    assert '"other"' in str(lists().refusal(("other", "bad"), "otto@example.com"))
    assert lists().refusal((), "otto@example.com") is None


def test_files_are_read_line_by_line(tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("# a comment\n\nKim@Example.com\r\n  root\n")
    found = lists(f"<address-list a>\naddress-file {file}\n</address-list>")
    assert found.refusal(("a",), "kim@example.com")
    assert found.refusal(("a",), "root@example.com")
    assert found.refusal(("a",), "kim@example.org") is None


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"no\.txt: No such file"):
        lists(f"<address-list a>\naddress-file {tmp_path}/no.txt\n</address-list>")


def test_many_entries_take_little_memory():
    count = 100_000
    addresses = AddressSet()
    tracemalloc.start()
    addresses.read(f"user{number}@domain{number % 977}.example" for number in range(count))
    addresses.sort()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 16 * count
    assert peak < 32 * count
    assert all(f"user{n}@domain{n % 977}.example" in addresses for n in range(0, count, 997))
    assert not any(f"user{n}@domain{n % 977 + 1}.example" in addresses for n in range(10_000))


IDN = """
<address-list a>
address "otto"@Example.com.
address "root"
address ida@bücher.example
address /^spam@example\\.com$/
address /^all@.*\\.bücher\\.example$/
domain *.bücher.example
</address-list>
"""


@pytest.mark.parametrize(
    "address",
    ["otto@example.com", '"Otto"@EXAMPLE.com', "otto@example.com.", '"ot\\to"@example.com.',
     '"root"@x.example', "ROOT@x.example.", "ida@xn--bcher-kva.example", "ida@BÜCHER.example.",
     "x@a.bücher.example", "x@a.XN--bcher-kva.example.", '"spam"@example.com.'],
)  # fmt: skip
def test_no_spelling_passes_by_a_list(address):
    assert lists(IDN).refusal(("a",), address)


@pytest.mark.parametrize(
    "address", ['"ot to"@example.com', "otto@example.com.x", "x@bucher.example"]
)
def test_what_is_no_spelling_passes(address):
    assert lists(IDN).refusal(("a",), address) is None


def test_an_expression_with_u_labels_is_for_a_labels_too():
    text = "<address-list a>\naddress /@bücher\\.example$/\n</address-list>\n"
    assert lists(text).refusal(("a",), "x@xn--bcher-kva.example")


def test_a_file_may_begin_with_a_byte_order_mark_and_has_any_spelling(tmp_path):
    file = tmp_path / "list.txt"
    file.write_bytes(
        '\ufeffKim@Example.com\r\n"ann"@example.com.\r\nida@Bücher.example\r\n'.encode()
    )
    found = lists(f"<address-list a>\naddress-file {file}\n</address-list>")
    for address in ("kim@example.com", "ann@example.com", "ida@xn--bcher-kva.example"):
        assert found.refusal(("a",), address)
