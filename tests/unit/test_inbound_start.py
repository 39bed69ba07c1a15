"""What a connection costs before its first command."""

import inspect

from tests.conformance.wire import GREETING, Wire


async def test_no_client_is_looked_through_for_methods(tmp_path, monkeypatch):
    """aiosmtpd would, for each of them, and it takes longer than to take a message."""
    found = []
    getmembers = inspect.getmembers

    def noting(*arguments):
        found.append(getmembers(*arguments))
        return found[-1]

    monkeypatch.setattr(inspect, "getmembers", noting)
    wire = Wire(tmp_path)
    assert await wire.say(GREETING) == [250]
    assert found == [[], []]
    await wire.end()
