"""Named `<address-list>`s, fit to be asked by reception.

An address is kept as a hash of 64 bits: eight octets each, ten million in 90 MB. That a wrong
one is taken for one of a million has a chance of one in 10^13. Hashes lie in buckets that are
sorted one by one, so that reading a large file never keeps the interpreter for long.
"""

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from mta.address import domain_of, mailbox, spellings
from mta.config.patterns import candidates, literal_matches
from mta.config.place import Diagnostic
from mta.daemon.kept_files import NOTHING_KEPT, open_kept
from mta.errors import ConfigError
from mta.model.reply import Reply

if TYPE_CHECKING:
    from mta.config.submitters import AddressList

BUCKET_BITS: Final = 12
_SHIFT: Final = 64 - BUCKET_BITS
_MASK: Final = (1 << 64) - 1
LINE_OCTETS_MAX: Final = 1024
"""No address is longer; a longer line is passed over."""


class AddressSet:
    """Addresses and local parts of one list, however they are spelled."""

    def __init__(self) -> None:
        self._buckets: dict[int, array[int]] = {}
        self._has_local_parts = False

    def read(self, lines: Iterable[str]) -> None:
        """Take one address or local part a line; empty lines and comments are none."""
        buckets = self._buckets
        for line in lines:
            text = line.strip().lower()
            if not text or text[0] == "#" or len(text) > LINE_OCTETS_MAX:
                continue
            text = mailbox(text)
            if "@" not in text:
                self._has_local_parts = True
            # Python's own hash is keyed anew in each process: nobody can make two collide.
            number = hash(text) & _MASK
            bucket = buckets.get(number >> _SHIFT)
            if bucket is None:
                bucket = buckets[number >> _SHIFT] = array("Q")
            bucket.append(number)

    def sort(self) -> None:
        """To be called once all is read."""
        for key, bucket in self._buckets.items():
            self._buckets[key] = array("Q", sorted(bucket))

    def __contains__(self, address: str) -> bool:
        """Whether an address, lower case, in its one spelling, is there, or its local part is."""
        if self._has(address):
            return True
        return self._has_local_parts and self._has(address.rpartition("@")[0])

    def _has(self, text: str) -> bool:
        number = hash(text) & _MASK
        bucket = self._buckets.get(number >> _SHIFT)
        if bucket is None:
            return False
        at = bisect_left(bucket, number)
        return at < len(bucket) and bucket[at] == number


class Suppression:
    """All lists of a configuration."""

    def __init__(self, lists: "Mapping[str, tuple[AddressList, AddressSet]]") -> None:
        self._lists = lists
        self._patterns = {
            name: frozenset(pattern.text for pattern in one.domains)
            for name, (one, _) in lists.items()
        }

    def refusal(self, names: Sequence[str], address: str) -> Reply | None:
        """A Reply if a recipient is in one of the lists."""
        one_spelling = mailbox(address.lower())
        domain = domain_of(one_spelling)
        texts = spellings(address)
        for name in names:
            one, addresses = self._lists[name.lower()]
            if (
                one_spelling in addresses
                or self._has_domain(name.lower(), domain)
                or any(expression.search(text) for expression in one.expressions for text in texts)
            ):
                text = (
                    f'5.7.1 recipient is in suppression list "{one.name}": <{address}> '
                    f'in "RCPT TO:<{address}>"'
                )
                return Reply(550, (text,))
        return None

    def _has_domain(self, name: str, domain: str) -> bool:
        patterns = self._patterns[name]
        if not patterns:
            return False
        if domain.startswith("["):
            return any(text == "*" or literal_matches(text, domain) for text in patterns)
        return not patterns.isdisjoint(candidates(domain))


def unreadable(lists: "Iterable[AddressList]") -> list[Diagnostic]:
    """An error for each file that cannot be read now."""
    found = []
    for one in lists:
        for path, place in one.files:
            try:
                with open(path, "rb"):  # noqa: PTH123 - a str
                    pass
            except OSError as error:
                text = f"address-file: {path}: {error.strerror}"
                found.append(Diagnostic("error", place, text))
    return found


async def read_lists(
    lists: "Mapping[str, AddressList]", paths: Mapping[str, str] = NOTHING_KEPT.paths
) -> Suppression:
    """Read the files of all lists, off the loop; ConfigError if one cannot be read.

    `paths` leads to those that are kept.
    """
    if any(one.files for one in lists.values()):
        return await asyncio.to_thread(read_now, lists, paths)
    return read_now(lists)


def read_now(
    lists: "Mapping[str, AddressList]", paths: Mapping[str, str] = NOTHING_KEPT.paths
) -> Suppression:
    """The same, here and now."""
    found = {}
    for name, one in lists.items():
        addresses = AddressSet()
        addresses.read(one.addresses)
        for path, _ in one.files:
            try:
                with open_kept(path, paths) as file:
                    addresses.read(file)
            except OSError as error:
                raise ConfigError(
                    [f"<address-list {one.name}>: address-file {path}: {error.strerror}"]
                ) from error
        addresses.sort()
        found[name] = (one, addresses)
    return Suppression(found)
