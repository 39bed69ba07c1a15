"""`mta sink`: the provider simulator from the command line."""

import argparse
import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import uvloop

from mta.errors import PetrelError
from mta.sim.profile import load_profiles
from mta.sim.provider import Provider


def run(arguments: Sequence[str]) -> int:
    """Play providers until interrupted; the exit status."""
    parser = argparse.ArgumentParser(
        prog="mta sink", description="Plays mailbox providers: takes mail and throws it away."
    )
    parser.add_argument(
        "--listen", default="127.0.0.1:2526", metavar="IP:PORT", help="default %(default)s"
    )
    parser.add_argument(
        "--profiles", type=Path, metavar="FILE", help="how which domain behaves (TOML)"
    )
    parser.add_argument(
        "--journal", type=Path, metavar="FILE", help="append a JSON line for each recipient taken"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing at the end")
    given = parser.parse_args(list(arguments))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(given))
    except (OSError, PetrelError, ValueError) as error:
        sys.stderr.write(f"mta sink: {error}\n")
        return 1


async def _serve(given: argparse.Namespace) -> int:
    host, _, port = given.listen.rpartition(":")
    profiles = load_profiles(given.profiles) if given.profiles else None
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with Provider(
        profiles, host=host.strip("[]"), port=int(port), journal_path=given.journal
    ) as provider:
        if not given.quiet:
            sys.stdout.write(f"listening on {host}:{provider.port}; Ctrl-C ends\n")
            sys.stdout.flush()
        await stopping.wait()
        if not given.quiet:
            _report(provider)
    return 0


def _report(provider: Provider) -> None:
    by_source = Counter(received.source_ip for received in provider.journal)
    sys.stdout.write(
        f"{len(provider.journal)} recipients taken, {provider.refused} refused, "
        f"{provider.connections_total} connections\n"
    )
    for source, count in by_source.most_common(20):
        sys.stdout.write(f"  {count} from {source}\n")
