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
