"""Content on its way in: in memory while it is small, in a file once it is large."""

from pathlib import Path
from typing import TYPE_CHECKING

from mta.model.reply import Reply
from mta.net.refusals import BARE, DISK, HEAD, LONG, NUL
from mta.net.spill import MEMORY_OCTETS_MAX, Spill
from mta.smtp import header_block
from mta.smtp.framing import ContentFramer

if TYPE_CHECKING:
    from mta.model.arrivals import Arrival
    from mta.model.message import Content


class Incoming:
    """One message: fed until its end is there, then `content` unless `end` refuses it.

    What is refused is taken to its end nevertheless, and not kept.
    """

    __slots__ = ("_arrival", "_held", "_size_max", "_spill", "content", "framer", "head_size")

    def __init__(self, spill_directory: Path, size_max: int, arrival: "Arrival") -> None:
        self._arrival = arrival
        arrival.expect(is_expected=True)
        self.framer = ContentFramer()
        self.content: Content = b""
        self.head_size = 0
        self._held = b""
        """Complete lines while the header block may go on: a file begins with all of it."""
        self._spill = Spill(spill_directory)
        self._size_max = size_max

    def feed(self, octets: bytes) -> bytes | None:
        """What comes after the end of the content; None if it goes on."""
        rest = self.framer.feed(octets)
        if rest is None and self.framer.buffered > MEMORY_OCTETS_MAX:
            self._write_lines()
        return rest

    def feed_chunk(self, octets: bytes) -> None:
        """Part of a message whose size is known: it has no end, and no dots are doubled."""
        self.framer.feed_chunk(octets)
        if self.framer.buffered > MEMORY_OCTETS_MAX:
            self._write_lines()

    def refusal_of(self, octets: int) -> Reply | None:
        """A Reply if the message is too large with so many octets more."""
        return self._too_large(self.framer.octets + self.framer.buffered + octets)

    @property
    def is_large(self) -> bool:
        """Whether its content is in a file, or will be once it has ended."""
        in_memory = len(self._held) + self.framer.buffered
        return self._spill.is_used or in_memory > MEMORY_OCTETS_MAX

    def end(self) -> Reply | None:
        """Everything is there; a Reply refuses it."""
        self._arrival.expect(is_expected=False)
        framer, spill = self.framer, self._spill
        last = self._held + framer.take_rest()
        if spill.is_used or len(last) > MEMORY_OCTETS_MAX:
            spill.write(last, keep=framer.octets <= self._size_max)
            self.content = spill.content(framer.octets)
            self.head_size = header_block.head_size(spill.first)
        else:
            self.content = last
            self.head_size = header_block.head_size(last)
        return self._refusal()

    def discard(self) -> None:
        """Remove the file if nobody took it."""
        self._arrival.expect(is_expected=False)
        self._spill.discard()

    def _write_lines(self) -> None:
        taken = self.framer.take_lines()
        if not taken:
            return
        lines = self._held + taken
        if self._spill.is_used or header_block.is_whole(lines):
            self._spill.write(lines, keep=self.framer.octets <= self._size_max)
            lines = b""
        self._held = lines

    def _refusal(self) -> Reply | None:
        framer = self.framer
        refusal = self._too_large(framer.octets)
        if refusal is not None:
            return refusal
        if self._spill.is_full:
            return DISK
        if framer.has_bare:
            return BARE
        if framer.has_nul:
            return NUL
        if framer.has_long:
            return LONG
        return HEAD if self.head_size > header_block.HEAD_OCTETS_MAX else None

    def _too_large(self, octets: int) -> Reply | None:
        if octets <= self._size_max:
            return None
        text = f"5.3.4 the message is larger than {self._size_max} octets (max-message-size)"
        return Reply(552, (text,))
