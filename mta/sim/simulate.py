"""`make sim SEED=7 DAYS=14`: one story in virtual time, with everything that happens on the way."""

import argparse
import sys
from pathlib import Path

from mta.sim.findings import InvariantError
from mta.sim.scenario import MESSAGES, scenario
from mta.sim.simulation import scratch, simulate


def main() -> int:
    """Run it; 1 if an invariant does not hold."""
    parser = argparse.ArgumentParser(prog="mta.sim.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--days", type=float, default=1.0)
    parser.add_argument("--messages", type=int, help=f"in all; {MESSAGES} a day unless given")
    parser.add_argument("--quiet", action="store_true", help="only what came of it")
    given = parser.parse_args()
    messages = given.messages or max(MESSAGES, int(given.days * MESSAGES))
    story = scenario(given.seed, given.days, messages)
    say = None if given.quiet else _say
    with scratch() as directory:
        if say is not None:
            for site in story.sites:
                say(str(site))
            say(story.policy.text("."))
        try:
            result = simulate(story, Path(directory), say)
        except InvariantError as error:
            _say(f"seed {given.seed}, {given.days:g} days: {error}")
            return 1
    _say(
        f"seed {given.seed}: {result.virtual_s / 86400:.1f} days, {result.accepted} recipients "
        f"accepted, {result.delivered} delivered, {result.bounced} bounced, "
        f"{result.attempts} attempts"
    )
    for name, seconds in list(result.waits.items())[:20]:
        _say(f"  due mail waited {seconds:12.1f} s for {name}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
