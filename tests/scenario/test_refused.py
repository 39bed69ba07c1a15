"""The log says that messages are refused, how many, and never a line for each."""

from mta.daemon.refused import INTERVAL_S, Refused
from mta.sim.loop import until


async def passes(seconds):
    """Let so much time pass."""
    assert not await until(lambda: False, step_s=seconds, within_s=seconds)


async def test_the_first_is_said_at_once_and_the_others_every_ten_seconds_with_their_number():
    said = []
    refused = Refused(said.append)
    for _ in range(1000):
        refused.add(452, "the disk is full")
    refused.add(451, "the disk is broken")
    assert said == [
        "a message was refused with 452: the disk is full",
        "a message was refused with 451: the disk is broken",
    ]
    await passes(INTERVAL_S + 1)
    assert said[2:] == ["a message was refused with 452, and 998 more: the disk is full"]
    refused.add(452, "the disk is full")
    assert len(said) == 3
    await passes(INTERVAL_S)
    assert said[3:] == ["a message was refused with 452: the disk is full"]


async def test_after_a_while_without_any_the_next_is_said_at_once():
    said = []
    refused = Refused(said.append)
    refused.add(452, "the disk is full")
    await passes(INTERVAL_S + 1)
    refused.add(452, "the disk is full again")
    assert said[1:] == ["a message was refused with 452: the disk is full again"]


async def test_at_the_end_what_was_not_said_is_said():
    said = []
    refused = Refused(said.append)
    for _ in range(3):
        refused.add(452, "the disk is full")
    refused.close()
    assert said[1:] == ["a message was refused with 452, and 1 more: the disk is full"]
