"""`make torture`: kill the daemon as often as you like, and see what the books say.

    python -m tests.crash.torture [--rounds 1000] [--seed N] [--workers N]

Each round is a start under load, commands of operators in between, and a kill -9 at a
failpoint or at random. At the end every message is reconciled from three books: what was
answered 250, what the sink took, what the accounting files say. Ends with 1 if they disagree.
"""

import argparse
import asyncio
import random
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import uvloop

from mta.sim.provider import Provider
from tests.crash.trial import (
    FAILPOINTS,
    OF_WORKERS,
    PROFILES,
    Plan,
    Trial,
    plans,
)
from tests.e2e.loopback import Loopback


def main() -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100, help="kills; default %(default)s")
    parser.add_argument("--seed", type=int, help="repeats the plan of an earlier run")
    parser.add_argument("--workers", type=int, default=1, help="default %(default)s")
    given = parser.parse_args()
    seed = secrets.randbelow(1 << 32) if given.seed is None else given.seed
    print(f"{given.rounds} rounds; --seed {seed} repeats the plan")
    directory = Path(tempfile.mkdtemp(prefix="petrel-torture-"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        end = runner.run(_torture(directory, given.rounds, seed, given.workers))
    if end:
        print(f"the daemon's files are kept in {directory}")
    else:
        shutil.rmtree(directory)
    return end


async def _torture(directory: Path, rounds: int, seed: int, workers: int) -> int:
    rng = random.Random(seed)

    def say(number: int, plan: Plan) -> None:
        if number % 10 == 0:
            print(
                f"  {number:>5} rounds, {len(trial.accepted)} answered 250; {plan.how}", flush=True
            )

    async with Provider(PROFILES) as provider:
        trial = Trial(Loopback(directory, provider.port), rng, on_life=say, workers=workers)
        await trial.run(plans(rounds, rng, FAILPOINTS if workers == 1 else OF_WORKERS))
        balance = trial.balance(provider)
    print(f"\n{balance.summary()}\n  commands carried out{trial.commands:>16}\n")
    problems = balance.problems(trial.in_flight_max)
    print("\n".join(problems + trial.rows_of(balance.accounted_twice)) or "The books agree.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
