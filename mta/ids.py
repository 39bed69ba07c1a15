"""Numbers of messages and recipients.

A message id is a 46-bit integer, unique within one spool for ever: a counter in the
high bits, the shard that accepted it in the low `SHARD_BITS`. A recipient id is the
message id with the recipient's place in the envelope in its low `RECIPIENT_BITS`, so
the recipients of a message are one contiguous range of keys.
"""

SHARD_BITS = 6
SHARDS_MAX = 1 << SHARD_BITS
RECIPIENT_BITS = 16
RECIPIENTS_MAX = 1 << RECIPIENT_BITS
"""Most recipients one message can have; further RCPTs are answered 452 4.5.3."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PRINTED_LENGTH = 10
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


def message_id(counter: int, shard: int) -> int:
    """The id of the counter-th message that shard accepted."""
    return counter << SHARD_BITS | shard


def recipient_id(message: int, index: int) -> int:
    """The id of a message's index-th recipient."""
    return message << RECIPIENT_BITS | index


def message_of(recipient: int) -> int:
    """The message a recipient belongs to."""
    return recipient >> RECIPIENT_BITS


def printed(message: int) -> str:
    """The form people see in logs, headers and commands: ten characters, base 32."""
    return (
        _PAIRS[message >> 40 & 1023]
        + _PAIRS[message >> 30 & 1023]
        + _PAIRS[message >> 20 & 1023]
        + _PAIRS[message >> 10 & 1023]
        + _PAIRS[message & 1023]
    )


def parse_printed(text: str) -> int:
    """The message id that `printed` shows as text; ValueError if it is none."""
    if len(text) != _PRINTED_LENGTH:
        raise ValueError(f"a message id has {_PRINTED_LENGTH} characters")
    number = 0
    for character in text.lower():
        number = number * 32 + _ALPHABET.index(character)
    return number
