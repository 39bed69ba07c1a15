"""What a client is told that is refused, whatever it says."""

from mta.model.reply import Reply

STOPPING = b"421 4.3.2 the service is stopping; try again in a minute\r\n"
TIMEOUT = b"421 4.4.2 timeout; closing\r\n"
BARE = Reply(554, ("5.6.0 the message has a CR or LF that is no line end; lines end with CRLF",))
NUL = Reply(554, ("5.6.0 the message has a NUL octet; encode it",))
LONG = Reply(554, ("5.6.0 the message has a line of more than a million octets; encode it",))
HEAD = Reply(552, ("5.3.4 the header block is too large",))
DISK = Reply(452, ("4.3.1 the disk is full; try again later",))


def crowded(directive: str) -> Reply:
    """What a client is told for whom there is no room."""
    return Reply(421, (f"4.3.2 too many connections ({directive}); try again later",))
