"""`mta run`: load the configuration, start a shard, serve until told to stop."""

import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from mta.admin.files import DiskFiles
from mta.admin.server import AdminServer
from mta.config.configuration import Configuration
from mta.config.load import Loaded, check_host, load
from mta.daemon.log import Log
from mta.daemon.operations import ShardOperations
from mta.daemon.shard import Shard
from mta.errors import PetrelError
from mta.net.local_addresses import local_addresses

EXIT_CONFIG = 2
"""The configuration has errors; nothing was started."""
EXIT_START = 1
"""A listener, the spool or the log could not be opened."""


def run(config_path: str) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    loaded = load_checked(config_path)
    configuration = loaded.configuration
    for diagnostic in loaded.diagnostics:
        if diagnostic.severity != "note" or configuration is None:
            print(diagnostic, file=sys.stderr)
    if configuration is None:
        print("Startup error: the configuration has errors; nothing was started", file=sys.stderr)
        return EXIT_CONFIG
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(configuration))
        except* (PetrelError, OSError) as group:
            for error in group.exceptions:
                print(f"Startup error: {error}", file=sys.stderr)
            return EXIT_START
    return 0
