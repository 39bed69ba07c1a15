"""What is said to a process that is gone is lost, and harms nobody."""

import asyncio
import contextlib
import socket

import pytest

from mta.daemon.control_link import ControlLink, Ready
from tests.e2e.daemon import until


async def test_what_is_said_to_one_who_has_hung_up_is_lost():
    ours, its = socket.socketpair()
    link = await ControlLink.over(ours)
    its.close()
    with pytest.raises(EOFError):
        await asyncio.wait_for(link.receive(), 30)
    # The first that cannot be sent closes the transport, and the next meets it closed.
    link.send(Ready())
    await until(link._writer.is_closing, 30)
    with contextlib.suppress(ConnectionError):
        await link._writer.wait_closed()
    link.send(Ready())
    await link.close()
