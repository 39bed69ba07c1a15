"""How Python's garbage collector goes about it in a daemon that holds much.

What mail and queues are made of is freed when nobody refers to it any more. The collector is
there for the rest, cycles, and nearly all of those die young: an exception and the frame that
keeps it. A full collection looks at every object there is, 20 µs for each queue, while the event
loop stands still; and mail in flight, which outlives the younger collections, brings one on every
second under load. So the young are collected in larger lots, and all of them seldom.
"""

import gc
from typing import Final

YOUNG_OBJECTS: Final = 10_000
"""So many more objects than before are a lot: about a millisecond to look at."""
YOUNG_LOTS: Final = 20
"""So many lots, and those that outlived them are looked at once more."""
MIDDLE_LOTS: Final = 100
"""So many of those at least between two full collections: minutes of full load."""


def collect_seldom() -> None:
    """Follow that from now on."""
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_LOTS, MIDDLE_LOTS)


def spare() -> None:
    """What there is now, at the end of a start, stays: it is not looked at again."""
    gc.freeze()
