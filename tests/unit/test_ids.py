"""Numbers of messages as people see them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta import ids


@given(st.integers(0, (1 << 50) - 1))
def test_a_printed_number_reads_back(number):
    text = ids.printed(number)
    assert len(text) == 10
    assert ids.parse_printed(text) == ids.parse_printed(text.upper()) == number


def test_printed_numbers_sort_as_the_numbers_do():
    numbers = [0, 1, 31, 32, 1023, 1024, 1 << 40, (1 << 50) - 1]
    assert sorted(map(ids.printed, numbers)) == [ids.printed(one) for one in numbers]


@pytest.mark.parametrize("text", ["", "0", "00000000000", "000000000!", "00000000il"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError):
        ids.parse_printed(text)


def test_recipients_of_a_message_are_neighbours():
    message = ids.message_id(7, 3)
    assert [ids.message_of(ids.recipient_id(message, n)) for n in (0, 65535)] == [message] * 2
