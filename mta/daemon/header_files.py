"""The files of `include-headers-from`: header fields that go out with every message.

Read at start and at each reload. What is no header field is an error with its line, as what
follows it would be taken for the body of every message.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from mta.config.place import Diagnostic, Place
from mta.errors import ConfigError
from mta.model.header_field import field_name

if TYPE_CHECKING:
    from mta.config.configuration import Configuration

OCTETS_MAX: Final = 64 << 10
"""Of one file: it goes out with each message."""
LINE_MAX: Final = 998
"""RFC 5322 §2.1.1."""
_TEXT = re.compile(r"[\t\x20-\x7e]*")


def parse(octets: bytes) -> bytes:
    """The fields as they are sent; ValueError with the number of the line that is wrong."""
    if len(octets) > OCTETS_MAX:
        raise ValueError(f"0: more than {OCTETS_MAX} octets")
    text = octets.decode("utf-8-sig", "replace").replace("\r\n", "\n").rstrip("\n")
    lines = text.split("\n") if text else []
    for number, line in enumerate(lines, 1):
        if not _TEXT.fullmatch(line) or len(line) > LINE_MAX:
            raise ValueError(f"{number}: expected at most {LINE_MAX} characters of printable ASCII")
        if line[:1] in (" ", "\t"):
            if number == 1 or not line.strip():
                raise ValueError(f"{number}: a blank line, or one that continues no field")
            continue
        try:
            name = field_name(line)
        except ValueError as error:
            raise ValueError(f"{number}: {error}") from None
        # RFC 5322 §4.5: a blank before the colon is not to be sent.
        lines[number - 1] = f"{name}:{line.partition(':')[2]}"
    return "".join(f"{line}\r\n" for line in lines).encode()


def unreadable(configuration: "Configuration") -> list[Diagnostic]:
    """An error for each file that cannot be read, or holds something else."""
    found = []
    for path, place in _files(configuration):
        try:
            _read(path)
        except OSError as error:
            problem = error.strerror or str(error)
            found.append(Diagnostic("error", place, f"include-headers-from: {path}: {problem}"))
        except ValueError as error:
            found.append(Diagnostic("error", place, f"include-headers-from: {path}:{error}"))
    return found


async def read_files(configuration: "Configuration") -> Mapping[str, bytes]:
    """The fields of each file, read off the loop; ConfigError if one is not as it should be."""
    if next(_files(configuration), None) is None:
        return {}
    return await asyncio.to_thread(read_now, configuration)


def read_now(configuration: "Configuration") -> dict[str, bytes]:
    """The same, here and now."""
    found = {}
    for path, place in _files(configuration):
        try:
            found[path] = _read(path)
        except (OSError, ValueError) as error:
            text = error.strerror if isinstance(error, OSError) else error
            raise ConfigError([f"{place}: include-headers-from: {path}:{text}"]) from error
    return found


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - a str
        return parse(file.read(OCTETS_MAX + 1))


def _files(configuration: "Configuration") -> Iterator[tuple[str, Place]]:
    """The path of each file, and where it is given."""
    parts = configuration.parts
    for block in (parts.root_block, *parts.vmta_blocks.values(), *parts.pool_blocks.values()):
        entries = block.entries.get("include_headers_from", ())
        if entries and entries[-1].value:
            yield entries[-1].value, entries[-1].place
