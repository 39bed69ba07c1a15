"""Which queues of a running daemon hold mail, for a command that works on files."""

import json
from pathlib import Path
from typing import Final

from mta.admin.client import NoDaemonError, ask
from mta.admin.find_daemon import control_socket
from mta.admin.protocol import Exit, Request
from mta.errors import PetrelError
from mta.model.queue_key import QueueKey

QUEUES_MAX: Final = 10_000
"""Those with the most recipients are looked at."""


def held_queues(config: Path) -> list[QueueKey] | None:
    """The queues with recipients of the daemon of a configuration; None if none answers.

    PetrelError if a daemon answers and refuses.
    """
    pieces: list[str] = []
    errors: list[str] = []
    arguments = {"queues": "*/*", "maxitems": str(QUEUES_MAX), "sort": "rcpt"}
    request = Request(command="show queues", arguments=arguments, format="json")
    try:
        code = ask(control_socket(config), request, out=pieces.append, error=errors.append)
    except NoDaemonError:
        return None
    if code != Exit.DONE:
        raise PetrelError(f"the daemon does not tell its queues: {' '.join(errors)}")
    rows = json.loads("".join(pieces))["data"]["queues"]
    return [QueueKey.parse(row["name"]) for row in rows if int(row["rcp"])]
